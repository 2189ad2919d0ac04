"""JPEGs whose pixels are all there are decoded bit for bit, with a note; with pixels missing, refused."""

from __future__ import annotations

import base64
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.settings import LimitSettings
from imgpipe_tests.enhancement.pictures import noise, waves
from imgpipe_tests.images import sources


def _jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(waves(120, 160, 3)).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_piece_cut_out_of_the_middle_is_refused(progressive: bool) -> None:
    data = _jpeg(progressive=progressive)
    middle = len(data) // 2
    cut = data[:middle] + data[middle + len(data) // 5 :]
    with PIL.Image.open(io.BytesIO(cut)) as opened:
        opened.load()  # other programs show it without a word
    with pytest.raises(DecodeError, match=r"a\.jpg: the JPEG's compressed data is damaged"):
        decode(cut, name="a.jpg", limits=LimitSettings())


@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_that_was_sent_as_a_text_is_refused(progressive: bool) -> None:
    data = _jpeg(progressive=progressive).replace(b"\n", b"\r\n")
    with pytest.raises(DecodeError, match=r"a\.jpg: .* damaged"):
        decode(data, name="a.jpg", limits=LimitSettings())


def test_bytes_left_over_before_the_end_are_noted() -> None:
    data = _jpeg()
    image = decode(data[:-2] + bytes(12) + data[-2:], name="a.jpg", limits=LimitSettings())
    clean = decode(data, name="a.jpg", limits=LimitSettings())
    np.testing.assert_array_equal(image.pixels, clean.pixels)
    assert "harmless oddity in the JPEG" in image.notes[0]
    assert clean.notes == ()


_KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "grey": {"grey": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 3},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 1},
    "CMYK": {"cmyk": True, "restart_marker_rows": 1},
    "optimised": {"optimize": True, "subsampling": 0},
}


def _kind(kind: str) -> bytes:
    options = dict(_KINDS[kind])
    pixels = waves(120, 160, 3)
    buffer = io.BytesIO()
    opened = PIL.Image.fromarray(pixels[..., 0] if options.pop("grey", False) else pixels)
    if options.pop("cmyk", False):
        opened = opened.convert("CMYK")
    opened.save(buffer, "JPEG", quality=85, **options)
    return buffer.getvalue()


def _same_as(damaged: bytes, whole: bytes, words: str) -> None:
    image = decode(damaged, name="a.jpg", limits=LimitSettings())
    np.testing.assert_array_equal(image.pixels, decode(whole, name="a.jpg", limits=LimitSettings()).pixels)
    assert not words or any(words in note for note in image.notes), image.notes


def _segment_starts(data: bytes) -> list[int]:
    """Offsets of the segments behind the start marker, to the first scan's."""
    starts, at = [], 2
    while data[at + 1] != 0xDA:
        starts.append(at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return [*starts, at]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "instead",
    [
        b"",
        b"\xff",
        b"\xff\xff",
        bytes(2),
        bytes(5000),
        b"SEFHk\0\0\0\x01\0\0\0 vendor SEFT",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"\xff\x4d\xff\xe1\xff\xff" + bytes(40),
    ],
    ids=["nothing", "half", "fill", "two zeros", "zeros", "trailer", "next picture", "markers"],
)
def test_something_else_in_place_of_the_end_marker(kind: str, instead: bytes) -> None:
    data = _kind(kind)
    assert data.endswith(b"\xff\xd9")
    _same_as(data[:-2] + instead, data, "no end marker")


def test_zero_bytes_that_no_encoder_ends_with_are_noted() -> None:
    data = _kind("baseline")
    for count in (2, 3, 8):
        image = decode(data[: -2 - count] + bytes(count) + data[-2:], name="a.jpg", limits=LimitSettings())
        assert image.notes == (f"the JPEG's data ends in {count} zero bytes: its last pixels may be lost",)
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (160, 16), "white").save(buffer, "JPEG", optimize=True)
    assert buffer.getvalue()[-5:-2] == bytes(3)
    assert decode(buffer.getvalue(), name="a.jpg", limits=LimitSettings()).notes == ()


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
@pytest.mark.parametrize(
    "junk", [b"\n" * 7, b"\xff\0\xff\0", b"vendor", b"\xff\x4d", b"\0", b"ab\xff\x12\xff\0cd"]
)
def test_bytes_between_segments(kind: str, junk: bytes) -> None:
    data = _kind(kind)
    starts = _segment_starts(data)[1:]
    for at in starts:
        _same_as(data[:at] + junk + data[at:], data, "bytes between segments")
    parts = [data[at:end] for at, end in zip(starts, [*starts[1:], None], strict=True)]
    everywhere = data[: starts[0]] + b"".join(junk + part for part in parts)
    _same_as(everywhere, data, f"{len(junk) * len(starts)} bytes between segments")


def _with(junk: bytes, data: bytes, places: list[int]) -> bytes:
    """``data`` with ``junk`` before each of the places."""
    ends = [0, *places, len(data)]
    return junk.join(data[start:stop] for start, stop in pairwise(ends))


@pytest.mark.parametrize("kind", ["restarts", "many restarts", "progressive restarts", "CMYK"])
@pytest.mark.parametrize("junk", [b"\0", b"\0\0\0", b"\x0a" * 20, b"\xff\0\x12", b"\xff\xff", b"padding"])
@pytest.mark.parametrize("where", ["first", "some", "all"])
def test_bytes_before_restart_markers(kind: str, junk: bytes, where: str) -> None:
    data = _kind(kind)
    places = [m.start() for m in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    chosen = {"first": places[:1], "some": places[1::4], "all": places}[where]
    assert chosen
    _same_as(_with(junk, data, chosen), data, "harmless oddity" if len(junk) > 6 else "")


@pytest.mark.parametrize("junk", [b"\0", b"\0" * 9, b"\x55" * 30])
def test_bytes_between_scans(junk: bytes) -> None:
    data = _kind("progressive")
    scans = [m.start() for m in re.finditer(rb"\xff\xc4", data)][3:]
    _same_as(_with(junk, data, scans), data, "harmless oddity" if len(junk) > 8 else "")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["junk_segments", "noeoi"])
def test_files_that_are_intact(shared: Path, name: str) -> None:
    folder = shared / "cases" / "images" / "jpeg-intact-but-refused"
    _same_as((folder / f"{name}.jpg").read_bytes(), (folder / "base.jpg").read_bytes(), "harmless oddity")


def _refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words) as caught:
        decode(data, name="a.jpg", limits=LimitSettings())
    assert "incomplete or damaged" in str(caught.value)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    "behind", [b"", b"\xff\xd9", bytes(3000), b"vendor's trailer", bytes(3000) + b"\xff\xd9"]
)
def test_missing_pixels_are_refused_whatever_is_in_their_place(kind: str, behind: bytes) -> None:
    data = _kind(kind)
    for share in (0.5, 0.8, 0.97):
        _refused(data[: int(len(data) * share)] + behind, "a.jpg: the JPEG's compressed data is damaged")


@pytest.mark.parametrize("kind", ["restarts", "many restarts", "progressive restarts"])
@pytest.mark.parametrize("behind", [b"", b"\xff\xd9", bytes(100), b"vendor's trailer"])
def test_missing_stretches_are_refused(kind: str, behind: bytes) -> None:
    data = _kind(kind)
    places = [m.start() for m in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    for place in (places[len(places) // 2], places[-1]):
        _refused(data[:place] + behind, "compressed data is damaged")
    _refused(data[: places[0] + 2] + data[places[1] + 2 :], "compressed data is damaged")


def test_a_progressive_file_without_its_later_scans_says_what_is_missing() -> None:
    """Cut between scans and closed with an end marker, as repair tools do it: others show a blur."""
    data = _kind("progressive")
    starts = [m.start() for m in re.finditer(rb"\xff\xda", data)]
    cuts = [max(data.rfind(b"\xff\xc4", 0, at), at - 200) for at in starts[1:]]
    for at in cuts:
        at = data.rfind(b"\xff\xc4", 0, at + 2) if data[at : at + 2] != b"\xff\xc4" else at
        with PIL.Image.open(io.BytesIO(data[:at] + b"\xff\xd9")) as opened:
            opened.load()
        _refused(data[:at] + b"\xff\xd9", r"scans are missing: of component \d of 3, \d+ of 64 coefficients")


@pytest.mark.shared
def test_the_cut_progressive_file(shared: Path) -> None:
    folder = shared / "cases" / "images" / "jpeg-progressive-cut"
    _refused((folder / "prog_scan1_eoi.jpg").read_bytes(), "64 of 64 coefficients, from number 0 on")
    assert decode((folder / "whole.jpg").read_bytes(), name="w", limits=LimitSettings()).notes == ()


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [(11, 9, "unknown JFIF revision 9"), (-1, 5, "scan parameters")],
)
def test_odd_headers_are_noted(at: int, value: int, words: str) -> None:
    data = bytearray(_kind("baseline"))
    if at < 0:
        at = data.index(b"\xff\xda") + 2 + int.from_bytes(data[data.index(b"\xff\xda") + 2 :][:2], "big") - 1
    data[at] = value
    _same_as(bytes(data), _kind("baseline"), words)
    # Damage behind the oddity is still found.
    _refused(bytes(data[: len(data) // 2]), "compressed data is damaged")


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"keep_rgb": True}])
def test_same_pixels_as_pillow(options: dict[str, object]) -> None:
    data = _jpeg(**options)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        expected = np.array(opened)
    np.testing.assert_array_equal(decode(data, name="a.jpg", limits=LimitSettings()).pixels, expected)


def test_noise_that_outgrows_pillows_buffer_is_written() -> None:
    image = Image(noise(256, 256))
    data = encode(image, format="JPEG", quality=100)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.layer[0][1:3] == (1, 1), "4:4:4"  # type: ignore[attr-defined]
        difference = np.abs(np.array(opened).astype(int) - image.pixels)
    assert difference.mean() < 1


def test_a_profile_of_several_segments() -> None:
    profile = bytearray(sources.display_p3())
    profile += bytes(150_000 - len(profile))
    profile[:4] = len(profile).to_bytes(4, "big")
    image = Image(waves(8, 8, 3), icc=bytes(profile), exif=None, xmp=b"<x/>")
    data = encode(image, format="JPEG")
    back = decode(data, name="x", limits=LimitSettings())
    assert (back.icc, back.xmp) == (image.icc, image.xmp)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.info["icc_profile"] == image.icc


#: 32x32 px, grey, as cjpeg -arithmetic writes it: (x * 8) ^ (y * 5); sequential and progressive.
_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hn"
    "Pk1xeXBkeFxlZ2P/yQALCAAgACABAREA/8wABgAQEAX/2gAIAQEAAD8A/wBvfwb2RKizr5t0f76574vAsg3/AKrhBnBWuFwAfzsmE7t0"
    "ND1ACuBoiKro+9b09V/dIDSBuiUSzNfOnjsqZF0QAkMTUaofZiikdaBYMu7ZOI0xt7/voGxEFPO2dKVAgtiPzDJYDIXqcIamP1oMQAL4"
    "t1yCT464W3C+GGZyHdt1mryyLlnfMMtBIP/Z",
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hn"
    "Pk1xeXBkeFxlZ2P/ygALCAAgACABAREA/8wABAAQ/9oACAEBAAAAAf7hIGCL/WQBfZsIRUNdY7T/zAAEEAX/2gAIAQEAAQUCHZijo4px"
    "HdQBs/1kzFVNvzz03wWrjTGI7oD/zAAEEAX/2gAIAQEABj8C1Hwf+gZB73yd8pe3wP/MAAQQBf/aAAgBAQABPyFMp2boDGc/K3wuxMYi"
    "ncXPg6q1SmEJXKA6lZiz7UMg/9oACAEBAAAAEEvG/8wABBAF/9oACAEBAAE/EGg3I8vo1xGhsxD6QUQVEK2ZMYvPtpdED6YQ9d3zR+UO"
    "P9NwcMcR9sktPtti0Erbp5XZgP/Z",
)


@pytest.mark.parametrize("stored", _ARITHMETIC)
def test_arithmetic_code_that_ends_early_is_refused(stored: str) -> None:
    """An arithmetic decoder goes on with zeros, and libjpeg does not warn of it."""
    data = base64.b64decode(stored)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        whole = np.asarray(opened)
    for end, words in ((b"\xff\xd9", ()), (b"", ("no end marker",)), (bytes(100), ("no end", "98|99 bytes"))):
        image = decode(data[:-2] + end, name="a.jpg", limits=LimitSettings())
        np.testing.assert_array_equal(image.pixels[..., 0], whole)
        assert len(image.notes) == len(words)
        assert all(re.search(word, note) for word, note in zip(words, image.notes, strict=True))
    scan = data.rindex(b"\xff\xda") + 10
    for share in (0.3, 0.6, 0.9):
        cut = data[: scan + int((len(data) - scan) * share)]
        for end in (b"", b"\xff\xd9"):
            _refused(cut + end, "its arithmetic code ends early")


def test_bytes_directly_behind_the_start_marker() -> None:
    data = _kind("baseline")
    _same_as(data[:2] + b"\0\1junk" + data[2:], data, "6 bytes between segments")


def _with_frame(data: bytes, marker: int) -> bytes:
    return data.replace(b"\xff\xc0", bytes((0xFF, marker)), 1)


def _height_behind(data: bytes) -> bytes:
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + b"\0\0" + data[at + 2 : -2] + b"\xff\xdc\0\4" + data[at : at + 2] + b"\xff\xd9"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (imagecodecs.jpegls_encode(waves(24, 32, 3)), "got JPEG-LS"),
        (_with_frame(_jpeg(), 0xC5), "got a hierarchical one"),
        (_with_frame(_jpeg(), 0xCB), "got a lossless one with arithmetic coding"),
        (_with_frame(_jpeg(), 0xC3), "color conversion"),
        (_height_behind(_jpeg()), "height stands behind the picture"),
    ],
)
def test_kinds_that_are_not_read_are_not_called_damaged(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"a.jpg: .*{words}.*convert it"):
        decode(data, name="a.jpg", limits=LimitSettings())
