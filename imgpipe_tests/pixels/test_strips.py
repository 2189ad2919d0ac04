from __future__ import annotations

from imgpipe.pixels.strips import bands


def test_bands_are_whole_and_reach_from_end_to_end() -> None:
    found = list(bands(4100, 64, 6))
    assert len(found) == 6
    assert {band.stop - band.start for band in found} == {64}
    assert (found[0].start, found[-1].stop) == (0, 4096)
    assert [band.start % 64 for band in found] == [0] * 6


def test_all_bands_where_there_are_few_and_a_short_one_where_none_is_whole() -> None:
    assert list(bands(200, 64, 6)) == [slice(0, 64), slice(64, 128), slice(128, 192)]
    assert list(bands(40, 64, 6)) == [slice(0, 40)]
