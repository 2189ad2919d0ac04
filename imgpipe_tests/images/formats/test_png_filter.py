"""Against the standard's own formulas, written out byte by byte."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.formats.png_filter import Bytes, Filter, filter_rows


def _paeth(a: int, b: int, c: int) -> int:
    """W3C PNG, third edition, section 9.4."""
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    if pa <= pb and pa <= pc:
        return a
    return b if pb <= pc else c


_PREDICTIONS = [
    lambda a, b, c: 0,
    lambda a, b, c: a,
    lambda a, b, c: b,
    lambda a, b, c: (a + b) // 2,
    _paeth,
]


def _filtered(rows: Bytes, step: int, number: int) -> Bytes:
    """Section 9.2, one byte at a time."""
    result = np.zeros_like(rows)
    for y, x in np.ndindex(rows.shape):
        a = int(rows[y, x - step]) if x >= step else 0
        b = int(rows[y - 1, x]) if y else 0
        c = int(rows[y - 1, x - step]) if y and x >= step else 0
        result[y, x] = (int(rows[y, x]) - _PREDICTIONS[number](a, b, c)) % 256
    return result


def _rows(kind: str, height: int, size: int) -> Bytes:
    rng = np.random.default_rng(5)
    if kind == "noise":
        return rng.integers(0, 256, (height, size), np.uint8)
    if kind == "extremes":
        return rng.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (height, size))
    y, x = np.mgrid[0:height, 0:size]
    return (3 * x + 5 * y + rng.integers(0, 3, (height, size))).astype(np.uint8)


@pytest.mark.parametrize("kind", ["noise", "extremes", "ramp"])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize(("number", "name"), [(0, "none"), (2, "up"), (3, "average"), (4, "paeth")])
def test_one_filter_for_all_rows(kind: str, step: int, number: int, name: Filter) -> None:
    rows = _rows(kind, 19, 8 * step)
    result = filter_rows(rows, step, name)
    assert (result[:, 0] == number).all()
    assert np.array_equal(result[:, 1:], _filtered(rows, step, number))


def test_paeth_for_all_triples_of_a_coarse_grid() -> None:
    """Left, above and corner through 0..255 in steps of 5, ties included."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    a, b, c = (grid.ravel() for grid in np.meshgrid(levels, levels, levels))
    pairs = np.empty((2, 2 * a.size), np.uint8)
    pairs[0, 0::2], pairs[0, 1::2], pairs[1, 0::2], pairs[1, 1::2] = c, b, a, 0
    found = 256 - filter_rows(pairs, 1, "paeth")[1, 2::2].astype(int)
    expected = [_paeth(*map(int, triple)) for triple in zip(a, b, c, strict=True)]
    assert np.array_equal(found % 256, np.array(expected) % 256)


@pytest.mark.parametrize("kind", ["noise", "extremes", "ramp"])
@pytest.mark.parametrize("step", [1, 3, 8])
def test_adaptive_takes_the_least_sum(kind: str, step: int) -> None:
    rows = _rows(kind, 19, 8 * step)
    options = np.stack([_filtered(rows, step, number) for number in range(5)])
    costs = np.abs(options.view(np.int8).astype(int)).sum(axis=2)
    result = filter_rows(rows, step, "adaptive")
    assert np.array_equal(result[:, 0], costs.argmin(axis=0))
    for y, number in enumerate(result[:, 0]):
        assert np.array_equal(result[y, 1:], options[number, y])


@pytest.mark.parametrize("name", ["none", "up", "average", "paeth", "adaptive"])
@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_blocks_do_not_show(name: Filter, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("ramp", 70, 36)
    whole = filter_rows(rows, 4, name)
    monkeypatch.setattr("imgpipe.images.formats.png_filter._BLOCK_BYTES", block_bytes)
    assert np.array_equal(filter_rows(rows, 4, name), whole)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("name", ["none", "up", "average", "paeth", "adaptive"])
def test_smallest_pictures(shape: tuple[int, int], name: Filter) -> None:
    rows = _rows("noise", *shape)
    result = filter_rows(rows, 1, name)
    for y, number in enumerate(result[:, 0]):
        assert np.array_equal(result[y, 1:], _filtered(rows, 1, int(number))[y])
