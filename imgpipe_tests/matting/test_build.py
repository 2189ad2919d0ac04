from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from imgpipe.errors import ConfigError, WeightsMissing
from imgpipe.matting.build import build_matter, fingerprint, fingerprint_of
from imgpipe.settings import RembgSettings
from imgpipe_tests.imports import loaded_by
from imgpipe_tests.matting.graphs import TINY, sigmoid_of, write_graph


def test_missing_weights_pass_through(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"isnet-anime\.onnx"):
        build_matter(RembgSettings(), model_dir=tmp_path)


def test_missing_weights_fall_back_and_it_is_recorded(tmp_path: Path) -> None:
    model = build_matter(RembgSettings(fallback="classical"), model_dir=tmp_path).model
    assert (model.name, model.backend) == ("classical", "opencv")
    assert model.fallback_reason.startswith("isnet-anime was asked for and is not used")
    assert "missing" in model.fallback_reason


def test_classical_asked_for_is_no_fallback(tmp_path: Path) -> None:
    assert build_matter(RembgSettings(model="classical"), model_dir=tmp_path).model.fallback_reason == ""


def test_an_unknown_name_is_refused_even_with_a_fallback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="isnet-anime"):
        build_matter(RembgSettings(model="isnet-anme", fallback="classical"), model_dir=tmp_path)


def test_a_file_is_used_by_its_path(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "mine.onnx", sigmoid_of(1, 1, 1), 32)
    matter = build_matter(RembgSettings(model=str(path)), model_dir=tmp_path, device="cpu")
    assert (matter.model.name, matter.model.backend, matter.model.device) == ("mine", "openvino", "cpu")
    assert matter.model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_fingerprints_follow_what_matters(tmp_path: Path) -> None:
    def of(backend: str = "onnx:custom", sha256: str = "a", **changes: object) -> str:
        return fingerprint_of(RembgSettings.model_validate(changes), backend, sha256)

    assert of() == of(fallback="classical") == of(model="/elsewhere/same.onnx")
    different = [
        of(),
        of(sha256="b"),
        of(backend="classical"),
        of(backend="onnx:isnet-anime"),
        of(preprocess="rembg"),
        of(alpha_matting="off"),
        of(alpha_matting="closed_form"),
        of(erode_size=4),
        of(foreground_threshold=239),
        of(background_threshold=11),
        of(guard_iou=0.7),
        of(subject_minimum=0.2),
    ]
    assert len(set(different)) == len(different)
    assert of(alpha_matting=False) == of(alpha_matting="off", erode_size=9)
    more = [
        of(),
        of(fill="solid"),
        of(fill="solid", alpha_matting="off"),
        of(fill="solid", alpha_matting="off", foreground_threshold=200),
        of(flips=True),
        of(flips=True, agreement_minimum=0.8),
        of(second_model="u2net"),
        of(second_model="u2net", agreement_minimum=0.8),
    ]
    assert len(set(more)) == len(more)
    assert of() == of(agreement_minimum=0.8)
    assert of(backend="classical") == of(backend="classical", fill="solid", flips=True)
    assert of() == of(alpha_matting=True) == of(alpha_matting="auto")
    assert of(alpha_matting=False) == of(alpha_matting=False, guard_iou=0.7)
    assert of(backend="classical") == of(backend="classical", preprocess="rembg")
    assert of(backend="classical") == of(backend="classical", subject_minimum=0.2)
    assert of(backend="classical") != of(backend="classical", confidence_minimum=0.7)
    assert of() == of(confidence_minimum=0.7)


def test_the_fingerprint_follows_the_file_or_the_fallback(tmp_path: Path) -> None:
    first = write_graph(tmp_path / "first.onnx", sigmoid_of(1, 1, 1), 32)
    second = write_graph(tmp_path / "second.onnx", sigmoid_of(1, 1, 2), 32)
    classical = fingerprint(RembgSettings(model="classical"), tmp_path)
    assert fingerprint(RembgSettings(fallback="classical"), tmp_path) == classical
    found = {fingerprint(RembgSettings(model=str(path)), tmp_path) for path in (first, second)}
    assert len(found | {classical}) == 3
    with pytest.raises(WeightsMissing):
        fingerprint(RembgSettings(), tmp_path)


def test_the_fingerprint_follows_the_second_network_and_its_contract(tmp_path: Path) -> None:
    first = write_graph(tmp_path / "first.onnx", sigmoid_of(1, 1, 1), 32)
    second = write_graph(tmp_path / "second.onnx", sigmoid_of(1, 1, 2), 32)

    def of(**changes: object) -> str:
        return fingerprint(RembgSettings.model_validate({"model": str(first), **changes}), tmp_path)

    prints = [
        of(),
        of(second_model=str(second)),
        of(second_model=str(first)),
        of(second_model=str(second), second_contract={**TINY, "order": "BGR"}),
    ]
    assert len(set(prints)) == len(prints)
    bare = write_graph(tmp_path / "bare.onnx", sigmoid_of(1, 1, 1), 32, stated=None)
    with pytest.raises(ConfigError, match=r"rembg\.second_contract: .*bare\.onnx is not registered"):
        of(second_model=str(bare))
    with pytest.raises(WeightsMissing, match="u2net"):
        of(second_model="u2net", fallback="classical")


def test_importing_the_door_loads_nothing_heavy() -> None:
    heavy = ("torch", "onnxruntime", "cv2", "rembg", "pymatting", "numba", "scipy")
    assert loaded_by("import imgpipe.matting.build", heavy) == []
