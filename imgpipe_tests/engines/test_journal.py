"""What is written down of a shard under way is all there for the next attempt, whatever number of rows."""

from __future__ import annotations

import pytest

from imgpipe.engines import journal
from imgpipe.engines.journal import Journal
from imgpipe.records import ImageRow, Status
from imgpipe.storage.memory import MemoryStore


def row_of(number: int) -> ImageRow:
    key = f"matted/art/00000/{number}.png"
    return ImageRow(
        f"{number}.png", str(number), "e", Status.OK, output_key=key, details={"files": {"m": key}}
    )


def test_rows_of_several_objects_are_all_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_SEGMENT_ROWS", 3)
    output, expected = MemoryStore(), dict[str, ImageRow]()
    for begin in (0, 8):  # the second attempt goes on behind the first one's
        log = Journal(output, "matted_images", "art", "00000")
        assert log.rows == expected
        for number in range(begin, begin + 8):
            log.add(row_of(number))
            expected[str(number)] = row_of(number)
    last = Journal(output, "matted_images", "art", "00000")
    assert last.rows == expected
    last.discard()
    assert not list(output.list())
