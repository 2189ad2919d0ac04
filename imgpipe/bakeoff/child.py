"""One candidate's work in a process of its own: ``python -m imgpipe.bakeoff.child``.

So its peak memory is its own, its load time is that of a fresh process, and a crash costs one picture. The
job comes as JSON on standard input; answers are lines of JSON on standard output, one for the model and one
for each picture.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from imgpipe.config import Settings
from imgpipe.errors import ImgpipeError
from imgpipe.host import forget_peak_memory, peak_memory_bytes
from imgpipe.records import ImageRow, Status
from imgpipe.single import Processed, process
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY, RAW
from imgpipe.stages.chain import steps
from imgpipe.stages.loaded import Loaded
from imgpipe.stages.protocol import LoadableStage


def main() -> None:
    """Work on the job that standard input holds."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What libraries print must not come between the answers.
    job = json.load(sys.stdin)
    settings = Settings.model_validate(job["settings"])
    try:
        _say(answers, {"load_seconds": _load(settings)})
    except ImgpipeError as exc:
        _say(answers, {"failed": f"{type(exc).__name__}: {exc}"})
        return
    for picture in job["pictures"]:
        _say(answers, _answer(picture, settings))


def _say(answers: IO[str], answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _load(settings: Settings) -> float:
    """Load the model, seconds; pictures then find it loaded."""
    stage = build_stage(steps(settings)[1], settings)
    loading = Loaded(stage.load) if isinstance(stage, LoadableStage) else None
    if loading is not None:
        loading.get()
    return loading.seconds if loading is not None else 0.0


def _answer(picture: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """Facts of one picture; its result lies in the file that the job names, where there is one."""
    peaks: dict[str, int] = {}

    def listen(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
        if asset == RAW:
            forget_peak_memory()
        elif asset != QUALITY:
            peaks[asset] = peak_memory_bytes()

    try:
        done = process(Path(picture["file"]).read_bytes(), picture["name"], settings, on_row=listen)
    except ImgpipeError as exc:
        return {"status": Status.ERROR.value, "why": f"{type(exc).__name__}: {exc}"}
    return {**_facts(done, Path(picture["result"])), "peak_bytes": next(iter(peaks.values()), None)}


def _facts(done: Processed, result: Path) -> dict[str, Any]:
    last = done.last
    made = next((row for asset, row in done.rows.items() if asset not in (RAW, QUALITY)), None)
    facts: dict[str, Any] = {"status": last.status.value, "why": last.why, "notes": list(done.notes)}
    if made is None:
        return facts
    facts |= {"seconds": dict(made.seconds), "width": made.width, "height": made.height}
    facts["model"] = None if made.model is None else made.model.as_dict()
    facts["metrics"] = dict(last.metrics) if QUALITY in done.rows else {}
    if made.output_key:
        result.write_bytes(done.output.read(made.output_key))
    return facts


if __name__ == "__main__":
    main()
