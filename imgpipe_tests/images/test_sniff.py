"""Formats are told by content; what is refused is named."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.sniff import FORMATS, accepted_formats, sniff


@pytest.mark.parametrize("fmt", FORMATS)
def test_formats_written_by_pillow(fmt: str) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(buffer, fmt)
    assert sniff(buffer.getvalue(), "misleading.txt") == fmt


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\xef\xbb\xbf  <html><body>", "HTML"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b'<?xml version="1.0"?><!-- x --><svg>', "SVG"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b"%PDF-1.4", "PDF"),
        (b"PK\x03\x04aaaa", "zip"),
        (b"hello there", "text starting with 'hello there'"),
        ("é".encode() * 3000, "text"),
        (b"BMW is a car maker", "text"),
        (b"\0" * 64, "64 bytes that are zero"),
        (b"\x01\x02\x03\xff\xfe", "unknown bytes starting with 01 02 03 ff fe"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "RIFF file of kind 'WAVE'"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "brand 'isom'"),
        (b"8BPS\0\x01", "Photoshop"),
    ],
)
def test_what_is_refused_is_named(head: bytes, what: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        sniff(head, "folder/x.png")
    message = str(caught.value)
    assert message.startswith("folder/x.png: ")
    assert what in message
    assert "PNG, JPEG, WEBP, TIFF, GIF, BMP, AVIF" in message


def test_an_empty_file_is_damage_not_a_format() -> None:
    with pytest.raises(DecodeError, match=r"x\.png: expected an image, got an empty file \(0 bytes\)"):
        sniff(b"", "x.png")


@pytest.mark.parametrize(
    ("head", "fmt", "package"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "pillow-heif"),
        (b"\xff\x0a\x00\x00", "JXL", "pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL", "pillow-jxl-plugin"),
    ],
)
def test_plugin_formats(head: bytes, fmt: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert accepted_formats() == FORMATS
    with pytest.raises(UnsupportedFormat, match=f"install it.*|{package}"):
        sniff(head, "x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert sniff(head, "x") == fmt


def test_avif_that_also_claims_to_be_heif_is_avif() -> None:
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifheic", "x") == "AVIF"
