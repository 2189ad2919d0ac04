"""A process of its own that is connected to a Ray cluster and computes the chunks that it is sent.

Ray ends its process where the head stays away, takes over its signals, and cannot let go of work under way;
all of that is then no matter of the process that runs the pipeline. This one ends with it, as soon as its
requests end, and with it ends what it started: a cluster of this machine, the workers of any other.

Standard input: the pickled settings, then :class:`Job` after :class:`Job`. Standard output: pickled answers;
text for the log; ``None`` at the end of a job; an error, which ends the process.
"""

from __future__ import annotations

import logging
import os
import pickle  # From and to the process that started this one, and its workers.
import queue
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from imgpipe.engines.parcels import Order
from imgpipe.engines.placement import Share, share_of
from imgpipe.engines.ray_worker import Worker
from imgpipe.engines.rounds import Answer
from imgpipe.errors import ClusterUnavailable
from imgpipe.host import usable_cores
from imgpipe.settings import RaySettings
from imgpipe.settings.ray import LOCAL

#: Chunks that a worker has: one that it computes and one that waits.
_IN_FLIGHT = 2
_OBJECT_STORE_BYTES = 2**27
_ANSWER_SECONDS = 20.0


#: Workers for the next step that takes the same share, of a cluster of this process's own; on any other
#: cluster other runs are to have their turn between two steps.
_kept: dict[Share, list[Any]] = {}


@dataclass(frozen=True, slots=True)
class Job:
    """Packed chunks of one step over one shard."""

    order: Order
    parcels: tuple[bytes, ...]


def main() -> None:
    """Serve until the requests end."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Nobody else's text gets among the answers.
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("ray").setLevel(logging.ERROR)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    try:
        _connect(requests.get())
        while True:
            for said in _computed(requests.get()):
                pickle.dump(said, answers)
                answers.flush()
    except Exception as exc:  # Ray's errors and those of its parts share no other base class.
        error = exc if isinstance(exc, ClusterUnavailable) else ClusterUnavailable(_in_words(exc))
        pickle.dump(error, answers)
        answers.flush()


def _read(requests: BinaryIO, found: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            found.put(pickle.load(requests))  # noqa: S301
        except EOFError:
            os._exit(0)  # Whatever Ray is at: nobody waits for it.


def _connect(settings: RaySettings) -> None:
    import ray

    if settings.cluster != LOCAL:  # Ray itself would try for minutes.
        host, _, port = settings.cluster.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    where: dict[str, Any] = {"address": settings.cluster, "runtime_env": _runtime_env(settings)}
    if settings.cluster == LOCAL:
        where |= {"num_cpus": usable_cores(), "object_store_memory": _OBJECT_STORE_BYTES}
        where |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(**where, log_to_driver=False, configure_logging=False)


def _runtime_env(settings: RaySettings) -> Mapping[str, Any]:
    if settings.runtime_env is not None:
        return dict(settings.runtime_env)
    if settings.cluster == LOCAL:
        return {}
    import imgpipe

    code = str(Path(imgpipe.__file__).parent)
    return {"py_modules": [code], "excludes": ["__pycache__", "*.nbi", "*.nbc"]}


def _computed(job: Job) -> Iterator[object]:
    """What is to be said of a job, as it comes."""
    import ray

    settings = job.order.settings
    nodes = [node["Resources"] for node in cast(Any, ray).nodes() if node["Alive"]]
    network = job.order.step.action.runs_network(settings) and settings.device != "cpu"
    share = share_of(nodes, settings.ray, network=network)
    yield f"up to {share.workers} workers with {share} each, on a cluster of {len(nodes)} nodes"
    yield from _execute(job, share)
    yield None


def _execute(job: Job, share: Share) -> Iterator[Answer]:
    """Answers to the chunks; those of lost workers are left out.

    A worker is given chunks once it is there, and another one is asked for in place of one that was lost at
    work. Raises Ray's error where the last worker that was asked for could not begin.
    """
    import ray
    from ray.exceptions import RayActorError

    remote = cast(Any, ray.remote(Worker)).options(
        num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_concurrency=_IN_FLIGHT
    )
    idle = _kept.pop(share, [])
    _kept.clear()
    left = list(reversed(job.parcels))
    starting: dict[Any, Any] = {}
    computing: dict[Any, Any] = {}

    def ask_for_one() -> None:
        worker = idle.pop() if idle else remote.remote(share.cores)
        starting[worker.ready.remote()] = worker

    for _ in range(min(share.workers, len(left))):
        ask_for_one()
    while left or computing:
        (call,), _ = ray.wait([*starting, *computing], num_returns=1)
        begins = call in starting
        worker = (starting if begins else computing).pop(call)
        try:
            answer = ray.get(call)
        except RayActorError:
            if not begins and left and worker not in computing.values():
                ask_for_one()
            if begins and not starting and not computing:
                raise
            continue
        for _ in range(min(len(left), _IN_FLIGHT if begins else 1)):
            computing[worker.compute.remote(job.order, left.pop())] = worker
        if worker not in computing.values():
            idle.append(worker)
        if not begins:
            yield answer
    if job.order.settings.ray.cluster == LOCAL:
        _kept[share] = [*idle, *starting.values()]
    else:
        for worker in starting.values():
            ray.kill(worker)  # The others end as soon as nobody knows them.


def _in_words(exc: BaseException) -> str:
    """Its class and what it says, without Ray's tracebacks, and what to look at."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    said = lines[-1] if lines and "Traceback" in str(exc) else lines[0] if lines else ""
    return (
        f"{type(exc).__name__}: {said[:300]}; check ray.address (or RAY_ADDRESS), that the head runs, and "
        "that "
        "nodes and this machine have the same Python, Ray and, where the cluster asks for one, token"
    )
