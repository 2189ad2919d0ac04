"""What goes wrong in a worker costs one file; what goes right is what the decoder itself returns."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from imgpipe import errors
from imgpipe.errors import ConfigError, DecodeError, ImgpipeError, LimitExceeded, ProfileUnusable
from imgpipe.images import icc_tables, lcms, rgb_space
from imgpipe.images.colour import to_srgb
from imgpipe.images.decode import decode
from imgpipe.images.decoder import Decoder, InProcessDecoder, source_decoder
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.isolation import IsolatedDecoder, _kept, confinement, process
from imgpipe.images.isolation.channel import INVALID_MESSAGE, unpack
from imgpipe.images.isolation.process import _WORKER_CODE
from imgpipe.images.rgb_space import space_of
from imgpipe.settings import IsolationSettings, LimitSettings
from imgpipe_tests.images import hostile, profiles, sources
from imgpipe_tests.imports import loaded_by

LIMITS = LimitSettings(max_pixels=1_000_000)
ROOT = Path(__file__).resolve().parents[3]
GOOD = sources.make_png("RGBA", 16, sources.display_p3(), 6)[0]
#: Workers of this code do as the name of their file says.
MISBEHAVING = (
    "import sys; sys.path[:] = sys.argv[5:]; import imgpipe_tests.images.isolation.misbehaving; "
    + _WORKER_CODE
)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="isolation needs Linux")


@pytest.fixture
def _misbehaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that do as the name of their file says."""
    monkeypatch.setattr(process, "_WORKER_CODE", MISBEHAVING)
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """No process, descriptor or shared memory is left behind by any of these tests.

    The workers that other tests in this process keep warm are ended first: these tests count processes.
    """
    _end_warm()
    before = _held()
    yield
    # A leak stays; what other tests' servers have open comes and goes, and may end meanwhile.
    _await(lambda: not _new_since(before))


def _end_warm() -> None:
    for decoder in _kept.values():
        decoder.close()
    _kept.clear()


def _new_since(before: tuple[set[int], int, set[str]]) -> bool:
    children, descriptors, memory = _held()
    return bool(children - before[0] or descriptors > before[1] or memory - before[2])


def _held() -> tuple[set[int], int, set[str]]:
    return _children(), len(list(Path("/proc/self/fd").iterdir())), _shared_memory()


def _children(of: int | None = None) -> set[int]:
    """Child processes, zombies included."""
    parent = of or os.getpid()
    found: set[int] = set()
    for task in Path(f"/proc/{parent}/task").iterdir():
        with contextlib.suppress(
            FileNotFoundError
        ):  # The thread ended meanwhile; its children have moved on.
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def _shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()


def _assert_same(image: Image, expected: Image) -> None:
    assert image.pixels.dtype == expected.pixels.dtype
    assert np.array_equal(image.pixels, expected.pixels)
    assert image.pixels.flags.c_contiguous
    assert image.pixels.flags.writeable
    for name in ("icc", "exif", "xmp", "source_format", "notes"):
        assert getattr(image, name) == getattr(expected, name), name


def _outcome(decoder: Decoder, data: bytes, name: str) -> Image | tuple[type[ImgpipeError], str]:
    try:
        return decoder.decode(data, name=name, limits=LIMITS)
    except ImgpipeError as exc:
        return type(exc), str(exc)


def _header(decoder: Decoder, data: bytes, name: str) -> object:
    try:
        return decoder.header(data, name=name)
    except ImgpipeError as exc:
        return type(exc), str(exc)


def test_a_worker_starts_while_another_thread_imports_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = find_spec("cv2").submodule_search_locations  # type: ignore[union-attr,misc]
    monkeypatch.syspath_prepend(folder)  # As its loader does meanwhile.
    with IsolatedDecoder(IsolationSettings(), 1) as decoder:
        assert decoder.decode(GOOD, name="good.png", limits=LIMITS).width


def test_every_file_gives_what_the_decoder_gives() -> None:
    """All kinds of good files and the hostile corpus: the same picture, or the same error and message."""
    files = {name: data for name, (data, _) in hostile.corpus().items()}
    files |= {kind: sources.make_png(kind, 8, sources.srgb(), 6)[0] for kind in ("grey", "LA", "RGB")}
    files |= {f"{kind} 16": sources.make_tiff(kind, 16, None, 3)[0] for kind in ("RGBA", "CMYK")}
    files["not\udcffutf8\n.png"] = GOOD
    with IsolatedDecoder(IsolationSettings(), 1) as decoder:
        for name, data in files.items():
            expected, found = (_outcome(which, data, name) for which in (InProcessDecoder(), decoder))
            headers = [_header(which, data, name) for which in (InProcessDecoder(), decoder)]
            assert headers[0] == headers[1]
            if isinstance(expected, Image):
                assert isinstance(found, Image), found
                _assert_same(found, expected)
            else:
                assert found == expected
        assert decoder.workers_lost == 0


@pytest.fixture
def _no_profile_is_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(icc_tables, "_settings", IsolationSettings())
    rgb_space._space_or_fault.cache_clear()
    yield
    _end_warm()


@pytest.mark.usefixtures("_no_profile_is_known")
def test_little_cms_reads_no_profile_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and a matrix need no worker; a table, of a source or of imgpipe's own file, has one."""

    def refuse(*_: object) -> None:
        raise AssertionError("in the calling process")

    monkeypatch.setattr(lcms, "linear_srgb", refuse)
    pixels = sources.picture(3, 8)
    for icc in (None, sources.srgb(), sources.display_p3(), profiles.rgb("P3", profiles.P3)):
        own = decode(encode(Image(pixels, icc=icc)), name="own", limits=LIMITS)
        expected = profiles.by_pillow(pixels, icc or sources.srgb())
        assert np.abs(to_srgb(own).pixels.astype(int) - expected).max() <= 1
    assert not _kept
    table = profiles.table()
    own = decode(encode(Image(pixels, icc=table)), name="own", limits=LIMITS)
    assert own.icc == table
    assert np.abs(to_srgb(own).pixels.astype(int) - profiles.by_pillow(pixels, table)).max() <= 1
    assert len(_kept) == 1
    with pytest.raises(ProfileUnusable, match="Little CMS cannot use it"):
        space_of(profiles.without_tags())


@pytest.mark.usefixtures("_no_profile_is_known")
def test_a_profile_that_ends_the_worker_costs_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for one without colours: the picture may be shown in wrong ones."""
    code = "import sys; sys.path[:] = sys.argv[5:]; import os; from imgpipe.images import lcms; "
    monkeypatch.setattr(
        process, "_WORKER_CODE", code + "lcms.linear_srgb = lambda *_: os.abort(); " + _WORKER_CODE
    )
    picture = Image(sources.picture(3, 8), icc=profiles.table())
    with pytest.raises(DecodeError, match=r"^an ICC profile: the decoder crashed with SIGABRT"):
        to_srgb(picture)
    monkeypatch.setattr(process, "_WORKER_CODE", _WORKER_CODE)
    assert not np.array_equal(to_srgb(picture).pixels, picture.pixels)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("segfault", "crashed with SIGSEGV"),
        ("abort", "crashed with SIGABRT, last saying 'free(): invalid ?[31mpointer'"),
        ("exit", "ended with exit code 3"),
        ("exception", "ended with exit code 1, last saying 'ZeroDivisionError: nobody thought of that'"),
        ("killed", "killed by SIGKILL, as the system does when memory runs out; lower `workers`"),
        ("hang", "took longer than 1 s and was stopped"),
        ("busy", "isolation.timeout_seconds"),
    ],
)
@pytest.mark.usefixtures("_misbehaving")
def test_a_lost_worker_costs_one_file(name: str, words: str) -> None:
    with IsolatedDecoder(IsolationSettings(timeout_seconds=1.0), 1) as decoder:
        decoder.decode(GOOD, name="good", limits=LIMITS)
        start = time.monotonic()
        with pytest.raises(DecodeError) as caught:
            decoder.decode(GOOD, name=name, limits=LIMITS)
        assert time.monotonic() - start < 5.0
        assert type(caught.value) is DecodeError
        assert str(caught.value).startswith(f"{name}: ")
        assert words in str(caught.value)
        assert "; " in str(caught.value), "the message does not say what to do"
        _assert_same(
            decoder.decode(GOOD, name="good", limits=LIMITS), decode(GOOD, name="good", limits=LIMITS)
        )
        assert decoder.workers_lost == 1
        assert len(_children()) == 1


@pytest.mark.usefixtures("_misbehaving")
def test_others_do_not_notice() -> None:
    """Six threads on three workers, every third file fatal: each caller gets what belongs to its own file."""
    pictures = [Image(sources.picture(3, 8, seed)) for seed in range(30)]
    files = [encode(picture) for picture in pictures]

    def outcome(index: int) -> Image | str:
        name = ["good", "slow", "segfault"][index % 3]
        try:
            return decoder.decode(files[index], name=name, limits=LIMITS)
        except DecodeError as exc:
            return str(exc)

    with IsolatedDecoder(IsolationSettings(), 3) as decoder, ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(outcome, range(30)))
        assert len(_children()) <= 3
        assert decoder.workers_lost == 10
    for index, found in enumerate(outcomes):
        if index % 3 == 2:
            assert isinstance(found, str), index
            assert found.startswith("segfault: the decoder crashed")
        else:
            assert isinstance(found, Image), found
            assert np.array_equal(found.pixels, pictures[index].pixels), index


def test_workers_start_when_needed_and_stay() -> None:
    before = _children()
    with IsolatedDecoder(IsolationSettings(), 4) as decoder:
        assert _children() == before
        for _ in range(5):
            decoder.decode(GOOD, name="good", limits=LIMITS)
            assert len(_children() - before) == 1
        (worker,) = _children() - before
        decoder.decode(GOOD, name="good", limits=LIMITS)
        assert _children() - before == {worker}


def test_a_worker_that_died_while_idle_is_nobodys_fault() -> None:
    with IsolatedDecoder(IsolationSettings(), 1) as decoder:
        decoder.decode(GOOD, name="good", limits=LIMITS)
        (worker,) = _children()
        os.kill(worker, signal.SIGKILL)
        _await(lambda: Path(f"/proc/{worker}/stat").read_text().split(") ")[1][0] == "Z")
        decoder.decode(GOOD, name="good", limits=LIMITS)
        assert decoder.workers_lost == 0


def test_memory_is_limited() -> None:
    """A picture larger than the limit is refused without being held; the next one is decoded."""
    huge = encode(Image(np.zeros((8300, 8300, 4), np.uint8)))
    settings = IsolationSettings(max_memory_bytes=268_435_456)
    with IsolatedDecoder(settings, 1) as decoder:
        with pytest.raises(LimitExceeded, match=r"^huge\.png: .*isolation\.max_memory_bytes"):
            decoder.decode(huge, name="huge.png", limits=LimitSettings())
        decoder.decode(GOOD, name="good", limits=LIMITS)
        (worker,) = _children()
        limits = Path(f"/proc/{worker}/limits").read_text()
        (peak,) = (
            int(line.split()[1])
            for line in Path(f"/proc/{worker}/status").read_text().splitlines()
            if line.startswith("VmHWM:")
        )
    address_space = next(line.split() for line in limits.splitlines() if line.startswith("Max address space"))
    assert 268_435_456 < int(address_space[3]) < 2_000_000_000
    assert next(line.split()[4] for line in limits.splitlines() if line.startswith("Max core")) == "0"
    assert peak < 500_000, "KiB"


@pytest.mark.usefixtures("_misbehaving")
def test_a_worker_can_do_nothing_but_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code in the worker finds no secrets, no network, no files and no other process."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    known = tmp_path / "known"
    known.write_bytes(b"mine")
    with socket.create_server(("127.0.0.1", 0)) as server, IsolatedDecoder(IsolationSettings(), 1) as decoder:
        told = f"{tmp_path}\n{os.getpid()}\n{server.getsockname()[1]}".encode()
        with pytest.raises(DecodeError) as caught:
            decoder.decode(told, name="everything", limits=LIMITS)
        missing = decoder.missing()
        decoder.decode(GOOD, name="good", limits=LIMITS)
        assert decoder.workers_lost == 0
    if missing:
        pytest.skip(f"this kernel does not confine processes: {missing}")
    outcomes = json.loads(str(caught.value))
    environment = ast.literal_eval(outcomes.pop("environment").removeprefix("done: "))
    assert {*environment} <= {*process._WORKER_ENVIRONMENT, *process._PASSED_ON}
    assert outcomes.pop("new call") == "done: (-1, 'Function not implemented')"
    assert outcomes.pop("ptrace") == "done: -1"
    assert outcomes.pop("thread") == "done: None"
    assert outcomes.pop("late import") == "done: 'wave'"
    # Raising a limit is refused by the limit itself (ValueError) where the process is no root's.
    assert outcomes.pop("more memory") in ("PermissionError", "ValueError")
    assert set(outcomes.values()) == {"PermissionError"}, outcomes
    assert known.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [known]


@pytest.mark.parametrize(
    ("broken", "words", "refused"),
    [
        ("_CREATE_RULESET = 9999", "Landlock: landlock_create_ruleset: Function not implemented", "write"),
        ("_SECCOMP = {'x86_64': 9999, 'aarch64': 9999}", "seccomp: seccomp: Function", "write read"),
        ("_ARCHITECTURE = {}", "seccomp: there is no table of system calls for", "write read"),
    ],
)
def test_what_a_kernel_cannot_do_is_said_and_the_rest_holds(
    tmp_path: Path, broken: str, words: str, refused: str
) -> None:
    (tmp_path / "known").touch()
    code = f"""if True:
        from pathlib import Path
        from imgpipe.images.isolation import confinement
        confinement.{broken}
        print(confinement.confine())
        for name, deed in (("write", Path("new").touch), ("read", Path("known").read_bytes)):
            try:
                deed()
            except PermissionError:
                print(name)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    said, *kept = done.stdout.splitlines()
    if ("Landlock" in said and "Landlock" not in words) or ("seccomp" in said and "seccomp" not in words):
        pytest.skip(f"this kernel lacks more: {said}")
    assert words in said
    assert kept == refused.split()


@pytest.mark.parametrize(
    ("column", "header"),
    [(0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (1, "/usr/include/asm-generic/unistd.h")],
)
def test_numbers_of_system_calls_are_the_kernels(column: int, header: str) -> None:
    if not Path(header).is_file():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    text = Path(header).read_text()
    known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    calls = confinement.refused_calls()
    assert len(calls) == confinement._REFUSED.count(",")
    newer = {"fchmodat2"}
    assert {name: numbers[column] for name, numbers in calls.items() if name not in newer} == {
        name: known.get(name, -1) for name in calls if name not in newer
    }


@pytest.mark.usefixtures("_misbehaving")
def test_running_out_of_memory_is_a_limit() -> None:
    with IsolatedDecoder(IsolationSettings(), 1) as decoder:
        with pytest.raises(LimitExceeded, match=r"^memory: .* within 2,147,483,648 bytes"):
            decoder.decode(GOOD, name="memory", limits=LIMITS)
        assert decoder.workers_lost == 0


@pytest.mark.usefixtures("_misbehaving")
def test_a_worker_that_keeps_memory_is_replaced() -> None:
    with IsolatedDecoder(IsolationSettings(max_memory_bytes=268_435_456), 1) as decoder:
        decoder.decode(GOOD, name="good", limits=LIMITS)
        (worker,) = _children()
        decoder.decode(GOOD, name="leak", limits=LIMITS)
        decoder.decode(GOOD, name="good", limits=LIMITS)
        assert _children() != {worker}
        assert decoder.workers_lost == 0


def test_large_pictures_give_their_shared_memory_back() -> None:
    """What a picture beyond 4096 x 4096 took is not held while idle."""
    data = encode(Image(np.zeros((4700, 4700, 4), np.uint8)))
    with IsolatedDecoder(IsolationSettings(), 1) as decoder:
        assert decoder.decode(data, name="large", limits=LimitSettings()).pixels.shape == (4700, 4700, 4)
        held = [path.stat().st_size for path in Path("/proc/self/fd").iterdir() if _is_memory(path)]
        assert sorted(held) == [0, len(data)]


def _is_memory(path: Path) -> bool:
    return path.is_symlink() and "memfd:imgpipe-" in str(path.readlink())


@pytest.mark.usefixtures("_misbehaving")
def test_nothing_reaches_the_terminal() -> None:
    """Neither what libraries print while a file is decoded nor what they print while they crash."""
    code = f"""if True:
        from imgpipe_tests.images.isolation.test_isolation import *
        from imgpipe_tests.images.isolation.test_isolation import _children
        process._WORKER_CODE = {MISBEHAVING!r}
        with IsolatedDecoder(IsolationSettings(), 1) as decoder:
            for name in ("noise", "abort", "segfault", "good"):
                try:
                    decoder.decode(GOOD, name=name, limits=LIMITS)
                except DecodeError:
                    pass
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_workers_do_not_outlive_their_owner() -> None:
    """One idle, one busy in a loop that never yields; the owner is killed and can clean up nothing."""
    code = f"""if True:
        import threading, time
        from imgpipe_tests.images.isolation.test_isolation import *
        from imgpipe_tests.images.isolation.test_isolation import _children
        process._WORKER_CODE = {MISBEHAVING!r}
        decoder = IsolatedDecoder(IsolationSettings(), 2)
        for name in ("busy", "slow"):
            ask = lambda: decoder.decode(GOOD, name=name, limits=LIMITS)
            thread = threading.Thread(target=ask, daemon=True)
            thread.start()
            time.sleep(0.2)
        thread.join()
        print(*_children(), flush=True)
        time.sleep(60)
    """
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        workers = [int(word) for word in owner.stdout.readline().split()]
        assert len(workers) == 2
        assert all(os.getpriority(os.PRIO_PROCESS, worker) == os.nice(0) for worker in workers)
    finally:
        owner.kill()
        owner.communicate()
    _await(lambda: not any(_runs(worker) for worker in workers))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _await(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.usefixtures("_misbehaving")
def test_closing_waits_for_calls_under_way() -> None:
    decoder = IsolatedDecoder(IsolationSettings(), 1)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(decoder.decode, GOOD, name="slow", limits=LIMITS)
        _await(lambda: bool(_children()))
        decoder.close()
        assert under_way.result().source_format == "PNG"
    assert not _children()
    decoder.close()
    with pytest.raises(ImgpipeError, match="closed; open a new one"):
        decoder.decode(GOOD, name="late", limits=LIMITS)


def test_what_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="at least one worker"):
        IsolatedDecoder(IsolationSettings(), 0)
    with IsolatedDecoder(IsolationSettings(), 1) as decoder:
        monkeypatch.setattr(process, "_WORKER_CODE", "raise SystemExit('no numpy here')")
        with pytest.raises(ConfigError, match=r"did not start.*exit code 1, last saying 'no numpy here'"):
            decoder.decode(GOOD, name="good", limits=LIMITS)
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(ConfigError, match=r"cannot be started.*isolation\.mode=none"):
            decoder.decode(GOOD, name="good", limits=LIMITS)
        monkeypatch.undo()
        decoder.decode(GOOD, name="good", limits=LIMITS)
        monkeypatch.setattr(decoder, "_owner", 1)
        with pytest.raises(ImgpipeError, match="before this process was forked"):
            decoder.decode(GOOD, name="good", limits=LIMITS)


def test_the_sources_decoder_follows_the_mode_is_kept_and_never_larger_than_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(icc_tables, "_settings", IsolationSettings())
    assert isinstance(source_decoder(IsolationSettings(mode="none"), 3), InProcessDecoder)
    settings = IsolationSettings(timeout_seconds=3)
    assert source_decoder(settings) is source_decoder(settings, 2) is source_decoder(settings, 9)
    assert source_decoder(settings, 1) is not source_decoder(settings)
    assert isinstance(source_decoder(settings), IsolatedDecoder)
    _end_warm()


def test_the_owner_loads_no_decoder_and_the_worker_nothing_else() -> None:
    assert loaded_by("import imgpipe.images.decoder", ("cv2", "PIL", "torch", "dagster")) == []
    others = ("torch", "dagster", "onnxruntime", "pandas", "boto3", "scipy")
    assert loaded_by("import imgpipe.images.worker", others) == []


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"error": "DecodeError", "text": 1000},
        {"error": "annotations", "text": 2},
        {"error": "os", "text": 2},
        {"shape": [2, 2, 3], "dtype": "object", "sizes": {}, "notes": 0},
        {"shape": [2, 2], "dtype": "uint8", "sizes": {}, "notes": 0},
        {"shape": [-1, 2, 3], "dtype": "uint8", "sizes": {}, "notes": 0},
        {"shape": [900, 900, 3], "dtype": "uint8", "sizes": {}, "notes": 0},
        {"shape": None, "dtype": "uint8"},
        {"header": {"format": "PNG", "width": "wide", "height": 1}},
        {"header": {"format": "PNG", "depth": 8}},
        {"header": None},
        {"values": [1000, 1000]},
        {"values": [-1]},
    ],
)
def test_nonsense_from_a_worker_is_noticed(message: dict[str, object]) -> None:
    memory = os.memfd_create("test")
    try:
        os.write(memory, b"[]" * 50)
        with pytest.raises(INVALID_MESSAGE):
            unpack(message, memory)
    finally:
        os.close(memory)


def test_a_bad_files_bytes_go_with_its_error() -> None:
    """Not with the next garbage collection, which may be far away."""
    gone: list[int] = []

    class Watched(bytes):
        def __del__(self) -> None:
            gone.append(len(self))

    data = Watched(GOOD[:100])
    gc.disable()
    try:
        with IsolatedDecoder(IsolationSettings(), 1) as decoder, contextlib.suppress(DecodeError):
            decoder.decode(data, name="bad.png", limits=LIMITS)
        del data
        assert gone == [100]
    finally:
        gc.enable()


def test_all_errors_pass_the_boundary() -> None:
    """By name, so every class must be found by its name in the tree's module."""
    todo, seen = [ImgpipeError], set()
    while todo:
        found = todo.pop()
        seen.add(found)
        assert getattr(errors, found.__name__) is found
        todo += found.__subclasses__()
    assert len(seen) > 15
