"""AVIF: metadata anywhere in the file, crops and turns, colours described by numbers, grey, refusals."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from imgpipe.errors import DecodeError, ImageError, LimitExceeded, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import avif_files, sources


def _read(data: bytes) -> Image:
    return decode(data, name="a.avif", limits=LimitSettings())


def _close(got: npt.NDArray[Any], expected: npt.NDArray[Any], most: int = 3) -> None:
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= most


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("blocks", ["exif", "xmp", "both"])
@pytest.mark.parametrize("shape", [(17, 23), (150, 200)])
def test_metadata_behind_the_pixels(channels: int, blocks: str, shape: tuple[int, int]) -> None:
    pixels = np.resize(sources.picture(channels, 8), (*shape, channels))
    options: dict[str, Any] = {}
    if blocks != "xmp":
        options["exif"] = sources.exif(1)
    if blocks != "exif":
        options["xmp"] = sources.XMP % 1
    before = avif_files.pillow_avif(pixels, **options)
    after = avif_files.metadata_behind_pixels(before)
    decoded = _read(after)
    np.testing.assert_array_equal(decoded.pixels, _read(before).pixels)
    assert decoded.pixels.shape == pixels.shape
    assert decoded.xmp == options.get("xmp")
    assert (decoded.exif is None) == ("exif" not in options)
    assert sources.exif_fields(decoded.exif) == sources.exif_fields(options.get("exif"))
    assert decoded.notes == ()


def test_items_with_wide_numbers_and_a_gain_map() -> None:
    data = avif_files.with_wide_numbers(
        avif_files.pillow_avif(avif_files.coordinates(), exif=sources.exif(1))
    )
    assert sources.exif_fields(_read(data).exif) == sources.exif_fields(sources.exif(1))
    assert _read(data.replace(b"Exif", b"tmap", 1)).notes == (
        "gain map (HDR) not carried: the base picture kept",
    )


@pytest.mark.parametrize("name", ["exif_only", "frame_exif"])
@pytest.mark.shared
def test_files_of_libheif(shared: Path, name: str) -> None:
    path = shared / "cases" / "images" / "avif-exif-behind-pixels" / f"{name}.avif"
    decoded = _read(path.read_bytes())
    with PIL.Image.open(path) as opened:
        np.testing.assert_array_equal(decoded.pixels, np.asarray(opened))
        assert decoded.exif == opened.info["exif"].removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("depth", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_pictures_with_metadata_behind_the_pixels(depth: int, channels: int) -> None:
    top = (1 << depth) - 1
    stored = np.resize(sources.picture(channels, depth), (64, 48, channels))
    blocks = [np.frombuffer(sources.exif(1), np.uint8)[None]]
    done, written = cv2.imencodeWithMetadata(
        ".avif",
        stored[..., [0] if channels == 1 else [2, 1, 0, 3][:channels]],
        [cv2.IMAGE_METADATA_EXIF],
        blocks,
        [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100],
    )
    assert done
    decoded = _read(avif_files.metadata_behind_pixels(written.tobytes()))
    assert decoded.exif == sources.exif(1)
    _close(decoded.pixels, np.round(stored * (65535 / top)), 3 * 65535 // top)


def test_exif_says_nothing_about_the_orientation() -> None:
    """Only irot and imir turn (ISO 23008-12); the written picture must not be turned by its EXIF."""
    data = avif_files.pillow_avif(avif_files.coordinates(), exif=sources.exif(6))
    said = sources.exif(6)
    at = data.index(b"irot") + 4
    changed = data[:at] + b"\0" + data[at + 1 :]
    decoded = _read(changed)
    _close(decoded.pixels, avif_files.coordinates())
    assert sources.orientation_of(decoded.exif) == 1
    assert sources.exif_fields(decoded.exif) == sources.exif_fields(said)


@pytest.mark.parametrize(
    ("numbers", "corners"),
    [
        (((24, 1), (16, 1), (0, 1), (0, 1)), (12, 8, 36, 24)),
        (((24, 1), (16, 1), (-12, 1), (-8, 1)), (0, 0, 24, 16)),
        (((24, 1), (16, 1), (12, 1), (8, 1)), (24, 16, 48, 32)),
        (((48, 2), (32, 2), (2, 2), (0, 7)), (13, 8, 37, 24)),
        # Fractional: left is rounded down, top to the nearest, as in libheif.
        (((25, 1), (17, 1), (0, 1), (0, 1)), (11, 8, 36, 25)),
        (((24, 1), (16, 1), (1, 3), (1, 3)), (12, 8, 36, 24)),
        (((49, 2), (33, 2), (1, 4), (1, 4)), (12, 8, 37, 25)),
        # Past the edge: what is there.
        (((24, 1), (16, 1), (20, 1), (0, 1)), (32, 8, 48, 24)),
    ],
)
def test_clean_aperture(numbers: tuple[tuple[int, int], ...], corners: tuple[int, int, int, int]) -> None:
    whole = avif_files.pillow_avif(avif_files.coordinates())
    decoded = _read(avif_files.with_properties(whole, avif_files.clap(*numbers)))
    left, top, right, bottom = corners
    np.testing.assert_array_equal(decoded.pixels, _read(whole).pixels[top:bottom, left:right])
    assert any("clean aperture" in note and "of 48x32 px" in note for note in decoded.notes)


@pytest.mark.shared
def test_the_clean_aperture_of_a_file(shared: Path) -> None:
    decoded = _read((shared / "cases" / "images" / "avif-clap" / "clap.avif").read_bytes())
    assert decoded.pixels.shape[:2] == (16, 24)


@pytest.mark.parametrize(
    "numbers",
    [
        ((24, 0), (16, 1), (0, 1), (0, 1)),
        ((24, 1), (16, 1), (100, 1), (0, 1)),
        ((0, 1), (0, 1), (0, 1), (0, 1)),
    ],
)
def test_a_clean_aperture_that_is_none_leaves_the_whole_picture(numbers: Any) -> None:
    whole = avif_files.pillow_avif(avif_files.coordinates())
    decoded = _read(avif_files.with_properties(whole, avif_files.clap(*numbers)))
    _close(decoded.pixels, avif_files.coordinates())
    assert any("not usable" in note for note in decoded.notes)


def test_crop_turn_and_mirror_are_applied_as_listed() -> None:
    pixels = avif_files.coordinates()
    whole = avif_files.pillow_avif(pixels)
    crop = avif_files.clap((24, 1), (16, 1), (-12, 1), (-8, 1))
    turn, mirror = (b"irot", b"\1"), (b"imir", b"\1")
    first = _read(avif_files.with_properties(whole, crop, turn, mirror)).pixels
    _close(first, np.rot90(pixels[:16, :24])[:, ::-1])
    last = _read(avif_files.with_properties(whole, mirror, turn, crop)).pixels
    # Turned, the picture is 32 wide and 48 high: 24x16 px from (-8, 8) on, of which 8 columns are outside.
    _close(last, np.rot90(pixels[:, ::-1])[8:24, 0:16])


@pytest.mark.parametrize(
    ("primaries", "transfer", "words"),
    [
        (12, 13, "Display P3"),
        (9, 16, "PQ"),
        (9, 18, "HLG"),
        (1, 4, "gamma 2.2"),
        (1, 8, "linear"),
        (1, 1, "BT.709"),
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_described_colours_get_a_profile(primaries: int, transfer: int, words: str, grey: bool) -> None:
    pixels = avif_files.coordinates()
    whole = avif_files.pillow_avif(
        pixels[..., 0] if grey else pixels, subsampling="4:0:0" if grey else "4:4:4"
    )
    plain = _read(whole)
    assert (plain.icc, plain.notes) == (None, ())
    described = avif_files.with_properties(whole, avif_files.nclx(primaries, transfer), without=(b"colr",))
    decoded = _read(described)
    if grey and transfer == 13:
        assert decoded.icc is None  # a grey has no primaries
        return
    assert decoded.icc is not None
    assert decoded.icc[16:20] == (b"GRAY" if grey else b"RGB ")
    assert any(words in note and f"{primaries}/{transfer}" in note for note in decoded.notes)
    np.testing.assert_array_equal(decoded.pixels, plain.pixels)


def test_a_profile_counts_more_than_the_numbers() -> None:
    profile = sources.display_p3()
    data = avif_files.pillow_avif(avif_files.coordinates(), icc_profile=profile)
    at = data.index(b"nclx") + 4
    decoded = _read(data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :])
    assert (decoded.icc, decoded.notes) == (profile, ())


@pytest.mark.parametrize("range_", ["full", "limited"])
@pytest.mark.parametrize("alpha", [False, True])
def test_grey_of_either_range_with_and_without_alpha(range_: str, alpha: bool) -> None:
    y, x = np.mgrid[0:32, 0:48]
    grey = (x * 4 + y).astype(np.uint8)
    stored = np.dstack([grey, grey, grey, (255 - x).astype(np.uint8)])[..., : 4 if alpha else 3]
    data = avif_files.pillow_avif(stored, subsampling="4:0:0", range=range_)
    _close(_read(data).pixels, stored[..., [0, 3] if alpha else [0]], 2)


def test_a_grid_without_its_own_depth_has_that_of_its_tiles() -> None:
    white = np.full((32, 48, 3), 1023, np.uint16)
    done, written = cv2.imencode(".avif", white, [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100])
    assert done
    decoded = _read(avif_files.with_properties(written.tobytes(), without=(b"pixi",)))
    assert decoded.pixels.min() == 65535


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ("huge", LimitExceeded, "32768 px a side"),
        ("no picture", UnsupportedFormat, "only a sequence"),
        ("cut", DecodeError, "incomplete or damaged"),
        ("derived", UnsupportedFormat, "convert it to PNG"),
    ],
)
def test_what_is_refused_says_why(changed: str, error: type[ImageError], words: str) -> None:
    data = avif_files.pillow_avif(avif_files.coordinates())
    if changed == "huge":
        data = data.replace(struct.pack(">II", 48, 32), struct.pack(">II", 40_000, 1_000))
    elif changed == "no picture":
        data = avif_files.joined(
            [(k, b) for k, b in avif_files.boxes(data) if k != b"meta"] + [(b"moov", b"")]
        )
    elif changed == "derived":
        data = data.replace(b"\0\0av01", b"\0\0iden")
    else:
        data = data[:-30]
    with pytest.raises(error, match=words):
        _read(data)


def test_the_same_metadata_again_and_again_takes_no_memory() -> None:
    """An item of 60,000 extents that are each the whole file is left out with a note."""
    data = avif_files.pillow_avif(sources.picture(3, 8), exif=sources.exif(1), comment=b"")
    at = data.index(b"iloc")
    before = data[at - 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    locations = [before[16 + 14 * n : 30 + 14 * n] for n in range(2)]
    extent = struct.pack(">II", 0, len(data))
    repeated = locations[1][:4] + struct.pack(">H", 60_000) + extent * 60_000
    body = b"\0\0\0\0\x44\0\0\2" + locations[0] + repeated
    meta = dict(avif_files.boxes(data))[b"meta"]
    inner = [(k, body if k == b"iloc" else b) for k, b in avif_files.boxes(meta[4:])]
    grown = len(body) + 8 - len(before)
    offset = struct.unpack_from(">I", locations[0], 6)[0]
    moved = locations[0][:6] + struct.pack(">I", offset + grown) + locations[0][10:]
    inner = [(k, b.replace(locations[0], moved) if k == b"iloc" else b) for k, b in inner]
    bomb = avif_files.joined(
        [(k, meta[:4] + avif_files.joined(inner) if k == b"meta" else b) for k, b in avif_files.boxes(data)]
    )
    decoded = _read(bomb)
    assert decoded.exif is None
    assert any("EXIF and XMP of the AVIF not carried" in note for note in decoded.notes)


@pytest.mark.parametrize("behind", [b"a trailer of some program", b"\0", bytes(5)])
def test_bytes_behind_the_last_box_are_noted(behind: bytes) -> None:
    data = avif_files.pillow_avif(avif_files.coordinates())
    decoded = _read(data + behind)
    np.testing.assert_array_equal(decoded.pixels, _read(data).pixels)
    assert decoded.notes == (
        f"{len(behind)} bytes at the end of the AVIF make up no box: its picture is complete",
    )


def test_metadata_cut_off_behind_the_pixels_costs_only_itself() -> None:
    whole = avif_files.pillow_avif(avif_files.coordinates(), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    decoded = _read(avif_files.metadata_behind_pixels(whole)[:-5])
    np.testing.assert_array_equal(decoded.pixels, _read(whole).pixels)
    assert "EXIF and XMP of the AVIF not carried" in decoded.notes[1]
