"""Pictures in Markdown: small, made from the stored files; files that cannot be read are named."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from imgpipe.assets.gallery import BUDGET_BYTES, MAX_IMAGES, Gallery, Shown, worst_first
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow, Status
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.opencv_files import opencv_decode
from imgpipe_tests.pictures.overlaps import Overlaps
from imgpipe_tests.review.space import Space

_PICTURE = re.compile(r"!\[(\w+)\]\(data:image/webp;base64,([A-Za-z0-9+/=]+)\)")


def pictures(markdown: str) -> list[tuple[str, np.ndarray]]:
    """(label, RGB) of every inline picture, in order."""
    return [
        (label, opencv_decode(base64.b64decode(text))[..., ::-1])
        for label, text in _PICTURE.findall(markdown)
    ]


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    monkeypatch.chdir(tmp_path)
    space = Space(str(tmp_path / "source"), str(tmp_path / "output"))
    write_drawing(space.source, "a.png", seed=1)
    write_drawing(space.source, "b.png", seed=2)
    space.run()
    return space


def gallery(space: Space, shard: str = "00000") -> Gallery:
    return Gallery(space.settings(), space.stores, shard)


def test_source_result_and_difference_of_the_stored_files_are_shown(space: Space) -> None:
    row = space.rows()["a.png"]
    text = gallery(space).markdown([Shown(row.image_id, row.source_key, "psnr|low <b>`x`</b>")])
    shown = pictures(text)
    assert [label for label, _ in shown] == ["source", "result", "difference"]
    assert all(picture.shape == (112, 128, 3) for _, picture in shown)
    source = opencv_decode(Path(space.source, "a.png").read_bytes())[..., ::-1]
    assert np.abs(shown[0][1].astype(int) - source).mean() < 4
    corner = shown[1][1][:16, :16].reshape(-1, 3)  # The background was cut out: a checkerboard of two greys.
    assert np.ptp(corner.mean(axis=1)) > 20
    assert np.abs(corner - corner.mean(axis=1, keepdims=True)).max() < 12
    (line,) = [line for line in text.splitlines() if line.startswith("| `a.png` |")]
    assert len(re.findall(r"(?<!\\)\|", line)) == 7
    assert r"psnr\|low \<b\>\`x\`\</b\>" in line
    assert f"[quality.json](</imgpipe/dataset_report/{row.output_key}>)" in line


def test_a_thin_seam_stays_visible_in_the_difference(space: Space, tmp_path: Path) -> None:
    """Two of 1,600 columns differ: averaging would leave nothing of them, the maximum keeps them."""
    (Path(space.source) / "b.png").unlink()
    grey = np.full((800, 1600, 3), 128, np.uint8)
    (Path(space.source) / "a.png").write_bytes(encode(Image(grey)))
    space.options |= {"actions": ["upscale"], "upscale.scale": 1}
    space.run()
    row = space.rows("upscaled_images")["a.png"]
    seam = grey.copy()
    seam[:, 800:802] += 8
    space.stores.output.write(row.output_key, encode(Image(seam)), overwrite=True)
    (_, _, (_, heat)) = pictures(gallery(space).markdown([Shown(row.image_id, row.source_key, "")]))
    coloured = np.ptp(heat.astype(int), axis=2).max(axis=0) > 60
    assert 1 <= coloured.sum() <= 5
    assert abs(int(np.flatnonzero(coloured).mean()) - heat.shape[1] // 2) <= 2


def test_what_cannot_be_read_is_said_in_its_cell(space: Space) -> None:
    row = space.rows()["a.png"]
    (Path(space.source) / "a.png").unlink()
    text = gallery(space).markdown([Shown(row.image_id, row.source_key, "x")])
    assert [label for label, _ in pictures(text)] == ["result", "difference"]
    assert "not readable: ObjectMissing" in text
    result = Path(space.output) / space.rows("upscaled_images")["a.png"].output_key
    result.write_bytes(result.read_bytes()[:500])
    text = gallery(space).markdown([Shown(row.image_id, row.source_key, "x")])
    assert pictures(text) == []
    assert "not readable: DecodeError" in text


def test_an_image_without_result_or_row_has_a_line_too(space: Space) -> None:
    (Path(space.source) / "c.png").write_bytes(b"<html>")
    space.run()
    row = space.rows()["c.png"]
    assert row.status is Status.ERROR
    text = gallery(space, "00001").markdown(
        [Shown(row.image_id, row.source_key, "no image"), Shown("nobody-1", "nobody.png", "gone")]
    )
    assert pictures(text) == []
    assert "not made" in text
    assert "no row" in text


def test_twenty_noisy_images_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = Space(str(tmp_path / "s"), str(tmp_path / "o"), {"shard_size": 50, "actions": ["upscale"]})
    rng = np.random.default_rng(0)
    Path(space.source).mkdir()
    for number in range(23):
        noise = Image(rng.integers(0, 256, (160, 160, 3), np.uint8))
        (Path(space.source) / f"{number}.png").write_bytes(encode(noise))
    space.run()
    shown = [Shown(row.image_id, row.source_key, "a long reason " * 60) for row in space.rows().values()]
    text = gallery(space).markdown(shown)
    assert len(text.encode()) < BUDGET_BYTES
    assert len(pictures(text)) == 3 * MAX_IMAGES
    assert min(max(picture.shape) for _, picture in pictures(text)) >= 48
    assert "and 3 more" in text


def test_pictures_are_made_once_for_all_checks(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Overlaps(monkeypatch).rows
    one = gallery(space)
    shown = [Shown(row.image_id, row.source_key, "x") for row in space.rows().values()]
    first = one.markdown(shown)
    count = len(opened)
    assert one.markdown(shown) == first
    assert len(pictures(one.markdown(shown[:1]))) == 3  # With another budget per picture.
    assert len(opened) == count == 6


@pytest.mark.parametrize(("large_px", "at_once"), [(10, 1), (40_000_000, 2)])
def test_large_pictures_are_opened_one_at_a_time(
    space: Space, monkeypatch: pytest.MonkeyPatch, large_px: int, at_once: int
) -> None:
    monkeypatch.setattr("imgpipe.pictures.reader.LARGE_PX", large_px)
    overlaps = Overlaps(monkeypatch)
    text = gallery(space).markdown(
        [Shown(row.image_id, row.source_key, "x") for row in space.rows().values()]
    )
    assert len(pictures(text)) == 2 * 3
    assert overlaps.most == at_once


def test_the_worst_come_first() -> None:
    def row(name: str, status: Status, psnr: float | None) -> ImageRow:
        return ImageRow(f"{name}.png", name, "e", status, metrics={} if psnr is None else {"psnr_y": psnr})

    rows = [
        row("good", Status.OK, 30.0),
        row("best", Status.OK, 50.0),
        row("bad", Status.REJECTED, 40.0),
        row("unscored", Status.ERROR, None),
        row("gone", Status.SKIPPED, 10.0),
        row("no matte", Status.REJECTED, None),
    ]
    assert [shown.image_id for shown in worst_first(rows, 3)] == ["bad", "no matte", "good"]
    assert worst_first(rows, 9)[2].why == "PSNR 30.0 dB"
