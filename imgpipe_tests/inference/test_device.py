"""Device, precision and free memory, on made-up machines and on this one."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path

import pytest

from imgpipe.errors import ConfigError, ModelError
from imgpipe.inference import device as module
from imgpipe.inference.device import (
    available_memory_bytes,
    bf16_pays,
    has_kernels,
    may_use_cuda,
    resolve_device,
    resolve_precision,
    why_cpu,
)
from imgpipe_tests.imports import loaded_by

MIB = 2**20


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc that says 4000 MiB are available."""
    write(tmp_path / "proc/meminfo", f"MemTotal: 9999999 kB\nMemAvailable:  {4000 * 1024} kB")
    return tmp_path / "proc"


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def cuda(
    monkeypatch: pytest.MonkeyPatch, *, available: bool = True, capability: tuple[int, int] = (8, 0)
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(module, "_may_have_cuda", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90", "compute_90"])
    monkeypatch.setattr(module, "prepare_process", lambda: None)
    monkeypatch.setattr(
        module, "why_no_gpu", lambda: "" if available else "no GPU is shown: see `nvidia-smi`"
    )


@pytest.mark.parametrize(
    ("setting", "driver", "visible", "torch", "expected"),
    [
        ("cpu", True, None, "2.15.0", False),
        ("cuda", False, None, "2.15.0", True),
        ("auto", True, None, "2.15.0", True),
        ("auto", True, "1", "2.15.0+cu128", True),
        ("auto", False, None, "2.15.0", False),
        ("auto", True, "", "2.15.0", False),
        ("auto", True, "-1", "2.15.0", False),
        ("auto", True, None, "2.13.0+cpu", False),
        ("auto", True, None, None, False),
    ],
)
def test_whether_a_gpu_may_be_used_is_told_without_torch(
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    driver: bool,
    visible: str | None,
    torch: str | None,
    expected: bool,
) -> None:
    def version(name: str) -> str:
        if name != "torch" or torch is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return torch

    monkeypatch.setattr(module, "_may_have_cuda", lambda: driver)
    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert may_use_cuda(setting) is expected


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"
    cuda(monkeypatch, available=False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="nvidia-smi"):
        resolve_device("cuda")
    monkeypatch.setattr("torch.version.cuda", None)
    with pytest.raises(ConfigError, match="build without CUDA"):
        resolve_device("cuda")
    with pytest.raises(ConfigError, match="expected auto, cpu or cuda, got 'gpu'"):
        resolve_device("gpu")  # type: ignore[arg-type]


def test_a_card_without_kernels_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, capability=(7, 0))
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="kernels for sm_75, sm_80, sm_90, compute_90, the GPU is sm_70"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 6), ["sm_89"], False),
        ((9, 0), ["sm_80"], False),
        ((12, 1), ["sm_100", "sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((12, 0), ["sm_90a", "compute_90a"], False),
        ((12, 0), ["compute_90"], True),
        ((7, 5), ["gfx90a"], False),
    ],
)
def test_kernels_fit_a_card(capability: tuple[int, int], kernels: list[str], runs: bool) -> None:
    assert has_kernels(capability, kernels) is runs


@pytest.mark.parametrize("expected", [True, False])
def test_a_cpu_where_a_gpu_was_expected_is_recorded(monkeypatch: pytest.MonkeyPatch, expected: bool) -> None:
    cuda(monkeypatch, available=False)
    monkeypatch.setattr(module, "_may_have_cuda", lambda: False)
    monkeypatch.setattr(module, "package_version", lambda name: "1.31" if expected else "")
    reasons = why_cpu("auto", resolve_device("auto"))
    assert reasons == (("device auto is the CPU: no GPU is shown: see `nvidia-smi`",) if expected else ())
    assert why_cpu("cpu", "cpu") == why_cpu("auto", "cuda") == ()


def test_device_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match=r"imgpipe\[gpu\]"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512_bf16 sha_ni", True),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f avx512_bf16 sha_ni", False),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile", True),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512_vnni", False),
        ("Features\t: fp asimd bf16 i8mm", False),
        ("vendor_id\t: AuthenticAMD\nmodel name\t: the avx512_bf16 one", False),
    ],
)
def test_bf16_is_read_from_the_flags(lines: str, expected: bool, tmp_path: Path) -> None:
    write(tmp_path / "cpuinfo", f"processor\t: 0\n{lines}")
    assert bf16_pays(tmp_path) is expected


def test_the_cpus_precision_loads_no_runtime() -> None:
    code = (
        "from imgpipe.inference import device\ndevice._may_have_cuda = lambda: False\n"
        "device.resolve_precision('auto', device.resolve_device('auto'))"
    )
    assert loaded_by(code, ("torch", "openvino", "onnxruntime")) == []


def test_without_proc_bf16_is_not_known_to_pay(tmp_path: Path) -> None:
    assert bf16_pays(tmp_path) is False


def test_precision_on_the_cpu(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "bf16_pays", lambda: True)
    assert resolve_precision("auto", "cpu") == "bf16"
    assert resolve_precision("fp32", "cpu") == "fp32"
    assert resolve_precision("bf16", "cpu") == "bf16"
    assert not caplog.records
    monkeypatch.setattr(module, "bf16_pays", lambda: False)
    assert resolve_precision("auto", "cpu") == "fp32"
    with caplog.at_level(logging.WARNING):
        assert resolve_precision("bf16", "cpu") == "bf16"
        assert resolve_precision("fp16", "cpu") == "fp16"
    assert len(caplog.records) == 2
    with pytest.raises(ConfigError, match="expected auto, fp32, bf16 or fp16, got 'half'"):
        resolve_precision("half", "cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "fp16"), ((8, 6), "fp16"), ((7, 5), "fp16"), ((7, 0), "fp16"), ((6, 1), "fp32")],
)
def test_precision_on_gpus(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(monkeypatch, capability=capability)
    assert resolve_precision("auto", "cuda") == expected
    assert resolve_precision("fp32", "cuda:0") == "fp32"


def test_a_gpu_does_bf16_although_auto_takes_fp16(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda(monkeypatch, capability=(9, 0))
    assert resolve_precision("bf16", "cuda") == "bf16"
    assert not caplog.records
    cuda(monkeypatch, capability=(7, 5))
    assert resolve_precision("bf16", "cuda") == "bf16"
    assert "fastest on this cuda: that is fp16" in caplog.text


def test_memory_of_a_bare_machine(proc: Path, cgroup: Path) -> None:
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 4000 * MIB


def test_memory_under_cgroup_v2_is_the_tightest_level(proc: Path, cgroup: Path) -> None:
    write(proc / "self/cgroup", "0::/pod/box")
    write(cgroup / "pod/box/memory.max", "max")
    write(cgroup / "pod/box/memory.current", 100 * MIB)
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 4000 * MIB
    write(cgroup / "pod/memory.max", 1000 * MIB)
    write(cgroup / "pod/memory.current", 400 * MIB)
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 600 * MIB
    write(cgroup / "pod/memory.stat", f"anon {100 * MIB}\ninactive_file {300 * MIB}")
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 900 * MIB
    write(cgroup / "pod/box/memory.max", 50 * MIB)
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 0


def test_memory_in_a_container_that_sees_only_its_own_root(proc: Path, cgroup: Path) -> None:
    write(proc / "self/cgroup", "0::/docker/0123456789")
    write(cgroup / "memory.max", 512 * MIB)
    write(cgroup / "memory.current", 112 * MIB)
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 400 * MIB


def test_memory_under_cgroup_v1(proc: Path, cgroup: Path) -> None:
    write(proc / "self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n0::/")
    write(cgroup / "memory/memory.limit_in_bytes", 9223372036854771712)
    write(cgroup / "memory/memory.usage_in_bytes", 100 * MIB)
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 4000 * MIB
    write(cgroup / "memory/job/memory.limit_in_bytes", 2000 * MIB)
    write(cgroup / "memory/job/memory.usage_in_bytes", 1500 * MIB)
    write(cgroup / "memory/job/memory.stat", f"inactive_file 1\ntotal_inactive_file {200 * MIB}")
    assert available_memory_bytes("cpu", proc=proc, cgroup=cgroup) == 700 * MIB


def test_unknown_memory_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tile_size"):
        available_memory_bytes("cpu", proc=tmp_path, cgroup=tmp_path)


def test_memory_of_this_machine() -> None:
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    assert 0 < available_memory_bytes("cpu") < total


def test_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (5000 * MIB, 8000 * MIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: 900 * MIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=None: 300 * MIB)
    assert available_memory_bytes("cuda") == 5600 * MIB
