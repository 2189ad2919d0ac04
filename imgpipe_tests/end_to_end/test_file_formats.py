"""Cutouts and enlargements in other formats than PNG: `files.format`, `--format`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from imgpipe.config import load_settings
from imgpipe.engines.fsck import check
from imgpipe.engines.status import fingerprints
from imgpipe.errors import ConfigError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.images.image import Image
from imgpipe.images.metadata import exif_of_dpi
from imgpipe.images.srgb import srgb_profile
from imgpipe.settings import FileSettings, LimitSettings
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import flat_drawing, write_drawing
from imgpipe_tests.review.space import Space

DEEP, PLAIN = "16 bits.png", "a/plain.png"


def space_of(folder: Path) -> Space:
    """A drawing with profile and EXIF, and one of 16 bits."""
    space = Space(str(folder / "in"), str(folder / "out"))
    (folder / "in" / "a").mkdir(parents=True)
    pixels = flat_drawing(1).pixels
    whole = Image(pixels, icc=srgb_profile(), exif=exif_of_dpi((300.0, 300.0)))
    (folder / "in" / PLAIN).write_bytes(encode(whole))
    (folder / "in" / DEEP).write_bytes(encode(Image(pixels.astype(np.uint16) * 257)))
    return space


def pictures(space: Space, asset: str) -> dict[str, Image]:
    limits = LimitSettings().for_own_files()
    read = space.stores.output.read
    return {
        key: decode(read(row.output_key), name=key, limits=limits) for key, row in space.rows(asset).items()
    }


@pytest.mark.parametrize("kind", ["WEBP", "JXL"])
def test_a_lossless_format_has_the_same_pixels_and_what_it_cannot_hold_stays_png(
    kind: str, tmp_path: Path
) -> None:
    space = space_of(tmp_path)
    space.run()
    before = {asset: pictures(space, asset) for asset in ("matted_images", "upscaled_images")}
    space.options["files.format"] = kind.lower()
    assert space.run() == 1
    for asset, expected in before.items():
        rows, found = space.rows(asset), pictures(space, asset)
        for key, picture in expected.items():
            assert np.array_equal(found[key].pixels, picture.pixels)
            assert found[key].exif == picture.exif
            if kind == "WEBP":  # JPEG XL says sRGB in its own words.
                assert found[key].icc == picture.icc
        assert (rows[PLAIN].format, rows[PLAIN].reasons) == (kind, ())
        assert rows[PLAIN].output_key.endswith(f".{EXTENSIONS[kind]}")
        assert (rows[DEEP].format, rows[DEEP].output_key[-4:]) == ("PNG", ".png")
        assert "written as PNG" in rows[DEEP].reasons[0]
        assert "8 bits per channel" in rows[DEEP].reasons[0]
        folder = Path(space.output) / asset.partition("_")[0]
        assert len([path for path in folder.rglob("*") if path.is_file()]) == 2, "the earlier PNG is gone"
    assert all(row.status == "ok" for row in space.rows().values())
    assert not [one for shard in check(space.stores.output, "art") for one in shard.findings]
    assert space.run() == 0


def test_jpeg_is_for_opaque_pictures(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    seen = np.concatenate(
        [flat_drawing(2).pixels, np.full((112, 128, 1), 100, np.uint8)], axis=2, dtype=np.uint8
    )
    (tmp_path / "in" / "glass.png").write_bytes(encode(Image(seen)))
    space.options |= {"actions": "upscale", "files.format": "jpg"}
    space.run()
    assert {key: row.format for key, row in space.rows("upscaled_images").items()} == {
        DEEP: "PNG",
        PLAIN: "JPEG",
        "glass.png": "PNG",
    }
    with pytest.raises(ConfigError, match="a cutout has transparency"):
        space.settings(actions="rembg,upscale")


def test_the_format_is_part_of_the_fingerprint_and_png_that_of_earlier_versions() -> None:
    """So that what exists is not made again."""

    def made(**files: str) -> dict[str, str]:
        quick = {"rembg.model": "classical", "upscale.model": "lanczos", "actions": "rembg,upscale"}
        return fingerprints(load_settings({**quick, "files": files}))

    assert made() == made(format="PNG")
    changed = {asset for asset, one in made(format="webp").items() if one != made()[asset]}
    assert changed == {"matted_images", "upscaled_images"}


def test_every_format_of_the_setting_can_be_written() -> None:
    for name in EXTENSIONS.keys() - {"TIFF"}:
        assert FileSettings(format=name.lower()).format == name


def test_image_takes_a_folder_and_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_drawing(tmp_path, "in.png", seed=1)
    (tmp_path / "out").mkdir()

    def image(*arguments: str) -> tuple[int, str]:
        quick = ("--actions", "upscale", "--model", "lanczos", "--scale", "2")
        return imgpipe("image", "in.png", *arguments, *quick)

    assert image("out", "--format", "webp")[0] == 0
    assert PIL.Image.open("out/in.webp").format == "WEBP"
    assert image("out")[0] == 0
    assert PIL.Image.open("out/in.png").format == "PNG"
    for arguments, said in (
        (("o.png", "--format", "webp"), "expected an ending of .webp"),
        (("new/",), "make it first"),
        (("o.png", "--format", "gif"), "expected one of png, webp, jpeg"),
        ((".",), "another place than the source"),
    ):
        code, text = image(*arguments)
        assert (code, said in text) == (2, True), text
