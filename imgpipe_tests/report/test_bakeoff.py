from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from imgpipe.report.bakeoff import Outcome, render_bakeoff, summarise
from imgpipe_tests.report.bakeoffs import HOSTILE, bakeoff


def test_means_are_over_the_pictures_that_all_made() -> None:
    rows = {row["entrant"]: row for row in summarise(bakeoff())}
    # The second picture is left out: the third candidate failed on it.
    assert [rows[number]["truth"] for number in range(3)] == [
        {"s_measure": 0.6},
        {"s_measure": 0.9},
        {"s_measure": 1.0},
    ]
    assert [rows[number]["counts"] for number in range(3)] == [
        {"ok": 2, "rejected": 0, "error": 0},
        {"ok": 1, "rejected": 1, "error": 0},
        {"ok": 1, "rejected": 0, "error": 1},
    ]


def test_a_candidate_that_made_nothing_takes_no_picture_from_the_others() -> None:
    made = bakeoff()
    subjects = [
        replace(one, outcomes=[*one.outcomes[:2], Outcome("error", "ModelError: no")])
        for one in made.subjects
    ]
    broken = replace(made, subjects=subjects)
    assert (broken.common(), broken.failures) == ([0, 1], 2)
    (first, second, last) = summarise(broken)
    assert [row["entrant"] for row in (first, second, last)] == [1, 0, 2]
    assert second["truth"] == {"s_measure": pytest.approx(0.7)}
    assert (last["seconds"], last["megapixels_per_second"], last["peak_mb"], last["truth"]) == (
        None,
        None,
        None,
        {},
    )


def test_the_order_is_errors_then_truth_then_rejections_then_seconds() -> None:
    made = bakeoff()
    assert [row["entrant"] for row in summarise(made)] == [1, 0, 2]
    blind = [replace(one, outcomes=[replace(o, truth={}) for o in one.outcomes]) for one in made.subjects]
    assert [row["entrant"] for row in summarise(replace(made, subjects=blind))] == [0, 1, 2]


def test_speed_memory_and_cost() -> None:
    row = next(row for row in summarise(bakeoff()) if row["entrant"] == 0)
    assert row["seconds"] == 2.5  # the median of 4 and 1
    assert row["megapixels_per_second"] == 2.0  # the first picture pays for what is compiled
    assert row["peak_mb"] == 300
    assert row["cost_per_1000"] == pytest.approx(1.4 / 3600 * 1000 * 3.6)
    assert row["steps"] == pytest.approx({"read": 0.1, "decode": 0.1, "encode": 0.2, "network": 1.25})
    assert all(row["cost_per_1000"] is None for row in summarise(bakeoff(price=None)))


def test_the_page_is_one_file_without_anything_of_its_names() -> None:
    page = render_bakeoff(bakeoff())
    assert page.count("<script") == 2
    assert "x.png: &lt;i&gt;HTML&lt;/i&gt;" in page
    assert not re.search(r"(src|href)=[\"'](?!#|data:)", page.partition("<script")[0])
    data = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    assert data["subjects"][1]["name"] == HOSTILE
    assert data["entrants"][0]["label"] == "最初"
    assert data["subjects"][1]["outcomes"][2]["why"] == "DecodeError: <b>cut</b>"
