import cv2
import numpy as np
import pytest

from imgpipe.matting.guide import guide_of, has_blocks, noise_255


def _scene(sigma_255: float, dtype: type = np.uint8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    picture = np.full((200, 300, 3), (60, 90, 160), np.float64)
    picture[:, 150:] = (220, 180, 140)
    picture += rng.normal(0, sigma_255, picture.shape)
    scale = np.iinfo(dtype).max / 255
    trimap = np.zeros((200, 300), np.uint8)
    trimap[:, 140:160], trimap[:, 160:] = 128, 255
    return np.rint(np.clip(picture, 0, 255) * scale).astype(dtype), trimap


@pytest.mark.parametrize("sigma", [2.0, 5.0, 9.0])
def test_noise_is_measured(sigma: float) -> None:
    measured = noise_255(*_scene(sigma))
    assert measured == pytest.approx(sigma, rel=0.12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_is_taken_out_of_the_band_and_edges_stay(dtype: type) -> None:
    colour, trimap = _scene(6.0, dtype)
    clean, _ = _scene(0.0, dtype)
    guide, noise = guide_of(colour, trimap)
    assert guide.dtype == dtype
    assert noise == pytest.approx(6.0, rel=0.12)
    band = trimap == 128
    full = np.iinfo(dtype).max / 255
    before = np.abs(colour[band].astype(float) - clean[band]).mean() / full
    after = np.abs(guide[band].astype(float) - clean[band]).mean() / full
    assert after < 0.6 * before, f"before {before:.2f}, after {after:.2f}"
    steps = guide[:, 150].astype(float) - guide[:, 149]
    assert np.abs(steps.mean(axis=0) / full - (160, 90, -20)).max() < 4


@pytest.mark.parametrize("sigma", [0.0, 25.0])
def test_clean_and_textured_pictures_are_taken_as_they_are(sigma: float) -> None:
    colour, trimap = _scene(sigma)
    guide, noise = guide_of(colour, trimap)
    assert guide is colour
    assert noise == 0.0


def test_strips_leave_no_trace() -> None:
    colour, trimap = _scene(6.0)
    guide, noise = guide_of(colour, trimap)
    whole = cv2.bilateralFilter(colour, 5, 3 * noise, 1.5)
    band = trimap == 128
    np.testing.assert_array_equal(guide[band], whole[band])


def test_where_nothing_is_known_nothing_is_measured() -> None:
    colour, trimap = _scene(6.0)
    assert noise_255(colour, np.full_like(trimap, 128)) == 0.0
    assert noise_255(colour[:1, :1], trimap[:1, :1]) == 0.0


@pytest.mark.parametrize("kind", ["flat", "ramp", "noise", "blocks", "blocks of 16 bits"])
def test_blocks_of_compression_are_seen(kind: str) -> None:
    rng = np.random.default_rng(3)
    picture = np.full((160, 160, 3), 120)
    if kind == "ramp":
        picture += np.arange(160)[:, None, None] // 5 + np.arange(160)[:, None] // 7
    elif kind == "noise":
        picture += rng.integers(-2, 3, picture.shape)
    elif kind.startswith("blocks"):
        picture += np.kron(rng.integers(-1, 2, (20, 20, 3)), np.ones((8, 8, 1), np.int64))
    wide = kind.endswith("16 bits")
    assert has_blocks((picture * 257).astype(np.uint16) if wide else picture.astype(np.uint8)) is (
        kind.startswith("blocks")
    )
