"""What metadata says of the written picture: no small picture of the source, and the source's resolution."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest

from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.metadata import (
    exif_fault,
    reset_exif_orientation,
    upscaler_of,
    with_upscaler,
    without_exif_thumbnail,
    without_xmp_thumbnails,
)
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources

FORMATS = ["PNG", "JPEG", "TIFF", "WEBP"]


def _read(data: bytes) -> Image:
    return decode(data, name="a", limits=LimitSettings())


def _thumbnail() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.full((12, 16, 3), 77, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _with_thumbnail(order: str, *, strip: bool = False, behind: bytes = b"") -> bytes:
    """A block of three directories' worth: maker, Exif with a maker note, and a small picture."""

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        short = kind == 3 and count == 1
        packed = struct.pack(order + ("HxxH"[:1] + "xx" if short else "I"), value)
        return struct.pack(order + "HHI", tag, kind, count) + packed

    small = _thumbnail()
    note = bytes(range(200, 232))
    tags = (273, 279) if strip else (0x201, 0x202)
    sub_at = 8 + 2 + 3 * 12 + 4
    note_at = sub_at + 2 + 12 + 4
    second_at = note_at + len(note)
    small_at = second_at + 2 + 2 * 12 + 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = struct.pack(order + "H", 3)
    first += entry(0x0112, 3, 1, 6) + entry(0x0132, 2, 4, 0x61626300) + entry(0x8769, 4, 1, sub_at)
    first += struct.pack(order + "I", second_at)
    sub = struct.pack(order + "H", 1) + entry(0x927C, 7, len(note), note_at) + bytes(4)
    second = struct.pack(order + "H", 2) + entry(tags[0], 4, 1, small_at) + entry(tags[1], 4, 1, len(small))
    block = head + first + sub + note + second + bytes(4) + small + behind
    assert exif_fault(block) == ""
    return block


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("behind", [b"", b"more data"])
def test_the_small_picture_is_gone_and_all_else_stays(order: str, strip: bool, behind: bytes) -> None:
    block = _with_thumbnail(order, strip=strip, behind=behind)
    clean = without_exif_thumbnail(block)
    assert clean is not None
    assert _thumbnail() not in clean
    assert bytes(range(200, 232)) in clean
    assert clean.endswith(behind)
    assert len(clean) <= len(block) - (0 if behind else len(_thumbnail()))
    # All before the second directory but the link to it is as it was.
    link = 8 + 2 + 3 * 12
    assert clean[:link] == block[:link]
    assert clean[link : link + 4] == bytes(4)
    assert clean[link + 4 : link + 54] == block[link + 4 : link + 54]
    parsed = PIL.Image.Exif()
    parsed.load(clean)
    assert parsed.get_ifd(0x8769)[0x927C] == bytes(range(200, 232))
    assert not parsed.get_ifd(PIL.ExifTags.IFD.IFD1)


def test_a_block_without_one_and_a_hostile_one_keep_their_directories() -> None:
    plain = sources.exif(1)
    assert without_exif_thumbnail(plain) == plain
    assert without_exif_thumbnail(None) is None
    block = bytearray(_with_thumbnail("<"))
    at = 8 + 2 + 3 * 12 + 4 + 2 + 12 + 4 + 32 + 2 + 8
    struct.pack_into("<I", block, at, 0)  # the picture is said to begin with the block itself
    struct.pack_into("<I", block, at + 12, 10_000)
    clean = without_exif_thumbnail(bytes(block))
    assert clean is not None
    assert exif_fault(clean) == ""
    assert clean[:46] == bytes(block)[:46]


def test_thumbnails_in_xmp() -> None:
    small = b"<xmp:Thumbnails><rdf:Alt>AAAA</rdf:Alt></xmp:Thumbnails>"
    packet = b"<x:xmpmeta>" + small + b"<dc:title>t</dc:title></x:xmpmeta>"
    assert without_xmp_thumbnails(packet) == b"<x:xmpmeta><dc:title>t</dc:title></x:xmpmeta>"
    assert without_xmp_thumbnails(b"<xmp:Thumbnails>" * 9) == b"<xmp:Thumbnails>" * 9
    assert without_xmp_thumbnails(None) is None


@pytest.mark.parametrize("fmt", FORMATS)
def test_no_written_file_has_the_sources_thumbnail(fmt: str) -> None:
    block = _with_thumbnail(">")
    buffer = io.BytesIO()
    PIL.Image.fromarray(sources.picture(3, 8)).save(buffer, "JPEG", exif=b"Exif\0\0" + block)
    assert _thumbnail() in buffer.getvalue()
    written = encode(_read(buffer.getvalue()), format=fmt)
    assert _thumbnail() not in written
    with PIL.Image.open(io.BytesIO(written)) as opened:
        assert opened.size == (sources.HEIGHT, sources.WIDTH)  # turned upright
        assert opened.getexif().get_ifd(0x8769)[0x927C] == bytes(range(200, 232))
        assert not opened.getexif().get_ifd(PIL.ExifTags.IFD.IFD1)


@pytest.mark.shared
def test_the_thumbnail_of_a_turned_file(shared: Path) -> None:
    data = (shared / "cases" / "images" / "exif-thumbnail-stale" / "thumb_o6.jpg").read_bytes()
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif().get_ifd(PIL.ExifTags.IFD.IFD1)
    with PIL.Image.open(io.BytesIO(encode(_read(data), format="JPEG"))) as opened:
        assert not opened.getexif().get_ifd(PIL.ExifTags.IFD.IFD1)
        assert opened.getexif()[0x0112] == 1


def _with_dpi(fmt: str, dpi: tuple[float, float], **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(sources.picture(3, 8)).save(buffer, fmt, dpi=dpi, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("source", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("dpi", [(300, 300), (72, 144)])
def test_the_resolution_is_written_as_the_formats_own_field(
    source: str, target: str, dpi: tuple[float, float]
) -> None:
    decoded = _read(_with_dpi(source, dpi))
    assert decoded.dpi == pytest.approx(dpi, abs=0.02)
    with PIL.Image.open(io.BytesIO(encode(decoded, format=target))) as opened:
        in_exif = opened.getexif()
        # WebP has no field but EXIF's.
        found = (in_exif[282], in_exif[283]) if target == "WEBP" else opened.info["dpi"]
        assert tuple(map(float, found)) == pytest.approx(dpi, abs=0.02)


def test_per_centimetre_and_ratios_alone() -> None:
    data = bytearray(_with_dpi("JPEG", (118, 118)))
    assert data[13] == 1
    data[13] = 2  # per cm
    assert _read(bytes(data)).dpi == pytest.approx((299.72, 299.72))
    data[13] = 0  # only the shape of a pixel
    assert _read(bytes(data)).dpi is None


@pytest.mark.parametrize("per_metre", [0, 1 << 31, 0xFFFFFFFF])
def test_what_can_be_no_resolution_is_left_out(per_metre: int) -> None:
    stated = struct.pack(">I", per_metre)
    bmp = bytearray(_with_dpi("BMP", (72, 72)))
    bmp[38:42] = stated[::-1]
    size = sources.chunk(b"pHYs", stated + stated + b"\1")
    for data in (bytes(bmp), sources.png_file(sources.picture(3, 8), 2, middle=size)):
        assert _read(data).dpi is None


def test_a_turn_turns_the_resolution_too() -> None:
    data = _with_dpi("JPEG", (72, 144), exif=b"Exif\0\0" + sources.exif(6))
    assert _read(data).dpi == (144.0, 72.0)


@pytest.mark.shared
def test_the_resolution_of_a_jfif_file(shared: Path) -> None:
    decoded = _read((shared / "cases" / "images" / "dpi-lost" / "jfif300.jpg").read_bytes())
    assert decoded.dpi == (300.0, 300.0)
    with PIL.Image.open(io.BytesIO(encode(decoded))) as opened:
        assert opened.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_quarter_turn_exchanges_the_resolutions(orientation: int, order: str) -> None:
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[274], exif[282], exif[283], exif[296] = orientation, 300.0, 200.0, 2
    turned = PIL.Image.Exif()
    turned.load(b"Exif\0\0" + (reset_exif_orientation(exif.tobytes()[6:]) or b""))
    wanted = (200, 300) if orientation >= 5 else (300, 200)
    assert (turned[274], turned[282], turned[283]) == (1, *wanted)


_RDF = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:rights="mine"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("before", [None, _RDF])
@pytest.mark.parametrize("fmt", FORMATS)
def test_what_enlarged_a_picture_is_read_from_its_file_again(before: bytes | None, fmt: str) -> None:
    packet = with_upscaler(with_upscaler(before, "bicubic"), 'R&D "x4"')
    written = _read(encode(Image(np.zeros((8, 9, 3), np.uint8), xmp=packet), format=fmt)).xmp
    assert written is not None
    assert upscaler_of(written) == 'R&D "x4"'
    descriptions = ET.fromstring(written).findall(".//{*}Description")  # noqa: S314 -- ours
    assert len(descriptions) == (1 if before is None else 2)
    assert before is None or b'dc:rights="mine"' in written


def test_a_packet_without_rdf_stays_as_it_is() -> None:
    assert with_upscaler(b"<x/>", "lanczos") == b"<x/>"
    assert upscaler_of(b"<x/>") == upscaler_of(None) == ""
