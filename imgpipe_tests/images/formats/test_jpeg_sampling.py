"""JPEGs of every sampling that libjpeg reads; right values by arithmetic on blocks of one level each."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest

from imgpipe.errors import DecodeError, UnsupportedFormat
from imgpipe.images.decode import decode
from imgpipe.settings import LimitSettings

Planes = list[npt.NDArray[np.int64]]
Factors = list[tuple[int, int]]
MCU_ROWS, MCU_COLUMNS = 3, 4


def planes_of(factors: Factors) -> Planes:
    rng = np.random.default_rng(5)
    return [rng.integers(60, 200, (MCU_ROWS * v, MCU_COLUMNS * h)) for h, v in factors]


def jpeg_of(planes: Planes, factors: Factors) -> bytes:
    """A baseline JPEG (ITU-T T.81) of 8x8 blocks that have a DC coefficient alone, interleaved."""
    bits, before = "", [0] * len(planes)
    for row, column in np.ndindex(MCU_ROWS, MCU_COLUMNS):
        for number, (plane, (h, v)) in enumerate(zip(planes, factors, strict=True)):
            for level in plane[row * v : (row + 1) * v, column * h : (column + 1) * h].ravel():
                change, before[number] = int(level) - 128 - before[number], int(level) - 128
                size = abs(change).bit_length()
                value = change if change >= 0 else change + (1 << size) - 1
                bits += f"{size:04b}" + (f"{value:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", 8, _highest(factors) * 8 * MCU_ROWS, _widest(factors) * 8 * MCU_COLUMNS, 3)
    frame += b"".join(bytes((n, h << 4 | v, 0)) for n, (h, v) in enumerate(factors, start=1))
    dc, ac = b"\0" + bytes((0, 0, 0, 12, *[0] * 12, *range(12))), b"\x10" + bytes((1, *[0] * 15, 0))
    bodies = [(0xDB, b"\0\x08" + b"\1" * 63), (0xC0, frame), (0xC4, dc + ac)]
    bodies.append((0xDA, b"\3\1\0\2\0\3\0\0\x3f\0"))
    segments = b"".join(struct.pack(">BBH", 0xFF, kind, 2 + len(body)) + body for kind, body in bodies)
    return b"\xff\xd8" + segments + scan + b"\xff\xd9"


def _widest(factors: Factors) -> int:
    return max(h for h, _ in factors)


def _highest(factors: Factors) -> int:
    return max(v for _, v in factors)


def rgb_of(planes: Planes, factors: Factors) -> npt.NDArray[np.float64]:
    """JFIF 1.02: each plane repeated to the whole size, then ITU-R BT.601 of the full range."""
    wide, high = _widest(factors), _highest(factors)
    y, cb, cr = (
        np.kron(plane, np.ones((8 * high // v, 8 * wide // h)))
        for plane, (h, v) in zip(planes, factors, strict=True)
    )
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    return np.clip(np.dstack([red, green, blue]), 0, 255)


RARE: list[Factors] = [
    [(4, 2), (1, 1), (1, 1)],  # 4:1:0
    [(3, 1), (1, 1), (1, 1)],
    [(1, 3), (1, 1), (1, 1)],
    [(2, 4), (1, 1), (1, 1)],
    [(4, 1), (4, 1), (1, 1)],
]


def _within_1(data: bytes, factors: Factors) -> tuple[str, ...]:
    decoded = decode(data, name="a.jpg", limits=LimitSettings())
    assert np.abs(decoded.pixels - rgb_of(planes_of(factors), factors)).max() <= 1
    return decoded.notes


@pytest.mark.parametrize("factors", RARE)
def test_rare_sampling_factors(factors: Factors) -> None:
    data = jpeg_of(planes_of(factors), factors)
    (note,) = _within_1(data, factors)
    assert "rare sampling factors" in note
    assert any("no end marker" in note for note in _within_1(data[:-2], factors))


@pytest.mark.parametrize("factors", RARE)
def test_missing_and_left_over_data_of_rare_sampling_factors_is_refused(factors: Factors) -> None:
    data = jpeg_of(planes_of(factors), factors)
    start = data.index(b"\xff\xda") + 12
    middle = (start + len(data)) // 2
    for damaged in (
        data[: len(data) * 2 // 3],
        data[: len(data) * 2 // 3] + b"\xff\xd9",
        data[:middle] + data[middle + 80 :],
        data[:middle] + bytes(80) + data[middle:],
    ):
        with pytest.raises(DecodeError, match=r"a\.jpg: the JPEG's .*damaged"):
            decode(damaged, name="a.jpg", limits=LimitSettings())


@pytest.mark.parametrize("factors", [[(1, 4), (1, 1), (1, 1)], [(4, 1), (1, 1), (1, 1)], [(3, 1)] * 3])
def test_factors_that_are_seldom_but_known_are_checked_in_full(factors: Factors) -> None:
    assert _within_1(jpeg_of(planes_of(factors), factors), factors) == ()


def test_factors_that_libjpeg_does_not_read() -> None:
    factors = [(3, 1), (2, 1), (1, 1)]
    with pytest.raises(UnsupportedFormat, match=r"rare sampling factors.*convert it"):
        decode(jpeg_of(planes_of(factors), factors), name="a.jpg", limits=LimitSettings())
