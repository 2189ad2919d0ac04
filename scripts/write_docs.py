"""Writes what is generated from the settings and from the metric table: docs/ and quality.schema.json.

python scripts/write_docs.py           write
python scripts/write_docs.py --check   exit 1 where a file is not up to date
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from imgpipe.config import Settings
from imgpipe.metrics import LIMITS, METRICS, PROFILES, Metric

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


def describe_fields(settings: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """(dotted key, what is valid, default, description) of every setting, in order."""
    schema = settings.model_json_schema()
    yield from _describe(schema, schema.get("$defs", {}), "")


def _describe(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in schema["properties"].items():
        section = definitions.get(str(field.get("$ref", "")).rpartition("/")[2])
        if section is not None:
            yield from _describe(section, definitions, f"{prefix}{name}.")
            continue
        default = field.get("default")
        shown = json.dumps(default) if isinstance(default, list | dict | bool) else str(default)
        yield f"{prefix}{name}", _valid(field), "" if default is None else shown, field["description"]


def _valid(field: Mapping[str, Any]) -> str:
    """The allowed values of a JSON Schema that pydantic makes, in words."""
    if "anyOf" in field:
        return " or ".join(_valid(part) for part in field["anyOf"])
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type", "")
    if "prefixItems" in field:
        return "[" + ", ".join(_valid(part) for part in field["prefixItems"]) + "]"
    if kind == "array":
        return f"list of {_valid(field['items'])}"
    if kind == "object":
        values = field["additionalProperties"]
        return "mapping" if values is True else f"name: {_valid(values)}"
    low, high = field.get("minimum"), field.get("maximum")
    above = field.get("exclusiveMinimum")
    names = {"number": "number", "integer": "integer", "string": "text"}
    words = names.get(kind, "`true`, `false`" if kind == "boolean" else kind)
    start = f"above {above:g}" if above is not None else "" if low is None else f"at least {low}"
    end = "" if high is None else f"{high:g}" if isinstance(high, float) else f"{high}"
    if end and above is None and low is not None:
        words += f" {low}..{end}"
    elif start or end:
        words += f" {start}{' ' if start and end else ''}{'up to ' if end else ''}{end}"
    return words


def quality(text: str) -> str:
    """docs/quality.md with its tables of metrics and thresholds, which end at an empty line."""
    metrics = [
        "| name | what it is | unit | range | better | sees | cannot see |",
        "|---|---|---|---|---|---|---|",
        *(_metric_line(metric) for metric in METRICS.values()),
    ]
    limits = [
        f"| threshold | {' | '.join(PROFILES)} | beside Lanczos | severity | limits |",
        f"|---|{'---|' * len(PROFILES)}---|---|---|",
    ]
    for limit in LIMITS.values():
        values = " | ".join(f"{limit.default(profile):g}" for profile in PROFILES)
        sign = "≥" if limit.direction == "min" else "≤"
        margin = f"{'-' if limit.direction == 'min' else '+'}{limit.margin:g}" if limit.margin else "–"
        cells = (f"`{limit.name}`", values, margin, limit.severity, f"`{limit.metric}` {sign}")
        limits.append(f"| {' | '.join(cells)} |")
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
