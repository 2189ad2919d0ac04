"""Lines of a task that takes minutes."""

from __future__ import annotations

from imgpipe.report.progress import Progress


def test_a_line_a_minute_with_the_time_that_is_left() -> None:
    said: list[str] = []
    now = 0.0
    done = Progress("thumbnails", 1500, said.append, lambda: now)
    for _ in range(100):
        now += 1.5
        done()
    assert said == [
        "report: 40 of 1,500 thumbnails, about 36 min left for them",
        "report: 80 of 1,500 thumbnails, about 36 min left for them",
    ]
