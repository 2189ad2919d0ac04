from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imgpipe.errors import ConfigError
from imgpipe.images.image import Image
from imgpipe.metrics import METRICS
from imgpipe.pixels.resize import resize
from imgpipe.quality.report import QualityReport
from imgpipe.quality.score import MatteEvidence, score
from imgpipe.records import ModelUse, Status, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe_tests.opencv_files import opencv_read, present
from imgpipe_tests.quality.defects import plant, plant_seam
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge, image

SETTINGS = QualitySettings()
NETWORK = ModelUse("realesr-animevideov3", "spandrel")
GRID = TileGrid((128,), (96,), 4.0)


def judge(
    source: U8, result: U8, grid: TileGrid | None = GRID, model: ModelUse | None = None
) -> QualityReport:
    return score(image(source), image(result), settings=SETTINGS, tile_grid=grid, model=model)


def failed(report: QualityReport) -> dict[str, float | None]:
    return {check.name: check.value for check in report.failed}


def test_psnr_and_ssim_can_be_recomputed_with_scikit_image() -> None:
    source = area(draw(2))
    result = present(plant("jpeg", enlarge(source)))
    report = judge(source, result)
    back = cv2.resize(result.astype(np.float32), (256, 192), interpolation=cv2.INTER_AREA)
    psnr = peak_signal_noise_ratio(source.astype(np.float64), back.astype(np.float64), data_range=255)
    ssim = structural_similarity(
        source.astype(np.float64),
        back.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
    )
    assert report.metrics["psnr"] == pytest.approx(psnr, abs=1e-4)
    assert report.metrics["ssim"] == pytest.approx(ssim, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_clean_drawings_pass(seed: int) -> None:
    source = area(draw(seed))
    report = judge(source, enlarge(source))
    assert report.status is Status.OK, report.reasons
    assert report.reasons == ()
    assert report.profile == "classical"


def test_jpeg_of_the_best_quality_is_known_not_to_be_seen() -> None:
    """The documentation lists it as not detected."""
    source = area(draw(1))
    data = cv2.imencode(".jpg", enlarge(source), [cv2.IMWRITE_JPEG_QUALITY, 97])[1]
    assert judge(source, np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))).status is Status.OK


def test_real_frames_by_lanczos_pass_the_classical_profile(shared: Path) -> None:
    for path in sorted([*shared.glob("data/sr/*.png"), *shared.glob("data/anime/frame*.png")]):
        source = opencv_read(path)[..., ::-1].copy()
        h, w = source.shape[:2]
        report = judge(source, enlarge(source), TileGrid((w // 2,), (h // 2,), 4.0))
        assert report.status is Status.OK, (path.name, report.reasons)


def test_network_profile_is_wider_but_still_sees_damage() -> None:
    """Networks make edges steeper, without halos beyond the colours that are there."""
    source = area(draw(4))
    sharp = source.astype(np.float32)
    sharp += 1.6 * (sharp - cv2.GaussianBlur(sharp, (0, 0), 1))
    around = np.ones((3, 3), np.uint8)
    sharp = np.clip(np.rint(sharp), cv2.erode(source, around), cv2.dilate(source, around))
    result = enlarge(sharp.astype(np.uint8))
    assert judge(source, result).status is Status.REJECTED
    assert judge(source, result, model=NETWORK).status is Status.OK
    for name in ("channel_swap", "shift", "colour_shift", "black_tile", "banding"):
        assert judge(source, present(plant(name, result)), model=NETWORK).status is Status.REJECTED, name


@pytest.mark.parametrize("smooth", [True, False])
def test_line_art_in_black_and_white_passes(smooth: bool) -> None:
    """Its faithful enlargement has a PSNR of 22..29 dB, which must not count as damage."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        page = np.full((768, 1024, 3), 255, np.uint8)
        for _ in range(40):
            start, end = rng.uniform((0, 0), (1024, 768), (2, 2)).astype(int).tolist()
            cv2.line(page, start, end, (0, 0, 0), int(rng.integers(3, 14)), cv2.LINE_AA)
        source = area(page) if smooth else np.where(area(page) > 127, 255, 0).astype(np.uint8)
        report = judge(source, enlarge(source))
        assert report.status is Status.OK, (report.reasons, dict(report.metrics))


@pytest.mark.parametrize("row", [0, 100, 191])
def test_one_row_that_differs_is_seen_wherever_it_lies(row: int) -> None:
    source = area(draw(2))
    result = source.copy()
    result[row] ^= 1
    report = judge(source, result, grid=None)
    assert not report.identical
    assert report.metrics["psnr"] == pytest.approx(10 * math.log10(255**2 * 192), abs=1e-4)


def test_identical_pictures_have_no_psnr() -> None:
    picture = draw(1, 64, 48, 1)
    for result in (picture, np.repeat(np.repeat(picture, 3, 0), 3, 1)):
        report = judge(picture, result, None)
        assert report.identical
        assert "psnr" not in report.metrics
        assert report.metrics["ssim"] == pytest.approx(1.0, abs=1e-6)
    other = picture.copy()
    other[0, 0, 0] ^= 1
    assert not judge(picture, other, None).identical


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (8, 8), (10, 30), (11, 11), (22, 21)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_and_size_gives_finite_numbers(
    size: tuple[int, int], channels: int, dtype: type[np.unsignedinteger]
) -> None:
    rng = np.random.default_rng(sum(size) + channels)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (size[1], size[0], channels)).astype(dtype)
    result = np.repeat(np.repeat(pixels, 4, 0), 4, 1)
    result[0, 0] //= 2
    for reference in (Image(pixels), Image(np.ascontiguousarray(pixels * 0))):
        report = score(reference, Image(result), settings=SETTINGS)
        assert all(math.isfinite(value) for value in report.metrics.values()), report.metrics
        assert set(report.metrics) <= set(METRICS)
        if min(size) < 11:
            assert "ssim" not in report.metrics
            assert any("11 px window" in note for note in report.notes)


def test_the_result_may_be_smaller() -> None:
    source = draw(3, 128, 96)
    report = judge(source, area(source, 2), None)
    assert report.metrics["psnr"] > 45  # rounding of the block means
    assert report.lines.mode == "not_applicable"


@pytest.mark.parametrize("size", [(384, 288), (385, 288), (300, 225), (257, 193)])
def test_fractional_factors(size: tuple[int, int]) -> None:
    source = area(draw(3))
    result = cv2.resize(source, size, interpolation=cv2.INTER_CUBIC)
    report = judge(source, result, None)
    assert report.metrics["psnr"] > 30
    assert report.metrics["subpixel_shift_px"] < 0.05


def cutout() -> np.ndarray:
    colour = area(draw(6))
    mask = np.zeros(colour.shape[:2], np.uint8)
    cv2.circle(mask, (128, 96), 70, 255, -1, cv2.LINE_AA)
    return np.dstack([colour, mask])


def enlarge_premultiplied(pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    both = np.dstack([pixels[..., :3] * alpha, alpha * 255]).astype(np.float32)
    size = (pixels.shape[1] * 4, pixels.shape[0] * 4)
    big = cv2.resize(both, size, interpolation=cv2.INTER_CUBIC).clip(0, 255)
    big[..., :3] *= 255 / np.maximum(big[..., 3:], 1e-3)
    return np.clip(np.rint(big), 0, 255).astype(np.uint8)


def test_cutouts_colour_under_alpha_zero_does_not_count() -> None:
    source = cutout()
    result = enlarge_premultiplied(source)
    clean = judge(source, result, None)
    assert clean.status is Status.OK, clean.reasons
    hidden = result.copy()
    hidden[hidden[..., 3] == 0, :3] = (255, 0, 255)
    assert judge(source, hidden, None).metrics == pytest.approx(dict(clean.metrics))


def test_cutouts_are_weighted_by_alpha() -> None:
    """The same noise on the figure must not be diluted by the empty ground."""
    source = cutout()
    source[..., 3] = np.where(source[..., 3] > 127, 255, 0)
    noisy = source.copy()
    noise = np.random.default_rng(0).normal(0, 6, (*noisy.shape[:2], 3))
    noisy[..., :3] = np.clip(noisy[..., :3] + noise, 0, 255).astype(np.uint8)
    inside = source[..., 3] > 0
    error = (source[inside][:, :3].astype(float) - noisy[inside][:, :3]) ** 2
    report = judge(source, noisy, None)
    assert report.metrics["psnr"] == pytest.approx(10 * math.log10(255**2 / error.mean()), abs=0.01)


def test_a_lost_alpha_is_seen_on_one_of_two_backgrounds() -> None:
    """Black figure: over black its missing alpha would not show."""
    source = cutout()
    source[..., :3] = 0
    lost = source.copy()
    lost[40:150, 60:200, 3] = 0
    report = judge(source, lost, None)
    assert report.status is Status.REJECTED
    assert report.metrics["psnr"] < 12


def test_a_dark_fringe_lowers_the_scores() -> None:
    """Straight-alpha enlargement of a bright cutout with black under alpha 0 darkens its border."""
    source = cutout()
    source[..., 3] = np.where(source[..., 3] > 127, 255, 0)
    source[..., :3] = np.where(source[..., 3:] > 0, np.maximum(source[..., :3], 180), 0)
    size = (source.shape[1] * 4, source.shape[0] * 4)
    clean = judge(source, enlarge_premultiplied(source), None)
    fringe = judge(source, cv2.resize(source, size, interpolation=cv2.INTER_CUBIC), None)
    assert clean.status is Status.OK, clean.reasons
    assert fringe.metrics["psnr"] < clean.metrics["psnr"] - 2
    assert fringe.metrics["worst_window"] < clean.metrics["worst_window"]
    assert fringe.metrics["local_color_shift_255"] > 2 * clean.metrics["local_color_shift_255"]


@pytest.mark.parametrize("factor", [1.5, 2, 4])
def test_real_files_with_alpha_and_grey_pass(shared: Path, factor: float) -> None:
    names = ["formats/tree_alpha_16bit.png", "formats/children-alpha.png", "formats/00017_gray.png"]
    for name in [*names, "formats/wolf_gray.jpg", "anime/anime-girl-1.isnet-anime.png"]:
        pixels = opencv_read(shared / "data" / name, cv2.IMREAD_UNCHANGED)
        has_alpha = pixels.ndim == 3
        picture = image(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)) if has_alpha else pixels)
        result = resize(picture, round(picture.width * factor), round(picture.height * factor), "lanczos")
        report = score(picture, result, settings=SETTINGS)
        assert report.status is Status.OK, (name, report.reasons)


def matte_pair(erode_px: int = 0) -> tuple[Image, Image]:
    source = np.full((160, 200, 3), 235, np.uint8)
    mask = np.zeros((160, 200), np.uint8)
    cv2.circle(source, (100, 80), 50, (180, 90, 120), -1, cv2.LINE_AA)
    cv2.circle(source, (100, 80), 50, (10, 10, 30), 4, cv2.LINE_AA)
    cv2.circle(mask, (100, 80), 52, 255, -1, cv2.LINE_AA)
    if erode_px:
        mask[:] = cv2.erode(mask, np.ones((erode_px, erode_px), np.uint8))
    return image(source), image(np.dstack([source, mask]))


def test_matte_evidence_adds_its_checks() -> None:
    source, good = matte_pair()
    report = score(good, good, settings=SETTINGS, matte=MatteEvidence(source, good))
    assert report.status is Status.OK, report.reasons
    assert report.metrics["matte_components"] == 1
    assert report.metrics["edge_pixel_loss"] < 0.035
    source, bad = matte_pair(13)
    report = score(bad, bad, settings=SETTINGS, matte=MatteEvidence(source, bad))
    assert "edge_pixel_loss_max" in failed(report)
    assert report.edges.boxes[0].kind == "matte"


def test_no_subject_is_rejected_in_words() -> None:
    source, cut = matte_pair()
    empty = cut.pixels.copy()
    empty[..., 3] = 0
    nothing = Image(empty)
    report = score(nothing, nothing, settings=SETTINGS, matte=MatteEvidence(source, nothing))
    assert report.status is Status.REJECTED
    assert report.reasons == ("no subject found: it covers 0.0%, at least 1.0% needed",)


def test_warnings_do_not_reject() -> None:
    source, cut = matte_pair()
    specks, picture = cut.pixels.copy(), source.pixels.copy()
    for n in range(8):
        square = np.s_[5:15, 5 + 20 * n : 15 + 20 * n]
        specks[square] = (200, 30, 30, 255)
        picture[square] = (200, 30, 30)
    source, matted = image(picture), Image(specks)
    report = score(matted, matted, settings=SETTINGS, matte=MatteEvidence(source, matted))
    assert report.status is Status.OK
    assert report.reasons == ("warning: the matte is in 9 pieces, allowed 6",)


def test_matte_evidence_must_fit() -> None:
    source, cut = matte_pair()
    with pytest.raises(ConfigError, match="cutout with alpha"):
        score(source, source, settings=SETTINGS, matte=MatteEvidence(source, source))
    small = image(cut.pixels[:-2])
    with pytest.raises(ConfigError, match="one size"):
        score(source, source, settings=SETTINGS, matte=MatteEvidence(source, small))


def test_other_profiles_of_colour_are_noted() -> None:
    picture = draw(1, 32, 32, 1)
    report = score(image(picture), Image(picture, icc=b"other"), settings=SETTINGS)
    assert any("profiles differ" in note for note in report.notes)


def cutout_of(picture: U8, *, soft: bool = True) -> Image:
    """An ellipse of the picture, with a soft border whose colours are freed from the background."""
    height, width, _ = picture.shape
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((x - width / 2) / (width * 0.4), (y - height / 2) / (height * 0.4))
    alpha = np.clip((1.05 - radius) * 10, 0, 1) if soft else (radius < 1).astype(float)
    pixels = picture.copy()
    band = (alpha > 0) & (alpha < 1)
    pixels[band] = (pixels[band] * 0.5).astype(np.uint8)
    return Image(np.dstack([pixels, (alpha * 255 + 0.5).astype(np.uint8)]))


def test_a_cutout_is_compared_with_its_opaque_source_inside_it_only() -> None:
    picture = area(draw(3))
    report = score(image(picture), cutout_of(picture), settings=SETTINGS)
    assert report.identical
    assert report.status is Status.OK
    assert any("inside the cutout" in note for note in report.notes)
    shifted = picture.copy()
    shifted[..., 0] = np.clip(picture[..., 0].astype(int) + 9, 0, 255)
    solid = cutout_of(picture).pixels[..., 3] == 255
    expected = np.mean(shifted[solid][:, 0].astype(float) - picture[solid][:, 0])
    damaged = score(image(picture), cutout_of(shifted), settings=SETTINGS)
    assert damaged.status is Status.REJECTED
    assert damaged.metrics["color_shift_255"] == pytest.approx(expected, abs=0.3)


def test_an_enlarged_cutout_of_an_enlarged_picture_passes_and_a_shifted_one_does_not() -> None:
    picture = area(draw(4))
    large = enlarge(picture)
    assert score(image(picture), cutout_of(large), settings=SETTINGS).status is Status.OK
    moved = cutout_of(np.roll(large, 4, axis=1))
    assert score(image(picture), moved, settings=SETTINGS).status is Status.REJECTED


@pytest.mark.parametrize(("severity", "said"), [("warn", True), ("info", False)])
def test_a_check_below_error_says_so_and_does_not_reject(severity: str, said: bool) -> None:
    source = area(draw(1))
    damaged = plant_seam(enlarge(source), 384, 4)
    lenient = QualitySettings(severity={"no_lines": severity})
    report = score(image(source), image(damaged), settings=lenient, tile_grid=GRID)
    assert report.status is Status.OK
    assert [check.severity.value for check in report.failed] == [severity]
    assert [reason.startswith("warning: a straight line") for reason in report.reasons] == [True] * said


def test_a_profile_of_ones_own_is_named_in_the_verdict() -> None:
    picture = draw(1, 32, 32, 1)
    report = score(image(picture), image(picture), settings=QualitySettings(profile_name="mine"))
    assert report.profile == "mine"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("factor", [1.0, 2.0, 1.7])
def test_pictures_too_large_to_be_kept_as_float_get_the_same_scores(
    channels: int, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = draw(5, 211, 190, 1)
    if channels == 4:
        distance = np.hypot(*np.meshgrid(np.arange(211) - 105, np.arange(190) - 95))
        alpha = np.clip((80 - distance) * 60 + 128, 0, 255).astype(np.uint8)
        pixels = np.dstack([pixels, alpha])
    source = image(pixels)
    size = (round(211 * factor), round(190 * factor))
    result = resize(source, *size, "lanczos")
    matte = None if channels == 3 else MatteEvidence(image(source.colour), source)
    kept = score(source, result, settings=QualitySettings(), matte=matte)
    monkeypatch.setattr("imgpipe.pixels.round_trip.KEPT_PX", 100)
    monkeypatch.setattr("imgpipe.pixels.round_trip._BAND_PX", 3000)
    computed = score(source, result, settings=QualitySettings(), matte=matte)
    assert computed.metrics == pytest.approx(kept.metrics, rel=1e-5, abs=1e-5)
    assert computed.status is kept.status


def test_stored_bytes_of_equal_sizes_are_scored_as_the_same_values_in_floats() -> None:
    """16 bits are compared as float32, which 8-bit values times 257 become exactly."""
    source = draw(4, 200, 160, 1)
    result = present(plant("jpeg", source))
    deep = (Image(pixels.astype(np.uint16) * 257) for pixels in (source, result))
    found, expected = judge(source, result, None), score(*deep, settings=SETTINGS)
    assert found.metrics.keys() == expected.metrics.keys()
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-6)
    assert np.array_equal(present(found.differences), present(expected.differences))
    assert found.edges == expected.edges
