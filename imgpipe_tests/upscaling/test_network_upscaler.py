"""The whole recipe on small seeded networks: exact tiles, sizes, channels, and what happens on faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from torch import nn

from imgpipe.errors import InferenceError, LimitExceeded, OutOfMemory
from imgpipe.images.image import Image
from imgpipe.inference.device import has_matrix_unit
from imgpipe.settings import LimitSettings
from imgpipe.upscaling.graph_loops import GraphLoops
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.upscaler import Upscaled
from imgpipe_tests.images import profiles
from imgpipe_tests.upscaling.conftest import Build, Picture, Save, tiny_compact, tiny_rrdb

#: Edge of the tile, px, and tiles at once: even and odd, one that divides nothing.
TILINGS = ((32, 1), (37, 4), (50, 1), (71, 4))
ALL_TILINGS = pytest.param(tuple(product((32, 37, 50, 64, 71), (1, 4))), marks=pytest.mark.slow)


def _difference(a: Image, b: Image) -> npt.NDArray[np.int64]:
    return np.asarray(np.abs(a.pixels.astype(np.int64) - b.pixels))


def test_tiles_whose_halos_reach_over_the_whole_picture(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(tiny_compact(inner_convolutions=80), "network"), picture(30, 100)
    whole = build(path, tile_size=0, precision="fp32").upscale(image)
    tiled = build(path, tile_size=32, precision="fp32").upscale(image)
    assert (tiled.tile_grid.xs, tiled.tile_grid.ys) == ((), (25, 50, 75))
    assert _difference(tiled.image, whole.image).max() == 0


@pytest.mark.parametrize("tilings", [TILINGS, ALL_TILINGS], ids=["some", "all"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "network", [tiny_compact(inner_convolutions=8), tiny_rrdb()], ids=["compact", "rrdb"]
)
def test_tiled_equals_untiled(
    network: nn.Module,
    precision: str,
    tilings: tuple[tuple[int, int], ...],
    save: Save,
    build: Build,
    picture: Picture,
) -> None:
    path, image = save(network, "network"), picture(131, 97)
    whole = build(path, tile_size=0, precision=precision).upscale(image)
    assert (whole.tile_grid.xs, whole.tile_grid.ys) == ((), ())
    assert whole.image.pixels.std() > 20, "a flat output would prove nothing"
    for tile, batch in tilings:
        tiled = build(path, tile_size=tile, precision=precision, batch_size=batch).upscale(image)
        assert tiled.details["batch"] == batch
        difference = _difference(tiled.image, whole.image)
        # By oneDNN on CPUs with AMX bf16 is exact to rounding alone, which this network's layers multiply.
        most = 0 if tiled.details["exact_tiles"] else 4
        assert tiled.details["exact_tiles"] or (precision == "bf16" and has_matrix_unit())
        assert difference.max() <= most, (
            f"tile {tile}, batch {batch}: max {difference.max()}, share {(difference > 0).mean():.1e}"
        )
        assert tiled.details["tiles"] == (len(tiled.tile_grid.xs) + 1) * (len(tiled.tile_grid.ys) + 1) > 1


def test_a_shorter_halo_is_not_exact_and_says_so(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(tiny_compact(inner_convolutions=8), "network"), picture(131, 97)
    whole = build(path, tile_size=0, color_match=False).upscale(image)
    tiled = build(path, tile_size=64, halo=4, color_match=False).upscale(image)
    difference = _difference(tiled.image, whole.image)
    assert difference.max() > 0, "a halo below the receptive field must show, or exactness is untested"
    assert not tiled.details["exact_tiles"]
    assert any("receptive field of 10" in reason for reason in tiled.reasons)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0, 2.7, 3.0, 4.0, 6.0])
def test_every_scale_gives_its_size(scale: float, save: Save, build: Build, picture: Picture) -> None:
    result = build(save(tiny_compact(), "network"), scale=scale).upscale(picture(41, 30))
    assert (result.image.width, result.image.height) == (int(41 * scale + 0.5), int(30 * scale + 0.5))
    assert result.tile_grid.scale == scale


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_depth_and_metadata_stay(
    channels: int, dtype: Any, save: Save, build: Build, picture: Picture
) -> None:
    source = picture(33, 21, channels, dtype)
    icc = profiles.grey(None) if channels <= 2 else profiles.rgb("sRGB")
    image = Image(source.pixels, icc=icc, exif=b"exif", xmp=b"xmp", source_format="PNG", notes=("n",))
    result = build(save(tiny_compact(), "network")).upscale(image).image
    assert (result.channels, result.pixels.dtype) == (channels, np.dtype(dtype))
    assert (result.icc, result.exif, result.xmp, result.source_format, result.notes) == (
        icc,
        b"exif",
        b"xmp",
        "PNG",
        ("n",),
    )


def test_16_bit_has_more_than_256_levels(save: Save, build: Build) -> None:
    ramp = np.linspace(30000, 32000, 64).astype(np.uint16)  # 8 levels of 8 bits
    image = Image(np.repeat(np.repeat(ramp[None, :, None], 16, axis=0), 3, axis=2))
    result = build(save(tiny_compact(), "network")).upscale(image).image.pixels
    assert len(np.unique(result)) > 300


@pytest.mark.parametrize("hidden", [0, 255])
def test_a_cutout_has_no_halo(hidden: int, save: Save, build: Build) -> None:
    """A subject of one colour stays one colour up to its edge, whatever the file hides around it."""
    y, x = np.mgrid[0:60, 0:60] - 29.5
    alpha = np.clip((20 - np.hypot(x, y) + 0.5) * 255, 0, 255).round().astype(np.uint8)
    pixels = np.full((60, 60, 4), hidden, np.uint8)
    pixels[alpha > 0, :3] = (200, 90, 60)
    pixels[..., 3] = alpha
    upscaler = build(save(tiny_compact(), "network"), color_match=False)
    result = upscaler.upscale(Image(pixels)).image.pixels
    full = np.full((60, 60, 3), (200, 90, 60), np.uint8)
    expected = upscaler.upscale(Image(full)).image.pixels
    visible = result[..., 3] > 0
    difference = np.abs(result[..., :3].astype(int) - expected)[visible]
    assert difference.max() <= 1, f"max {difference.max()}, mean {difference.mean():.3f}"
    assert (result[100:140, 100:140, 3] == 255).all()
    assert (result[~visible] == 0).all()


def test_colours_come_back_to_the_sources(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(tiny_compact(), "network"), picture(80, 64)

    def shift(result: Image) -> float:
        reduced = cv2.resize(result.pixels.astype(np.float32), (80, 64), interpolation=cv2.INTER_AREA)
        return float(np.abs((reduced - image.pixels).mean(axis=(0, 1))).max())

    with_match = build(path).upscale(image)
    without = build(path, color_match=False).upscale(image)
    assert shift(without.image) == pytest.approx(without.metrics["network_color_shift_255"], abs=0.1)
    assert shift(with_match.image) < 0.25 * shift(without.image)


def test_too_large_a_result_is_refused_before_anything_runs(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = build(save(tiny_compact(), "network"), LimitSettings(max_output_pixels=1000))
    monkeypatch.setattr(GraphLoops, "strips", lambda *_: pytest.fail("the network ran"))
    with pytest.raises(LimitExceeded, match="1,920 px"):
        upscaler.upscale(picture(12, 10))


def _limit_memory(monkeypatch: pytest.MonkeyPatch, largest_pixels: int, shapes: list[Any]) -> None:
    """A device on which more than ``largest_pixels`` at once do not fit."""
    real = GraphLoops.strips

    def strips(self: GraphLoops, windows: npt.NDArray[np.float32]) -> Iterator[Any]:
        shapes.append(windows.shape[:3])
        if np.prod(shapes[-1]) > largest_pixels:
            raise RuntimeError("std::bad_alloc")
        yield from real(self, windows)

    monkeypatch.setattr(GraphLoops, "strips", strips)


def test_out_of_memory_halves_the_tile_and_remembers(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, image = save(tiny_compact(), "network"), picture(150, 110)
    expected = build(path, tile_size=0).upscale(image)
    upscaler = build(path, tile_size=0)
    shapes: list[Any] = []
    _limit_memory(monkeypatch, 60 * 60, shapes)
    result = upscaler.upscale(image)
    assert _difference(result.image, expected.image).max() == 0
    assert result.details["oom_retries"] >= 1
    assert any("out of memory" in reason for reason in result.reasons)
    shapes.clear()
    again = upscaler.upscale(image)
    assert again.details["oom_retries"] == 0
    assert max(np.prod(shape) for shape in shapes) <= 60 * 60


def test_out_of_memory_halves_the_batch_before_the_tile(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, image = save(tiny_compact(), "network"), picture(150, 110)
    expected = build(path, tile_size=0).upscale(image)
    upscaler = build(path, tile_size=32, batch_size=8)
    shapes: list[Any] = []
    _limit_memory(monkeypatch, 2 * 44 * 44, shapes)
    result = upscaler.upscale(image)
    assert _difference(result.image, expected.image).max() == 0
    assert (result.details["batch"], result.details["tile_px"]) == (2, 30)
    assert shapes[0][0] > 2
    shapes.clear()
    assert upscaler.upscale(image).details["oom_retries"] == 0
    assert max(shape[0] for shape in shapes) == 2


def test_out_of_memory_at_the_smallest_tile_is_an_error(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = build(save(tiny_compact(), "network"))
    _limit_memory(monkeypatch, 0, [])
    with pytest.raises(OutOfMemory, match="does not fit into the memory of cpu"):
        upscaler.upscale(picture(150, 110))


def test_another_failure_of_the_network_is_no_memory_matter(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = build(save(tiny_compact(), "network"))

    def fail(*_: object) -> Iterator[Any]:
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(GraphLoops, "strips", fail)
    with pytest.raises(InferenceError, match="illegal instruction"):
        upscaler.upscale(picture(40, 40))


def test_host_memory_is_planned_for_not_tried(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tiny_compact(), "network")
    monkeypatch.setattr("imgpipe.upscaling.tile_planner.available_memory_bytes", lambda device: 4 * 10**6)
    for tile in ("auto", 0):
        upscaler = build(path, tile_size=tile)
        result = upscaler.upscale(picture(150, 110))
        assert result.details["tiles"] > 1
        assert result.details["oom_retries"] == 0


def test_a_tile_with_nan_is_redone_in_fp32(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, image = save(tiny_compact(), "network"), picture(130, 50)
    upscaler = build(path, precision="bf16", tile_size=64)
    clean = upscaler.upscale(image)
    seen: list[str] = []
    by_openvino = clean.details["runtime"] == "openvino"  # else this CPU has no bf16 of its own
    runs: Any = GraphLoops if by_openvino else CompactForm
    real = runs.strips

    def spoil_the_second(self: Any, windows: Any) -> Iterator[Any]:
        seen.append(self._tail.precision if by_openvino else str(self.convolutions[1].weight.dtype))
        if len(seen) == 2:
            windows = windows.copy() if by_openvino else windows.clone()
            windows[(0, 30, 30, 1) if by_openvino else (0, 1, 30, 30)] = float("nan")
        yield from real(self, windows)

    monkeypatch.setattr(runs, "strips", spoil_the_second)
    result = upscaler.upscale(image)
    monkeypatch.undo()
    low, full = ("bf16", "fp32") if by_openvino else ("torch.bfloat16", "torch.float32")
    assert seen == [low, low, full, low]
    assert result.details["fp32_retries"] == 1
    assert _difference(result.image, clean.image).mean() < 2, "the redone tile is right, only more precise"
    assert any("redone in fp32" in reason for reason in result.reasons)
    assert upscaler.upscale(image).details["fp32_retries"] == 0


@pytest.mark.parametrize("batch", [1, 4])
def test_threads_get_what_each_would_get_alone(
    batch: int, save: Save, build: Build, picture: Picture
) -> None:
    upscaler = build(save(tiny_compact(), "network"), tile_size=64, batch_size=batch)
    images = [
        picture(90, 70),
        picture(70, 90),
        picture(64, 64, channels=4),
        Image(255 - picture(90, 70).pixels),
    ]
    expected = [upscaler.upscale(image).image.pixels for image in images]
    results: dict[int, Upscaled] = {}

    def enlarge(index: int) -> None:
        results[index] = upscaler.upscale(images[index])

    threads = [threading.Thread(target=enlarge, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, pixels in enumerate(expected):
        np.testing.assert_array_equal(results[index].image.pixels, pixels)
        assert results[index].details["batch"] == batch
        assert results[index].seconds["network"] > 0
        assert results[index].seconds["network_wait"] >= 0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (8, 8)])
def test_tiny_pictures_work(size: tuple[int, int], save: Save, build: Build, picture: Picture) -> None:
    result = build(save(tiny_rrdb(), "network")).upscale(picture(*size, channels=4))
    assert (result.image.width, result.image.height) == (size[0] * 4, size[1] * 4)


def test_the_self_ensemble_is_the_mean_of_eight(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(tiny_compact(), "network"), picture(71, 50)
    ensemble = build(path, tta=True, color_match=False, tile_size=0).upscale(image).image
    assert _difference(ensemble, build(path, color_match=False).upscale(image).image).max() > 2
    plain = build(path, color_match=False)
    total = np.zeros(ensemble.pixels.shape)
    for turns, mirrored in product(range(4), (False, True)):
        turned = np.rot90(image.pixels.astype(np.uint16) * 257, turns)
        turned = turned[:, ::-1] if mirrored else turned
        result = plain.upscale(Image(np.ascontiguousarray(turned))).image.pixels
        total += np.rot90(result[:, ::-1] if mirrored else result, -turns)
    assert np.abs(ensemble.pixels - total / 8 / 257).max() < 0.51
    tiled = build(path, tta=True, color_match=False, tile_size=32).upscale(image)
    assert tiled.details["tiles"] > 1
    assert _difference(tiled.image, ensemble).max() <= 1
    assert (_difference(tiled.image, ensemble) > 0).mean() < 1e-3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"target_size": (100, 100)}, (100, 75)),
        ({"target_size": (500, 90)}, (120, 90)),
        ({"target_size": (20, 20)}, (20, 15)),
        ({"min_dimensions": (50, 200), "scale": 2}, (267, 200)),
        ({"min_dimensions": (50, 50), "scale": 3}, (120, 90)),
    ],
)
def test_boxes_decide_the_size(
    settings: dict[str, Any], expected: tuple[int, int], save: Save, build: Build, picture: Picture
) -> None:
    path, image = save(tiny_compact(), "network"), picture(40, 30)
    result = build(path, **settings).upscale(image)
    assert (result.image.width, result.image.height) == expected
    assert result.tile_grid.scale == pytest.approx(expected[1] / 30)
    reduced = cv2.resize(result.image.pixels.astype(np.float32), (40, 30), interpolation=cv2.INTER_AREA)
    assert np.abs((reduced - image.pixels).mean(axis=(0, 1))).max() < 6, "the whole picture is in it"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_by_the_network_keeps_what_is_constant(
    dtype: Any, save: Save, build: Build, picture: Picture
) -> None:
    y, x = np.mgrid[0:48, 0:60] - 25.5
    full = np.iinfo(dtype).max
    source = picture(60, 48, 4, dtype).pixels
    source[..., 3] = (np.clip(15.5 - np.hypot(x, y), 0, 1) * full).astype(dtype)
    path = save(tiny_compact(), "network")
    lanczos, network = (
        build(path, alpha=alpha).upscale(Image(source)).image for alpha in ("lanczos", "network")
    )
    alpha = network.pixels[..., 3]
    assert (alpha[80:120, 80:120] == full).all()
    assert (alpha[:16] == 0).all()
    difference = np.abs(alpha.astype(float) - lanczos.pixels[..., 3]) / full
    assert difference.max() > 0.02, "another method"
    assert difference.mean() < 0.05, "of the same alpha"
    assert (network.pixels[alpha == 0] == 0).all()
