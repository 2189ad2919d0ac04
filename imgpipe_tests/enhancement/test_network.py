"""Enhancement by a network: OpenCV's dnn_superres on a graph with a known answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from imgpipe.config import load_settings
from imgpipe.errors import ConfigError
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe.stages.enhance import EnhanceStage
from imgpipe.stages.protocol import PictureSize, StageResult
from imgpipe.upscaling import build
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from imgpipe_tests.enhancement.pictures import waves
from imgpipe_tests.images import sources
from imgpipe_tests.upscaling.tensorflow_graph import luma_blur

pytestmark = pytest.mark.skipif(not hasattr(cv2, "dnn_superres"), reason="this OpenCV has no dnn_superres")
LIMITS = LimitSettings()


def stage_with(model: Path | str, **settings: Any) -> EnhanceStage:
    wanted = EnhanceSettings(**{"min_width": 1, "min_height": 1, "model": str(model), **settings})
    return EnhanceStage(wanted, LIMITS, Path(), "cpu")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Blurs luma over 5 x 5 px and repeats each pixel three times."""
    path = tmp_path / "ESPCN_x3.pb"
    path.write_bytes(luma_blur(3, 2))
    return path


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """The arguments of every call of ``owner.name`` from now on."""
    calls, function = [], getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return function(*arguments, **named)

    monkeypatch.setattr(owner, name, call)
    return calls


def picture_of(result: StageResult) -> Image:
    data = next(iter(result.outputs.values()))
    assert isinstance(data, bytes)
    return decode(data, name="x", limits=LIMITS)


def test_the_network_enlarges_and_is_loaded_once(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = counted(monkeypatch, build, "build_upscaler")
    stage, image = stage_with(network, scale_factor=3.0), Image(waves(120, 150, 1), xmp=sources.XMP % 1)
    first, second = (stage.run({"source": image}, {}) for _ in range(2))
    assert len(built) == 1
    blurred = cv2.boxFilter(image.pixels[..., 0].astype(float), -1, (5, 5))
    expected = np.repeat(np.repeat(blurred, 3, 0), 3, 1)
    back = picture_of(first)
    # Near the border, where the blur darkens it, colour is matched to the source afterwards.
    difference = np.abs(back.pixels[..., 0] - expected)[90:-90, 90:-90]
    assert difference.max() < 2, f"{difference.max():.1f}; Lanczos is 5 away"
    assert (back.width, back.height, back.xmp) == (450, 360, image.xmp)
    assert first.model is not None
    assert (first.model.name, first.model.backend) == ("ESPCN_x3", "dnn_superres")
    assert any("8 bits per channel" in reason for reason in first.reasons)
    assert first.details["network"]["architecture"] == "ESPCN"
    assert first.details["model_load_seconds"] == second.details["model_load_seconds"] > 0


def test_other_sizes_are_made_from_one_picture_of_the_network(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch, NetworkUpscaler, "upscale")
    result = stage_with(network, min_bytes=60_000).run({"source": Image(waves(80, 60))}, {})
    assert result.details["min_bytes_met"] is True
    assert len(result.details["attempts"]) > 1
    ((_, _, size),) = calls
    assert size[0] >= picture_of(result).width > 90


def test_nothing_is_computed_where_nothing_is_enlarged(network: Path) -> None:
    image = Image(waves(40, 60))
    result = stage_with(network, scale_factor=1.0).run({"source": image}, {})
    assert np.array_equal(picture_of(result).pixels, image.pixels)


def test_a_missing_network_is_lanczos_and_says_so() -> None:
    image = Image(waves(40, 60))
    missing = stage_with("realesrgan-anime-6b").run({"source": image}, {})
    plain = stage_with("lanczos").run({"source": image}, {})
    assert np.array_equal(picture_of(missing).pixels, picture_of(plain).pixels)
    assert missing.model is not None
    assert missing.model.name == "lanczos"
    assert "realesrgan-anime-6b" in missing.model.fallback_reason


def test_memory_and_fingerprint_follow_the_model(network: Path) -> None:
    size = {"source": PictureSize(1000, 1000)}
    one, plain = stage_with(network), stage_with("lanczos")
    # As for upscaling: 8 bytes a pixel; in rows of tiles 6 for each of the nine made of one, and 12 for
    # their mean; and what is not its own size is made twice.
    rows = one.load().native_bytes(1000, 1000) / (9 * 6 + 12) / 1000
    assert 100 < rows < 1000
    around = 2**30 + 8 * 1_000_000 + one.load().native_bytes(1000, 1000)
    assert one.needed_bytes(size) - plain.needed_bytes(size) == around + 4 * 1500**2
    tripled = stage_with(network, scale_factor=3), stage_with("lanczos", scale_factor=3)
    assert tripled[0].needed_bytes(size) - tripled[1].needed_bytes(size) == around
    assert one.concurrency == 1
    before = one.fingerprint
    network.write_bytes(luma_blur(3, 1))
    assert stage_with(network).fingerprint != before


@pytest.mark.parametrize("key", ["enhance.model", "upscale.model"])
@pytest.mark.parametrize("name", ["MDSR", "mdsr_x4", "/models/MDSR_x4.pb"])
def test_mdsr_is_refused_by_name(key: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: MDSR is not among .*EDSR, ESPCN, FSRCNN, LapSRN"):
        load_settings({key: name})


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("true", "realesrgan-anime-6b"),
        ("1", "realesrgan-anime-6b"),
        ("0", "lanczos"),
        ("EDSR_x4.pb", "EDSR_x4.pb"),
    ],
)
def test_the_switch_of_other_scripts(text: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUALITY_ENABLE_SR", text)
    assert load_settings({}).enhance.model == model
