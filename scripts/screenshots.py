"""Makes the pictures of docs/operating.md from the real UI: an operator's morning, step by step.

    python scripts/screenshots.py --folder /srv/gallery

Runs a small data set of sample drawings below ``--folder`` (new, removed afterwards; its name is seen in the
pictures), opens the UI on it and drives it with Chromium through the steps that
``imgpipe_tests/end_to_end/test_operator.py`` checks. Takes two minutes; needs chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import PIL.Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from imgpipe_tests.end_to_end.incident import prepare
from imgpipe_tests.end_to_end.operator_steps import Operator
from imgpipe_tests.end_to_end.webserver import free_port, running
from imgpipe_tests.report.browser import Browser, missing_parts, open_browser

ROOT = Path(__file__).resolve().parent.parent
LARGEST_BYTES = 150_000
#: Colours that are tried, until the file is small enough.
COLOURS = (256, 128, 64, 32)
WINDOW = (1440, 940)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the data set; must not exist yet")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if missing := missing_parts():
        raise SystemExit(f"not installed: {', '.join(missing)}")
    folder = options.folder.absolute()
    folder.mkdir(parents=True)
    try:
        make(folder, options.output)
    finally:
        shutil.rmtree(folder)
    return 0


def make(folder: Path, output: Path) -> None:
    """All pictures into ``output``."""
    home = folder / "dagster"
    os.environ |= {"DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
    os.chdir(folder)
    incident = prepare(folder)
    port = free_port()
    command = [sys.executable, "-m", "imgpipe", "ui", "--port", str(port)]
    with (
        tempfile.TemporaryDirectory() as profile,
        running(command, port, home, folder) as server,
        open_browser(Path(profile), WINDOW) as browser,
    ):
        operator = Operator(browser, server, incident, lambda name: keep(browser, output / f"{name}.png"))
        operator.work_through()
        operator.see_the_backfill_completed(next(iter(operator.backfills())))


def settle(browser: Browser, seconds: float = 2.0) -> None:
    """Until the page has not changed for so long: states arrive and plots are drawn bit by bit."""
    last, since = "", time.monotonic()
    while time.monotonic() - since < seconds:
        now = str(browser.run("return document.body.innerHTML"))
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.2)


def keep(browser: Browser, path: Path) -> None:
    """The window as a PNG with a palette, in as many colours as :data:`LARGEST_BYTES` allow."""
    settle(browser)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "window.png"
        browser.screenshot(raw)
        picture = PIL.Image.open(raw).convert("RGB")
    for colours in COLOURS:
        buffer = io.BytesIO()
        reduced = picture.quantize(colours, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
        reduced.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST_BYTES:
            break
    else:
        raise SystemExit(f"{path.name}: expected at most {LARGEST_BYTES:,} bytes, got {buffer.tell():,}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    print(f"{path}: {picture.width}x{picture.height}, {colours} colours, {buffer.tell():,} bytes")


if __name__ == "__main__":
    sys.exit(main())
