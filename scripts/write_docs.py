"""Writes what is generated from the settings and from the metric table: docs/ and quality.schema.json.

python scripts/write_docs.py           write
python scripts/write_docs.py --check   exit 1 where a file is not up to date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imgpipe.config import Settings
from imgpipe.metrics import LIMITS, METRICS, PROFILES, Metric
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
        "defaults below. Unknown keys are refused with a suggestion. Relative paths are taken from the",
        "working directory, or from `IMGPIPE_FOLDER` (`imgpipe ui` sets it: Dagster runs elsewhere).",
        "`IMGPIPE_LOG_LEVEL=INFO` makes the commands log a line for each scored image.",
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
    lines += [f"| `{one.name}` | {one.lowest:g}..{one.highest:g} |" for one in LIMITS.values()]
    return "\n".join(lines) + "\n"


def quality(text: str) -> str:
    """docs/quality.md with its tables of metrics and thresholds, which end at an empty line."""
    metrics = [
        "| name | what it is | unit | range | better | sees | cannot see |",
        "|---|---|---|---|---|---|---|",
        *(_metric_line(metric) for metric in METRICS.values()),
    ]
    limits = [
        f"| threshold | {' | '.join(PROFILES)} | severity | limits |",
        f"|---|{'---|' * len(PROFILES)}---|---|",
    ]
    for limit in LIMITS.values():
        values = " | ".join(f"{limit.default(profile):g}" for profile in PROFILES)
        sign = "≥" if limit.direction == "min" else "≤"
        limits.append(f"| `{limit.name}` | {values} | {limit.severity} | `{limit.metric}` {sign} |")
    for table in (metrics, limits):
        before, head, rest = text.partition(table[0])
        if not head:
            raise SystemExit(f"docs/quality.md: expected a table that begins with {table[0]!r}")
        text = before + "\n".join(table) + "\n\n" + rest.partition("\n\n")[2]
    return text


def _metric_line(metric: Metric) -> str:
    high = "∞" if metric.high is None else f"{metric.high:g}"
    good = {"target": "near 1", "none": "–"}.get(metric.better, metric.better)
    cells = (f"`{metric.name}`", metric.meaning, metric.unit or "–", f"{metric.low:g} .. {high}", good)
    return f"| {' | '.join((*cells, metric.sees, metric.blind_to))} |"


def quality_schema(text: str) -> str:
    """quality.schema.json with the metrics and thresholds of the table."""
    value = json.loads(text)
    fields = value["properties"]
    matte = {name: f"#/properties/scores/properties/{name}" for name in METRICS if name.startswith("matte_")}
    generated = {
        "scores": {name: _score_schema(metric) for name, metric in METRICS.items()},
        "thresholds": {name: {"$ref": "#/$defs/threshold"} for name in LIMITS},
        "matte": fields["matte"]["properties"]
        | {name.removeprefix("matte_"): {"$ref": place} for name, place in matte.items()},
    }
    for name, properties in generated.items():
        fields[name] |= {"required": list(properties), "properties": properties}
    fields["checks"]["items"]["properties"]["name"]["enum"] = list(LIMITS)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _score_schema(metric: Metric) -> dict[str, object]:
    count = metric.digits == 0
    good = {"higher": "higher is better", "lower": "lower is better", "target": "1 is best"}
    unit = metric.unit or ("number" if count else "no unit")
    found: dict[str, object] = {
        "description": f"{metric.meaning}; {unit}; {good.get(metric.better, 'no direction')}; "
        "null where it could not be measured.",
        "type": ["integer" if count else "number", "null"],
        "minimum": metric.low,
    }
    return found if metric.high is None else {**found, "maximum": metric.high}


def main() -> int:
    page, schema = ROOT / "docs" / "quality.md", ROOT / "imgpipe" / "quality" / "quality.schema.json"
    wanted = {
        ROOT / "docs" / "configuration.md": configuration(),
        page: quality(page.read_text()),
        schema: quality_schema(schema.read_text()),
    }
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
