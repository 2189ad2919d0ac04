"""Runs every candidate over the sample, one after the other, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgpipe.bakeoff.candidates import Candidate
from imgpipe.records import Status
from imgpipe.settings import S3Settings

_COMMAND = (
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.path[:] = sys.argv[1:]; from imgpipe.bakeoff.child import main; main()",
)


@dataclass
class Run:
    """What a candidate did. ``answers``: one for each picture, in their order: see :mod:`.child`.

    ``failed``: why its model could not be used; then it is the reason of every picture.
    """

    candidate: Candidate
    load_seconds: float | None = None
    failed: str = ""
    answers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Input:
    """A picture of the sample: its key, and the file that holds its bytes."""

    name: str
    file: Path


def run_candidate(
    candidate: Candidate,
    pictures: Sequence[Input],
    folder: Path,
    on_answer: Callable[[dict[str, Any]], None] = lambda answer: None,
    command: Sequence[str] = (*_COMMAND, *sys.path),
) -> Run:
    """Work on all pictures; result files go to ``folder``, named in the answers.

    A picture during which the process ends is an error; a new process goes on with the next. One that ends
    before its model is loaded has failed as a candidate.
    """
    run = Run(candidate)
    while len(run.answers) < len(pictures) and not run.failed:
        first = len(run.answers)
        ended = _work(run, pictures[first:], folder, first, on_answer, command)
        if len(run.answers) < len(pictures) and not run.failed:
            lost = {"status": Status.ERROR.value, "why": f"its process {ended}"}
            if run.load_seconds is None:
                run.failed = lost["why"]
            else:
                run.answers.append(lost)
                on_answer(lost)
    while len(run.answers) < len(pictures):
        run.answers.append({"status": Status.ERROR.value, "why": run.failed})
        on_answer(run.answers[-1])
    return run


def _work(
    run: Run,
    pictures: Sequence[Input],
    folder: Path,
    first: int,
    on_answer: Callable[[dict[str, Any]], None],
    command: Sequence[str],
) -> str:
    """Take the answers of one process; how it ended, in words."""
    # The sample is on this machine's disk: the child needs no store and gets no credentials from settings.
    settings = run.candidate.settings.model_copy(update={"s3": S3Settings(), "source": "", "output": ""})
    results = [folder / f"{first + place}.png" for place in range(len(pictures))]
    job = {
        "settings": settings.model_dump(mode="json"),
        "pictures": [
            {"name": picture.name, "file": str(picture.file), "result": str(result)}
            for picture, result in zip(pictures, results, strict=True)
        ],
    }
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for answer in _answers(child, json.dumps(job)):
            if "failed" in answer:
                run.failed = answer["failed"]
            elif "load_seconds" in answer:
                run.load_seconds = run.load_seconds or answer["load_seconds"]
            else:
                result = results[len(run.answers) - first]
                run.answers.append({**answer, "result": result if result.exists() else None})
                on_answer(run.answers[-1])
        code = child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if code >= 0:
        return f"ended with code {code}; its messages are above"
    hint = "; it may have needed more memory than there is" if code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{hint}"


def _answers(child: subprocess.Popen[str], job: str) -> Iterator[dict[str, Any]]:
    """The lines that the process writes; a last one that is cut is left out."""
    given, lines = child.stdin, child.stdout
    if given is None or lines is None:
        raise ValueError("expected a process with pipes for its standard input and output")
    with given, lines:
        with contextlib.suppress(BrokenPipeError):  # It has ended; how shows at the end of its output.
            given.write(job)
            given.close()
        yield from (json.loads(line) for line in lines if line.endswith("\n"))
