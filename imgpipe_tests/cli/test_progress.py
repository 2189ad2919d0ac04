"""Progress where there is no terminal."""

from __future__ import annotations

import pytest

from imgpipe.cli import summary
from imgpipe.cli.console import SafeConsole
from imgpipe.cli.progress import MinuteLines
from imgpipe.config import Settings
from imgpipe.engines.status import ShardStatus
from imgpipe.records import ImageRow, Status


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_minute_with_counts_and_the_time_left() -> None:
    clock = Clock()
    lines: list[str] = []
    progress = MinuteLines(("raw", "matted", "scored"), 100, lines.append, clock)
    for asset, seconds, rows in (("raw", 0.1, 100), ("matted", 5.0, 100), ("scored", 1.0, 100)):
        for _ in range(rows):
            clock.now += seconds
            progress.add(asset)
    assert len(lines) == 10, "610 seconds"
    assert lines[:2] == [
        "of 100 images: 100 raw, 10 matted, 0 scored; more than 8 min left",
        "of 100 images: 100 raw, 22 matted, 0 scored; more than 6 min left",
    ]
    assert lines[-2:] == [
        "of 100 images: 100 raw, 100 matted, 30 scored; about 1 min left",
        "of 100 images: 100 raw, 100 matted, 90 scored; about 10 s left",
    ]


def test_nothing_is_said_within_a_minute() -> None:
    clock = Clock()
    lines: list[str] = []
    progress = MinuteLines(("raw",), 100_000, lines.append, clock)
    for _ in range(59):
        clock.now += 1
        progress.add("raw")
    assert lines == []
    clock.now += 100
    progress.add("raw")
    assert lines == ["of 100,000 images: 60 raw; about 73 h 34 min left"]


def test_a_run_into_a_file_has_these_lines_and_its_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(summary, "out", SafeConsole(width=80, force_terminal=False))
    pending = [ShardStatus("00000", 4, {}, {})]
    with summary.row_progress(Settings(actions=("upscale",)), pending, clock) as on_row:
        for number in range(4):
            clock.now += 40
            bad = number == 2
            row = ImageRow(
                source_key=f"{number}.png",
                image_id=str(number),
                etag="",
                status=Status.ERROR if bad else Status.OK,
                error_class="DecodeError" if bad else "",
                error_message="damaged" if bad else "",
            )
            on_row("raw_images", "00000", row, True)
    assert capsys.readouterr().out.splitlines() == [
        "of 4 images: 2 raw_images, 0 upscaled_images, 0 quality_reports; more than 1 min left",
        "error raw_images 2.png: DecodeError: damaged",
        "of 4 images: 4 raw_images, 0 upscaled_images, 0 quality_reports; time left unknown",
    ]
