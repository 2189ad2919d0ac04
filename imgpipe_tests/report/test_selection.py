from __future__ import annotations

import numpy as np
import pandas as pd

from imgpipe.report.frame import CHECK_COLUMNS
from imgpipe.report.selection import choose_images, worst_per_check


def _checks(rows: list[tuple[int, str, float, bool, str]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"position": p, "name": n, "value": m, "margin": m, "passed": ok, "severity": severity}
            for p, n, m, ok, severity in rows
        ],
        columns=list(CHECK_COLUMNS),
    )


def test_worst_margin_first_and_most_failures_first() -> None:
    rows = [(p, "a_min", m, m >= 0, "error") for p, m in enumerate([0.5, -0.1, 2.0, 0.1])]
    rows += [(p, "b_min", m, m >= 0, "error") for p, m in enumerate([-1.0, -3.0, 5.0, 6.0])]
    rows += [(p, "same_min", 1.0, True, "error") for p in range(4)]
    assert list(worst_per_check(_checks(rows), 2).items()) == [("b_min", [1, 0]), ("a_min", [1, 3])]


def test_no_checks_have_no_worst() -> None:
    assert worst_per_check(_checks([]), 5) == {}


def _frame(statuses: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"status": statuses, "image_id": [f"i{n}" for n in range(len(statuses))]})


def test_everyone_fits() -> None:
    frame = _frame(["ok", "rejected", "error", "skipped", "ok"])
    assert sorted(choose_images(frame, {"a": [4]}, 100)) == [0, 1, 2, 4]


def test_places_are_kept_for_good_ones_and_the_worst_of_each_check_come_in_turn() -> None:
    frame = _frame(["rejected"] * 50 + ["ok"] * 50)
    chosen = choose_images(frame, {"a": [3, 4, 5], "b": [7, 3, 9]}, 20)
    assert chosen[:5] == [3, 7, 4, 5, 9]
    assert len(chosen) == len(set(chosen)) == 20
    assert sum(position >= 50 for position in chosen) == 3


def test_the_sample_of_good_ones_does_not_depend_on_their_order() -> None:
    frame = _frame(["ok"] * 300)
    shuffled = frame.sample(frac=1.0, random_state=np.random.RandomState(0)).reset_index(drop=True)
    first = {frame["image_id"][i] for i in choose_images(frame, {}, 10)}
    second = {shuffled["image_id"][i] for i in choose_images(shuffled, {}, 10)}
    assert first == second


def test_no_places() -> None:
    assert choose_images(_frame(["error", "ok"]), {"a": [0]}, 0) == []
