"""Two data sets in one UI, in Chromium: both are seen, and each report opens by a click."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dagster import Definitions

import imgpipe
from imgpipe.config import Settings, load_settings
from imgpipe.launch import open_instance
from imgpipe.partitions import add_partitions
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import open_stores
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.end_to_end.operator_steps import see
from imgpipe_tests.end_to_end.webserver import free_port, running
from imgpipe_tests.report.browser import Browser, missing_parts, open_browser

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(290),
    pytest.mark.skipif(bool(missing_parts()), reason=f"not installed: {', '.join(missing_parts())}"),
]

NAMES = ("art", "comics")
PROJECT = """
from dagster import Definitions
import imgpipe
from imgpipe.config import load_settings
from pathlib import Path

defs = Definitions.merge(
    *(imgpipe.dataset_definitions(load_settings(config=path), key_prefix=path.stem)
      for path in sorted(Path(__file__).parent.glob("*.yaml")))
)
"""


def prepare(folder: Path) -> Path:
    """Sources, a settings file each, and a project of both; made by its own jobs. Every enlargement of
    ``comics`` misses a threshold, and its key has signs that addresses and shells treat apart."""
    found: dict[str, Settings] = {}
    for name in NAMES:
        write_drawing(folder / name / "in", f"{name}'s 100% #1.png", seed=1)
        text = f"""
source: {folder / name / "in"}
output: {folder / name / "out"}
dataset: {name}
actions: [upscale]
upscale: {{model: lanczos, scale: 2}}
quality: {{thresholds: {{psnr_y_min_db: {99 if name == "comics" else 10}}}}}
"""
        path = folder / "project" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        found[name] = load_settings(config=path)
    definitions = Definitions.merge(
        *(imgpipe.dataset_definitions(settings, key_prefix=name) for name, settings in found.items())
    )
    with open_instance() as instance:
        for name, settings in found.items():
            stores = open_stores(settings)
            seal(plan(stores.source, stores.output, dataset=name, shard_size=1), stores.output)
            add_partitions(settings, instance, ["00000"])
            for job, partition in (("shard_job", f"{name}-00000"), ("report_job", None)):
                made = definitions.resolve_job_def(f"{name}_{job}")
                assert made.execute_in_process(instance=instance, partition_key=partition).success
    project = folder / "project" / "definitions.py"
    project.write_text(PROJECT)
    return project


def test_the_reports_of_two_data_sets_open_by_a_click(
    tmp_path: Path, instance_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(instance_home))
    project, port = prepare(tmp_path), free_port()
    command = [sys.executable, "-m", "imgpipe.webserver", "dev", "-f", str(project)]
    with (
        running([*command, "-h", "127.0.0.1", "-p", str(port)], port, instance_home, tmp_path) as server,
        open_browser(tmp_path, (1440, 900)) as browser,
    ):
        browser.open(f"{server.url}/asset-groups")
        see(browser, *(f"{name}_images" for name in NAMES))
        browser.screenshot(tmp_path / "two-data-sets.png")
        for name in NAMES:
            browser.open(f"{server.url}/assets/{name}/dataset_report")
            link = f"a[href='/imgpipe/{name}/dataset_report/reports/{name}/index.html']"
            browser.wait("return document.querySelector(arguments[0])", link, seconds=40)
            browser.follow(link)
            browser.wait("return document.documentElement.dataset.ready")
            browser.screenshot(tmp_path / f"report-{name}.png")
            use_the_report(browser, name, failed=name == "comics")


def use_the_report(browser: Browser, name: str, *, failed: bool) -> None:
    """Its pictures, filters, command and links work in the sandbox in which the webserver gives it out."""
    assert browser.text("h1") == name
    assert (browser.text("[role=tab][aria-selected=true]") == "Rejected1") == failed
    browser.wait("return document.querySelector('.card img').naturalWidth > 0")
    assert browser.run("return window.origin") == "null"
    browser.click("[data-pill=rejected]")
    assert browser.text("#table-status") == f"{int(failed)} of 1 image"
    assert browser.run("return location.hash") == "#state=rejected"
    browser.run("history.back()")
    browser.wait("return document.getElementById('table-status').textContent === '1 of 1 image'")
    browser.run("document.querySelector('#table tbody tr').click()")
    browser.click("#detail .copy")
    assert browser.text("#detail .copy") == "Copied"
    assert [line for line in browser.console() if "/imgpipe/" in line] == []  # Dagster has words of its own.
    browser.follow("#detail .facts a[href$='.png']")
    browser.wait("return document.images.length && document.images[0].naturalWidth === 256", seconds=20)
