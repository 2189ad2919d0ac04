from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from imgpipe.report.duplicates import dhash, group_near_duplicates
from imgpipe_tests.report.datasets import drawing


def _hash(picture: np.ndarray) -> int:
    value = dhash(picture)
    assert value is not None
    return value


@pytest.mark.parametrize("seed", range(8))
def test_size_format_and_brightness_change_few_bits(seed: int) -> None:
    picture = drawing(seed, 384, 512)
    value = _hash(picture)
    half = cv2.resize(picture, (192, 256), interpolation=cv2.INTER_AREA)
    brighter = np.clip(picture.astype(int) + 6, 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
    jpeg = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    distances = [(value ^ _hash(other)).bit_count() for other in (half, brighter, jpeg)]
    assert max(distances) <= 4, distances


def test_different_drawings_are_far_apart() -> None:
    hashes = [_hash(drawing(seed)) for seed in range(60)]
    distances = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[i + 1 :]]
    assert min(distances) > 4, sorted(distances)[:10]


def test_an_empty_page_has_no_hash() -> None:
    assert dhash(np.full((50, 50, 3), 240, np.uint8)) is None


def test_groups_equal_brute_force() -> None:
    rng = np.random.default_rng(3)
    base = [int(v) for v in rng.integers(0, 2**63, 40, dtype=np.uint64)]
    values = []
    for value in base:
        values.append(value)
        for flips in (1, 3, 4, 5, 9):
            changed = value
            for bit in rng.choice(64, flips, replace=False):
                changed ^= 1 << int(bit)
            values.append(changed)
    hashes = pd.Series([f"{value:016x}" for value in values])
    found = group_near_duplicates(hashes, 4)
    component = list(range(len(values)))
    for i in range(len(values)):
        for j in range(i):
            if (values[i] ^ values[j]).bit_count() <= 4:
                old, new = component[i], component[j]
                component = [new if c == old else c for c in component]
    expected: dict[int, list[int]] = {}
    for index, each in enumerate(component):
        expected.setdefault(each, []).append(index)
    wanted = sorted(members for members in expected.values() if len(members) > 1)
    got = sorted(sorted(members) for members in found.groupby(found).groups.values())
    assert got == wanted
    assert list(dict.fromkeys(found)) == list(range(found.nunique()))


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_is_one_group_in_any_order(seed: int) -> None:
    """Each link is 4 bits from the next and 8 or more from all others; a second chain is far away."""
    links = [(1 << 4 * link) - 1 for link in range(17)]
    values = [*links[:8], *links[9:]]
    order = np.random.default_rng(seed).permutation(len(values))
    found = group_near_duplicates(pd.Series([f"{values[place]:016x}" for place in order]))
    groups = sorted(sorted(order[members]) for members in found.groupby(found).groups.values())
    assert groups == [list(range(8)), list(range(8, 16))]


def test_equal_hashes_missing_ones_and_none_at_all() -> None:
    hashes = pd.Series(["00ff00ff00ff00ff", None, "00ff00ff00ff00ff", "ff00ff00ff00ff00"], dtype="string")
    found = group_near_duplicates(hashes)
    assert found.to_dict() == {0: 0, 2: 0}
    assert len(group_near_duplicates(pd.Series([], dtype="string"))) == 0


def test_ten_thousand_hashes_are_grouped_in_seconds() -> None:
    values = np.random.default_rng(4).integers(0, 2**63, 10_000, dtype=np.uint64)
    hashes = pd.Series([f"{int(value):016x}" for value in values])
    hashes.iloc[5000] = hashes.iloc[3]
    assert group_near_duplicates(hashes).to_dict() == {3: 0, 5000: 0}
