"""Writes requirements.lock and requirements-dev.lock: every version with the sha256 of its file.

    python scripts/write_lock.py [--constraint FILE]

Run it by the Python that the locks are for, on its platform: pip chooses one file per package there. ``FILE``
holds versions to keep (``name==version`` lines); without it everything becomes the newest that fits.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What builds the project, so that its installation downloads nothing that is not in the lock.
BUILD = ("hatchling", "editables")
HOW = "# By `make`, or: pip install --no-deps --require-hashes -r {}; then the project with --no-deps."


def resolved(requirements: list[str], constraint: str | None) -> dict[str, str]:
    """Canonical name -> the lock's entry, for all that pip would install into an empty environment."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += [
            "--only-binary",
            ":all:",
            "--no-binary",
            "imgpipe",
            "--report",
            report.name,
            *requirements,
        ]
        command += ["--constraint", constraint] if constraint else []
        subprocess.run(command, check=True, cwd=ROOT)
        items = json.loads(Path(report.name).read_text())["install"]
    entries = {}
    for item in items:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        if name != "imgpipe":
            digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
            entries[name.lower().replace("_", "-")] = f"{name}=={version} --hash=sha256:{digest}"
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--constraint", help="file of versions to keep")
    constraint = parser.parse_args().constraint
    runtime = resolved([".[cpu]", *BUILD], constraint)
    everything = resolved([".[cpu,dev]", *BUILD], constraint)
    where = f"Linux {platform.machine()}, Python {'.'.join(platform.python_version_tuple()[:2])}"
    for name, entries, what in (
        ("requirements.lock", runtime, "What imgpipe[cpu] runs on and is built with"),
        ("requirements-dev.lock", everything, "What imgpipe[cpu,dev] needs beyond requirements.lock"),
    ):
        lines = [f"# {what}: {where}.", HOW.format(name), "# Written by scripts/write_lock.py."]
        lines += [
            entries[key] for key in sorted(entries) if name == "requirements.lock" or key not in runtime
        ]
        (ROOT / name).write_text("\n".join(lines) + "\n")
    if changed := {key for key in runtime if everything.get(key) != runtime[key]}:
        raise SystemExit(f"other versions with dev than without: {', '.join(sorted(changed))}; run it again")


if __name__ == "__main__":
    main()
