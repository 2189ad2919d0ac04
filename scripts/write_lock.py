"""Writes the locks: every version with the sha256 of its file.

    python scripts/write_lock.py [--constraint FILE]

Run it by the Python that the locks are for, on its platform: pip chooses one file per package there. ``FILE``
holds versions to keep (``name==version`` lines; the locks themselves without their hashes keep all); without
it everything becomes the newest that fits.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What builds the project, so that its installation downloads nothing that is not in the lock.
BUILD = ("hatchling", "editables")
HOW = "# Written by scripts/write_lock.py. Installed by {}, with --no-deps --require-hashes."


@dataclass(frozen=True, slots=True)
class Lock:
    """What the extras need beyond the locks of :data:`BELOW`; of those, beyond the ones before."""

    file: str
    extras: str
    installed_by: str


#: Installed under all others: what runs without torch, then torch.
BELOW = (
    Lock("requirements.lock", "", "`make` and the Dockerfile"),
    Lock("requirements-networks.lock", "networks", "`make test` and the Dockerfile"),
)
LOCKS = (
    *BELOW,
    Lock("requirements-dev.lock", "networks,dev", "`make test`"),
    Lock("deploy/locks/gpu.lock", "networks,gpu", "the Dockerfile"),
    Lock("deploy/locks/dagster.lock", "networks,kubernetes,postgres,review", "the Dockerfile"),
    Lock("deploy/locks/runpod.lock", "networks,review,worker", "the Dockerfile"),
    Lock("deploy/locks/serve.lock", "networks,review,serve", "the Dockerfile"),
)


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
    extras = sorted({extra for lock in LOCKS for extra in lock.extras.split(",") if extra})
    everything = resolved([f".[{','.join(extras)}]", *BUILD], parser.parse_args().constraint)
    where = f"Linux {platform.machine()}, Python {'.'.join(platform.python_version_tuple()[:2])}"
    installed: dict[str, str] = {}
    files: list[str] = []
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as versions:
        # One version of everything, so that any locks can be installed together.
        versions.writelines(f"{entry.split()[0]}\n" for entry in everything.values())
        versions.flush()
        for lock in LOCKS:
            extra = f"[{lock.extras}]" if lock.extras else ""
            entries = resolved([f".{extra}", *BUILD], versions.name)
            beyond = f"needs beyond {' and '.join(files)}" if files else "runs on and is built with"
            lines = [f"# What imgpipe{extra} {beyond}: {where}.", HOW.format(lock.installed_by)]
            lines += [entries[key] for key in sorted(entries) if key not in installed]
            (ROOT / lock.file).write_text("\n".join(lines) + "\n")
            if lock in BELOW:
                installed |= entries
                files.append(lock.file)


if __name__ == "__main__":
    main()
