"""A RunPod worker: ``python -m imgpipe.worker``, or :func:`handler` from Python.

One job is one picture. Models stay loaded between jobs. With ``IMGPIPE_OUTPUT`` set, jobs and their files
are kept there as `imgpipe serve` keeps them, and answers hold ``output_url``; else everything stays in memory
and answers hold ``image_base64``.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import signal
from collections.abc import Mapping
from typing import Any

from imgpipe.config import Settings, load_settings
from imgpipe.engines.shard import RowListener, ignore_row
from imgpipe.errors import DeviceFault, ImgpipeError
from imgpipe.jobs.book import JobBook, open_book
from imgpipe.jobs.job import answer
from imgpipe.jobs.request import NAME, read_order, said
from imgpipe.records import ImageRow
from imgpipe.single import process
from imgpipe.stages.catalogue import QUALITY

#: As of the command line.
_EXIT_INFRASTRUCTURE = 3
#: Of the device, after which this process can do no job.
_faults: list[DeviceFault] = []


def handler(job: Mapping[str, Any], on_row: RowListener = ignore_row) -> dict[str, Any]:
    """Process ``job["input"]``: ``{image_base64 | image_url, actions, config}``.

    Returns ``{image_base64 | output_url, actions_applied, quality, timings}`` or, in RunPod's form,
    ``{"error": ...}``. A picture that the checks reject is returned, with its verdict in ``quality``.
    """
    try:
        base = _settings()
        order = read_order(job.get("input"), base)
        if not base.output:
            done = process(order.data, NAME, order.settings, on_row=on_row)
            answered = answer(order.settings.actions, done.rows, done.output, base)
            if done.data is not None:
                answered["image_base64"] = base64.b64encode(done.data).decode()
            return answered
        accepted = _stored().add(order)
        _stored().run(accepted, on_row)
        answered = _stored().answer(accepted)
        if "error" not in answered:
            answered["output_url"] = _stored().picture(accepted).address
        return answered
    except ImgpipeError as exc:
        if isinstance(exc, DeviceFault):
            _faults.append(exc)
        return {"error": said(exc, _settings())}


def main() -> None:
    """Take jobs from RunPod, or serve the SDK's local test server (``--rp_serve_api``).

    Ends with exit status 3 where the device fails, once the jobs in flight have their answers.
    """
    try:
        import runpod
    except ModuleNotFoundError as exc:
        raise SystemExit(f"{exc}; install imgpipe[worker]") from exc

    reports = "RUNPOD_WEBHOOK_POST_OUTPUT" in os.environ

    async def process(job: dict[str, Any]) -> dict[str, Any]:
        """In a thread: others are received and answered meanwhile."""

        def report(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            runpod.serverless.progress_update(job, f"{asset}: {row.status.value}")
            if asset == QUALITY and _settings().review.enabled:
                runpod.serverless.progress_update(job, "review")

        answered = await asyncio.to_thread(handler, job, report if reports else ignore_row)
        if _faults:
            os.kill(os.getpid(), signal.SIGTERM)  # the SDK then takes no more, and answers what it has
        return answered

    at_once = max(1, _settings().jobs.at_once)
    runpod.serverless.start({"handler": process, "concurrency_modifier": lambda current: at_once})
    if _faults:
        raise SystemExit(_EXIT_INFRASTRUCTURE) from _faults[0]


@functools.cache
def _settings() -> Settings:
    return load_settings()


@functools.cache
def _stored() -> JobBook:
    return open_book(_settings())


if __name__ == "__main__":
    main()
