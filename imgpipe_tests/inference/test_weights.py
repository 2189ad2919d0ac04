"""The registry, and finding files by name and by path."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from imgpipe.errors import ConfigError, WeightsCorrupt, WeightsMissing
from imgpipe.inference import weights as module
from imgpipe.inference.download import pull
from imgpipe.inference.weights import REGISTRY, Weights, locate, names_for, registered, registered_as
from imgpipe.settings import ModelSettings, RembgSettings
from imgpipe_tests.imports import loaded_by

CONTENT = b"weights of a small network" * 1000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Weights:
    """isnet-anime, but small: the registry's entry for ``CONTENT``."""
    entry = replace(
        REGISTRY["isnet-anime"], size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()
    )
    monkeypatch.setattr(module, "REGISTRY", {**REGISTRY, entry.name: entry})
    return entry


def test_registry_entries_are_well_formed() -> None:
    rembgs = {
        "isnet-anime",
        "u2net",
        "u2netp",
        "u2net_human_seg",
        "silueta",
        "isnet-general-use",
        "bria-rmbg",
    }
    birefnets = {
        f"birefnet-{kind}" for kind in ("general", "general-lite", "portrait", "dis", "hrsod", "massive")
    }
    assert set(names_for("matting")) == rembgs | birefnets | {"ben2"}
    ours = {"imgpipe-lite", "imgpipe-lite-x2"}
    assert set(names_for("upscaling")) == {"realesrgan-anime-6b", "realesr-animevideov3"} | ours
    assert names_for("fixing") == ("imgpipe-clean",)
    ours |= {"imgpipe-clean"}
    assert {name for name, entry in REGISTRY.items() if entry.shipped} == ours
    for name, entry in REGISTRY.items():
        assert entry.name == name
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256), name
        if name not in ours:
            assert entry.size_bytes > 1_000_000 or (entry.size_bytes == 0 and entry.task == "refining"), name
            assert entry.url.startswith(("https://github.com/", "https://huggingface.co/PramaLLC/")), name
        assert (entry.licence in ModelSettings().allowed_licences) is entry.commercial, name
        assert entry.scale == ((2 if name.endswith("x2") else 4) if entry.task == "upscaling" else None), name
        assert entry.authors
        assert entry.network
        assert entry.notes
    assert len({entry.sha256 for entry in REGISTRY.values()}) == len(REGISTRY)
    assert len({entry.filename for entry in REGISTRY.values()}) == len(REGISTRY)


def test_addresses_and_digests_are_those_of_rembgs_source() -> None:
    """Of each session: the file's address, and its digest by the algorithm that rembg uses."""
    sessions = Path(importlib.util.find_spec("rembg").submodule_search_locations[0]) / "sessions"  # type: ignore
    source = "\n".join(path.read_text() for path in sorted(sessions.glob("*.py")))
    pairs = re.findall(r'"(https://\S+?\.onnx)",\s*\(\s*None\s*if .*?else "(\w+):(\w+)"', source, re.DOTALL)
    theirs = {url: (algorithm, digest) for url, algorithm, digest in pairs}
    # Read from the files themselves, with the same size as rembg's: sha256 without its md5.
    ours = [entry for entry in REGISTRY.values() if entry.url in theirs]
    assert {entry.name for entry in ours} == set(names_for("matting")) - {"ben2"}
    for entry in ours:
        algorithm, digest = theirs[entry.url]
        if entry.md5 or algorithm == "sha256":
            assert digest == {"md5": entry.md5, "sha256": entry.sha256}[algorithm], entry.name


def test_vitmattes_addresses_and_digests_are_rembgs() -> None:
    from rembg import matting

    ours = {entry.url: entry.sha256 for entry in REGISTRY.values() if entry.task == "refining"}
    theirs = {f"{matting.BASE_URL}/{one['fname']}": one["sha256"] for one in matting.VARIANTS.values()}
    assert ours.items() <= theirs.items()
    assert RembgSettings().vitmatte_model.removeprefix("vitmatte-") == matting.DEFAULT_VARIANT
    assert set(names_for("refining")) >= {RembgSettings().vitmatte_model}


def test_a_file_without_a_stated_size_is_known_by_its_digest(
    small: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(small, size_bytes=0)
    monkeypatch.setattr(module, "REGISTRY", {entry.name: entry})
    with pytest.raises(WeightsMissing, match="stated nowhere"):
        pull(entry, tmp_path)
    with pytest.raises(WeightsMissing, match="is missing; fetch https"):
        locate(entry.name, "matting", tmp_path)
    (tmp_path / entry.filename).write_bytes(CONTENT)
    assert locate(entry.name, "matting", tmp_path).path == pull(entry, tmp_path)
    (tmp_path / entry.filename).write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsCorrupt):
        pull(entry, tmp_path)


def test_which_entry_a_name_or_a_file_has(small: Weights, tmp_path: Path) -> None:
    path = tmp_path / "renamed.onnx"
    path.write_bytes(CONTENT)
    assert registered_as(str(path)) == registered_as("isnet-anime") == small
    path.write_bytes(b"other")
    assert [registered_as(name) for name in (str(path), "classical", str(tmp_path / "none.onnx"))] == [
        None
    ] * 3


def test_a_registered_name_is_verified(small: Weights, tmp_path: Path) -> None:
    (tmp_path / small.filename).write_bytes(CONTENT)
    found = locate("isnet-anime", "matting", tmp_path)
    assert found.path == tmp_path / small.filename
    assert found.sha256 == small.sha256
    assert found.weights == small
    assert found.name == "isnet-anime"


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"?", b""])
def test_other_bytes_under_a_registered_name_are_refused(
    small: Weights, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / small.filename).write_bytes(content)
    with pytest.raises(WeightsCorrupt) as caught:
        locate("isnet-anime", "matting", tmp_path)
    message = str(caught.value)
    assert small.sha256 in message
    assert hashlib.sha256(content).hexdigest() in message
    assert "imgpipe models pull isnet-anime" in message


@pytest.mark.parametrize(
    ("name", "other"),
    [("u2net", "rembg.fallback=classical"), ("realesr-animevideov3", "upscale.fallback=lite")],
)
def test_a_missing_file_says_everything_one_needs(name: str, other: str, tmp_path: Path) -> None:
    entry = REGISTRY[name]
    with pytest.raises(WeightsMissing) as caught:
        locate(name, entry.task, tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path / entry.filename),
        entry.url,
        f"imgpipe models pull {name}",
        other,
    ):
        assert part in message, message


def test_an_unknown_name_gets_a_suggestion_and_the_valid_names() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'isnet-anime'\?") as caught:
        locate("isnet-anme", "matting", Path("none"))
    for name in (*names_for("matting"), "classical"):
        assert name in str(caught.value)
    assert "realesr" not in str(caught.value)
    with pytest.raises(ConfigError, match="valid names: imgpipe-lite"):
        locate("zzzz", "upscaling", Path("none"))
    with pytest.raises(ConfigError, match="did you mean 'u2net'"):
        registered("u2nett")
    assert registered("u2net") is REGISTRY["u2net"]


def test_a_model_for_the_other_task_is_refused(small: Weights, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for matting; valid names: imgpipe-lite"):
        locate("u2net", "upscaling", tmp_path)
    path = tmp_path / "renamed.onnx"
    path.write_bytes(CONTENT)
    with pytest.raises(ConfigError, match="isnet-anime for matting"):
        locate(str(path), "upscaling", tmp_path)


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my.safetensors"
    path.write_bytes(b"abc")
    found = locate(str(path), "upscaling", tmp_path / "elsewhere")
    # FIPS 180-2, appendix B.1: the digest of "abc"
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (found.name, found.path, found.weights) == ("my", path, None)

    monkeypatch.chdir(tmp_path)
    assert locate("my.safetensors", "upscaling", tmp_path).sha256 == found.sha256
    Path("plain").write_bytes(b"abc")
    assert locate("plain", "upscaling", tmp_path).sha256 == found.sha256


def test_a_path_with_registered_bytes_carries_its_entry(small: Weights, tmp_path: Path) -> None:
    path = tmp_path / "copy.onnx"
    path.write_bytes(CONTENT)
    found = locate(str(path), "matting", tmp_path)
    assert found.weights == small
    assert found.name == "isnet-anime"


@pytest.mark.parametrize("text", ["nothing.onnx", "some/where", "~/no-such-file.pth", "."])
def test_a_path_without_a_file_is_missing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if text == ".":
        text = str(tmp_path)
    with pytest.raises(WeightsMissing, match="expected a weights file at"):
        locate(text, "matting", tmp_path)


def test_importing_the_registry_loads_nothing_heavy() -> None:
    code = "import imgpipe.inference.weights, imgpipe.inference.download, imgpipe.inference.device"
    assert loaded_by(code, ("torch", "onnxruntime", "cv2", "rembg", "numpy", "PIL", "dagster")) == []
