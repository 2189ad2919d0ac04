"""What an operator does in the UI on the morning of :mod:`incident`, with a real browser, step by step.

Each step waits for what it needs to see and fails where it is not there. ``take`` is called with a name
when there is something to look at: a test ignores it, ``scripts/screenshots.py`` keeps a picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imgpipe_tests.end_to_end.incident import DATASET, FAILED, SHARDS, Incident
from imgpipe_tests.end_to_end.webserver import FINISHED, Server
from imgpipe_tests.report.browser import Browser

Take = Callable[[str], None]

#: Marks the innermost element with exactly this text that a person could click on; false where there is none.
_MARK = """
const [wanted, inDialog] = arguments;
const root = (inDialog && document.querySelector('[role=dialog]')) || document.body;
document.querySelectorAll('[data-press]').forEach(e => e.removeAttribute('data-press'));
const named = [...root.querySelectorAll('button, a, span, div, label')]
  .filter(e => e.textContent.trim() === wanted).reverse();
for (const element of named) {
  element.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = element.getBoundingClientRect();
  if (!box.width || !box.height) continue;
  const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  if (top && (element.contains(top) || (top.contains(element) && top.textContent.trim() === wanted))) {
    element.setAttribute('data-press', '');
    return true;
  }
}
return false;
"""
_HAS_TEXT = "return arguments.length && [...arguments].every(t => document.body.innerText.includes(t))"
_DIALOG_TEXT = "const d = document.querySelector('[role=dialog]'); return d ? d.innerText : ''"
_PICTURES = """
const found = [...document.querySelectorAll('[role=dialog] img')];
if (!found.length || !found.every(i => i.complete)) return null;
return found.map(i => ({label: i.alt, width: i.naturalWidth, height: i.naturalHeight,
  shown: i.getBoundingClientRect().width > 0, inline: i.src.startsWith('data:image/')}));
"""


def see(browser: Browser, *texts: str) -> None:
    """Wait until the page shows all of them."""
    try:
        browser.wait(_HAS_TEXT, *texts, seconds=40)
    except RuntimeError as exc:
        shown = browser.run("return location.pathname + location.search + document.body.innerText")
        raise AssertionError(f"not seen: {texts}; the page shows:\n{shown[-3000:]}") from exc


@dataclass
class Operator:
    """``browser``: an open one. ``server``: the UI on the incident's instance."""

    browser: Browser
    server: Server
    incident: Incident
    take: Take = lambda name: None

    def work_through(self) -> None:
        """All of it, in order."""
        self.arrive()
        self.see_the_graph()
        self.see_the_partitions()
        self.look_at_a_failing_check()
        self.incident.repair()
        backfill = self.launch_a_backfill_of_the_failed()
        self.see_it_succeed(backfill)
        self.see_the_plots()

    def arrive(self) -> None:
        """The UI, with the navigation folded away; no invitation lies over it."""
        self._open("/asset-groups")
        self._press("Hide navigation")

    def see_the_graph(self) -> None:
        self._see(
            *(f"{name}_images" for name in ("raw", "matted", "upscaled")), "quality_reports", "dataset_report"
        )
        self.browser.wait("return document.querySelectorAll('svg path').length > 5")
        self.take("asset-graph")

    def see_the_partitions(self) -> None:
        self._open(f"/assets/quality_reports?view=partitions&partition={DATASET}-{SHARDS[0]}")
        self._see(f"Failed ({len(FAILED)})", f"Materialized ({len(SHARDS) - len(FAILED)})", "rejected_share")
        self.take("partitions")

    def look_at_a_failing_check(self) -> None:
        """From the list of checks to the partition, and from there to the pictures."""
        self._open("/assets/quality_reports?view=checks&checkDetail=psnr")
        self._see("psnr", "no_errors", "rows_conserved")
        self.browser.click("button[title=Partitions]")
        self._press(f"{DATASET}-{SHARDS[0]}")
        self._see("images failed", "failing_images", "psnr_y_min_db_worst")
        self.take("failing-check")
        self._press("[Show Markdown]")
        pictures = self.browser.wait(_PICTURES)
        labels = [picture["label"] for picture in pictures]
        assert labels == ["source", "result", "difference"], labels
        for picture in pictures:
            assert picture["inline"], picture
            assert picture["shown"], picture
            assert min(picture["width"], picture["height"]) >= 32, picture
        assert "at least 35.0 needed" in self.browser.run(_DIALOG_TEXT)
        self.take("failing-pictures")
        self._press("Close", dialog=True)

    def see_the_plots(self) -> None:
        self._open("/assets/quality_reports?view=overview")
        self._press("Plots")
        self._see("psnr_y_mean", "rejected_share")
        self.browser.wait("return document.querySelectorAll('canvas').length > 3")
        self.browser.run(
            "[...document.querySelectorAll('div')].filter(e => e.textContent.trim() === 'psnr_y_mean')"
            ".pop().scrollIntoView({block: 'start', behavior: 'instant'})"
        )
        self.take("plots")

    def launch_a_backfill_of_the_failed(self) -> str:
        """Its id."""
        self._open("/asset-groups")
        self._press("Materialize all…")
        self._see("Partition selection", "Failed and missing")
        self._press("Failed", dialog=True)
        self.browser.wait(
            "const d = document.querySelector('[role=dialog]').innerText;"
            "return [...arguments].every(t => d.includes(t))",
            f"{len(FAILED)} partitions",
            *FAILED,
        )
        self.take("backfill-launch")
        assert self.backfills() == {}
        self._press("Launch backfill", dialog=True)
        end = time.monotonic() + 20
        while not (found := self.backfills()):
            assert time.monotonic() < end, "no backfill was launched"
            time.sleep(0.3)
        (backfill,) = found
        return backfill

    def see_it_succeed(self, backfill: str, seconds: float = 150) -> None:
        """Its runs, from the queue to their end: exactly the failed partitions, each of them good now."""
        end = time.monotonic() + seconds
        while True:
            runs = self._runs_of(backfill)
            states = [run["status"] for run in runs]
            covered = sorted({tag for run in runs for tag in run["partitions"]})
            if covered == sorted(FAILED) and all(state in FINISHED for state in states):
                break
            assert time.monotonic() < end, f"after {seconds:g} s: {runs}"
            time.sleep(0.5)
        assert set(states) == {"SUCCESS"}, [{**run, "error": self._error_of(run["run"])} for run in runs]
        self._open(f"/runs/b/{backfill}")
        self._see(backfill)
        self._open("/assets/quality_reports?view=partitions")
        self._see("Failed (0)", f"Materialized ({len(SHARDS)})")

    def see_the_backfill_completed(self, backfill: str, seconds: float = 150) -> None:
        """Its own page; the daemon notes every half minute how far it has come."""
        end = time.monotonic() + seconds
        while self.backfills()[backfill] != "COMPLETED_SUCCESS":
            assert time.monotonic() < end, self.backfills()
            time.sleep(1)
        self._open(f"/runs/b/{backfill}")
        self._see(backfill, "Succeeded")
        self.take("backfill-done")

    def backfills(self) -> dict[str, str]:
        """Status by id."""
        answer = self.server.ask(
            "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
        )
        return {one["id"]: one["status"] for one in answer["partitionBackfillsOrError"]["results"]}

    def _open(self, path: str) -> None:
        self.browser.open(self.server.url + path)

    def _see(self, *texts: str) -> None:
        see(self.browser, *texts)

    def _press(self, text: str, *, dialog: bool = False) -> None:
        self.browser.wait(_MARK, text, dialog, seconds=40)
        self.browser.click("[data-press]")

    def _runs_of(self, backfill: str) -> list[dict[str, Any]]:
        answer = self.server.ask(
            """query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs {
            results { runId status tags { key value } } } } }""",
            filter={"tags": [{"key": "dagster/backfill", "value": backfill}]},
        )
        return [
            {
                "run": run["runId"],
                "status": run["status"],
                "partitions": [tag["value"] for tag in run["tags"] if tag["key"] == "dagster/partition"],
            }
            for run in answer["runsOrError"]["results"]
        ]

    def _error_of(self, run_id: str) -> list[str]:
        """What its failed steps said."""
        answer = self.server.ask(
            """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
            ... on ExecutionStepFailureEvent { error { message causes { message } } } } } } }""",
            id=run_id,
        )
        errors = [event["error"] for event in answer["logsForRun"]["events"] if event.get("error")]
        return [text["message"] for error in errors for text in (error, *error["causes"])]
