"""Writes the generated tables of docs/: settings from config.py, table columns from storage.

python scripts/write_docs.py           write
python scripts/write_docs.py --check   exit 1 where a file is not up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

from imgpipe.config import Settings
from imgpipe.settings import THRESHOLD_RANGES
from imgpipe.settings.describe import describe_fields

ROOT = Path(__file__).resolve().parent.parent


def configuration() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "Written by `scripts/write_docs.py` from `imgpipe/config.py`.",
        "",
        "Order of precedence: `--set KEY=VALUE` and arguments, `IMGPIPE_*` environment (two underscores",
        "join nested keys: `IMGPIPE_UPSCALE__SCALE=2`), `imgpipe.yaml` (or what `IMGPIPE_CONFIG` names), the",
        "defaults below. Unknown keys are refused with a suggestion.",
        "",
        "| key | default | valid | meaning |",
        "|---|---|---|---|",
    ]
    for key, valid, default, text in describe_fields(Settings):
        shown = default if default not in ("", "None") else " "
        lines.append(f"| `{key}` | {f'`{shown}`' if shown.strip() else ''} | {valid} | {text} |")
    lines += [
        "",
        "Names from other scripts are accepted too: [configuration-names.md](configuration-names.md).",
        "",
    ]
    lines += [
        "## Thresholds",
        "",
        "Keys of `quality.thresholds`; what they limit is in [quality.md](quality.md).",
    ]
    lines += ["", "| threshold | valid |", "|---|---|"]
    lines += [f"| `{name}` | {low:g}..{high:g} |" for name, (low, high) in THRESHOLD_RANGES.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    wanted = {ROOT / "docs" / "configuration.md": configuration()}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not up to date: run python scripts/write_docs.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
