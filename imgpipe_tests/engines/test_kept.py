"""Pixels that were just written are not unpacked by the next step, which gives what it gave without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
import pytest

from imgpipe.engines.admission import MemoryBudget
from imgpipe.engines.kept import KEPT, KeptPixels
from imgpipe.engines.local import run_items
from imgpipe.engines.work import ObjectRef
from imgpipe.images.decode import decode
from imgpipe.images.decoder import InProcessDecoder
from imgpipe.images.encode import encode, without_hidden_colours
from imgpipe.images.image import Image, Pixels
from imgpipe.records import ImageRow, Status
from imgpipe.settings import LimitSettings
from imgpipe.stages.protocol import StageResult
from imgpipe.storage.memory import MemoryStore
from imgpipe_tests.engines.test_local import Negative, items


def pixels(rows: int) -> Pixels:
    return np.zeros((rows, 10, 1), np.uint8)


def test_the_oldest_gives_way_and_each_is_taken_once() -> None:
    kept = KeptPixels()
    for name, rows in (("a", 3), ("b", 4), ("c", 5)):
        kept.keep(name, pixels(rows), 100)
    assert (kept.take("a"), kept.held_bytes) == (None, 90)
    assert kept.take("b") is not None
    assert (kept.take("b"), kept.held_bytes) == (None, 50)
    kept.keep("large", pixels(11), 100)
    assert (kept.take("large"), kept.held_bytes) == (None, 0)


def test_images_in_flight_come_before_what_is_kept() -> None:
    KEPT.shrink(0)
    budget = MemoryBudget(1000)
    with budget.admit(400, "x"):
        budget.keep("a", pixels(50))
        budget.keep("b", pixels(20))
        assert (KEPT.take("a"), KEPT.held_bytes) == (None, 200)
    budget.keep("c", pixels(51))  # Half of the limit at most, however much is free.
    assert KEPT.held_bytes == 0
    budget.keep("d", pixels(20))
    with budget.admit(801, "x"):
        assert KEPT.held_bytes == 0


def test_the_next_step_unpacks_nothing_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    KEPT.shrink(0)
    store, output = MemoryStore(), MemoryStore()
    work = items(store, 3)
    written = [row.output_key for row in run_items(Negative(), "x", work, output)]
    refs = [ObjectRef(output, key, LimitSettings(), own=True) for key in written]
    following = [replace(item, inputs={"source": ref}) for item, ref in zip(work, refs, strict=True)]
    with monkeypatch.context() as patched:
        patched.setattr(imagecodecs, "png_decode", None)
        taken = run_items(Negative(), "y", following, with_kept := MemoryStore())
    KEPT.shrink(0)
    unpacked = run_items(Negative(), "y", following, without := MemoryStore())
    assert [row.status for row in taken] == [Status.OK] * 3
    for one, other in zip(taken, unpacked, strict=True):
        assert replace(one, seconds={}) == replace(other, seconds={})
        assert with_kept.read(one.output_key) == without.read(other.output_key)


def test_a_source_is_decoded_once_for_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    KEPT.shrink(0)
    store, decoded = MemoryStore(), []
    work = items(store, 3)
    whole = InProcessDecoder.decode

    def counted(self: InProcessDecoder, data: bytes, **more: Any) -> Image:
        decoded.append(more["name"])
        return whole(self, data, **more)

    monkeypatch.setattr(InProcessDecoder, "decode", counted)
    steps = [run_items(Negative(), asset, work, MemoryStore()) for asset in ("x", "y", "quality_reports")]
    assert len(decoded) == 3
    for rows in steps[1:]:
        assert [replace(row, seconds={}) for row in rows] == [replace(row, seconds={}) for row in steps[0]]
    assert not [key for key in KEPT._pixels if isinstance(key, tuple)]  # Nothing follows the last.
    KEPT.shrink(0)


def test_a_source_that_was_kept_is_decoded_again_under_other_limits() -> None:
    KEPT.shrink(0)
    store = MemoryStore()
    (item,) = items(store, 1)
    run_items(Negative(), "x", [item], MemoryStore())
    ref = replace(item.inputs["source"], limits=LimitSettings(max_pixels=10))
    (row,) = run_items(Negative(), "y", [replace(item, inputs={"source": ref})], MemoryStore())
    assert row.error_class == "LimitExceeded"
    KEPT.shrink(0)


def test_a_rejected_picture_is_not_kept() -> None:
    """No step reads it, so that it would stay for the life of the process."""

    class Doubtful(Negative):
        def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
            return replace(super().run(inputs, rows), status=Status.REJECTED)

    KEPT.shrink(0)
    store, output = MemoryStore(), MemoryStore()
    (row,) = run_items(Doubtful(), "x", items(store, 1), output)
    assert (row.status, output.exists(row.output_key)) == (Status.REJECTED, True)
    assert KEPT.held_bytes == 0


def test_a_damaged_file_is_found_all_the_same() -> None:
    store, output = MemoryStore(), MemoryStore()
    work = items(store, 1)
    (row,) = run_items(Negative(), "x", work, output)
    ref = ObjectRef(output, row.output_key, LimitSettings(), sha256=row.output_sha256, own=True)
    output.write(row.output_key, encode(Image(pixels(4))), overwrite=True)
    (after,) = run_items(Negative(), "y", [replace(work[0], inputs={"source": ref})], output)
    assert after.error_class == "ObjectChanged"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_file_decodes_to_the_pixels_that_it_was_written_from(channels: int, dtype: type) -> None:
    rng = np.random.default_rng(channels)
    made: Pixels = rng.integers(0, np.iinfo(dtype).max + 1, (9, 7, channels)).astype(dtype)
    made[:4, :, -1] = 0
    written = without_hidden_colours(Image(made, exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", dpi=(72.0, 72.0)))
    data = encode(written, zero_transparent=False)
    plain = decode(data, name="x", limits=LimitSettings())
    known = decode(data, name="x", limits=LimitSettings(), pixels=written.pixels)
    assert np.array_equal(plain.pixels, known.pixels)
    assert _rest(plain) == _rest(known)


def _rest(image: Image) -> tuple[object, ...]:
    return image.icc, image.exif, image.xmp, image.source_format, image.notes, image.dpi
