"""A process of its own that is connected to a Ray cluster and computes the chunks that it is sent.

Ray ends its process where the head stays away, takes over its signals, and cannot let go of work under way;
all of that is then no matter of the process that runs the pipeline. This one ends with it, as soon as its
requests end, and with it ends what it started: a cluster of this machine, the workers of any other.

Standard input: the pickled settings, then :class:`Job` after :class:`Job`, and :class:`WarmUp` between them.
Standard output: pickled answers; text for the log; ``None`` at the end of a job; an error, which ends the
process.
"""

from __future__ import annotations

import logging
import os
import pickle  # From and to the process that started this one, and its workers.
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from imgpipe.config import Settings
from imgpipe.engines.parcels import Order
from imgpipe.engines.placement import Share, share_of
from imgpipe.engines.ray_worker import Worker
from imgpipe.engines.rounds import Answer
from imgpipe.errors import ClusterUnavailable
from imgpipe.host import usable_cores
from imgpipe.settings import RaySettings
from imgpipe.settings.ray import LOCAL
from imgpipe.stages.chain import Step, steps

#: Chunks that a worker has: one that it computes and one that waits.
_IN_FLIGHT = 2
_OBJECT_STORE_BYTES = 2**27
_ANSWER_SECONDS = 20.0
_END_SECONDS = 5.0
#: How long it waits before it asks again, where every worker was lost as it began: Ray gives a lost node
#: workers until it has noticed, half a minute later at most. Seconds.
_BEGIN_AGAIN_SECONDS = (1, 2, 4, 8, 16, 32)

#: Workers for the next step that takes the same share, of a cluster of this process's own; on any other
#: cluster other runs are to have their turn between two steps.
_kept: dict[Share, list[Any]] = {}


@dataclass(frozen=True, slots=True)
class Job:
    """Packed chunks of one step over one shard."""

    order: Order
    parcels: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Workers for the steps that come, so many at most, which load the models of all of them meanwhile."""

    settings: Settings
    workers: int


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
            with suppress(Exception):  # Ray may be anywhere.
                _end_cluster()
            os._exit(0)  # Whatever Ray is at: nobody waits for it.


def _end_cluster() -> None:
    """Ask a node that was started here to end: killed with this process, its agents would try for a minute to
    tell the head of it."""
    from ray._private.worker import _global_node

    for raylet in cast(Any, _global_node).all_processes["raylet"]:
        raylet.process.terminate()
        raylet.process.wait(_END_SECONDS)


def _connect(settings: RaySettings) -> None:
    import ray

    if settings.cluster != LOCAL:  # Ray itself would try for minutes.
        host, _, port = settings.cluster.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    where: dict[str, Any] = {"address": settings.cluster, "runtime_env": _runtime_env(settings)}
    if settings.cluster == LOCAL:
        where |= {"num_cpus": usable_cores(), "object_store_memory": _OBJECT_STORE_BYTES}
        where |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        _start_no_more_than_needed()
    ray.init(**where, log_to_driver=False, configure_logging=False)


def _start_no_more_than_needed() -> None:
    """A cluster that is started here has no dashboard, autoscaler and collector of logs.

    Nobody asks them anything, and each is a process that imports Ray, the first one for seconds, which
    ``ray.init`` waits for. Ray has no switch for them; where it names them otherwise, it starts them.
    """
    from ray._private.node import Node

    for start in ("start_api_server", "start_monitor", "start_log_monitor"):
        if hasattr(Node, start):
            setattr(Node, start, lambda *_, **__: None)
    sys.modules["ray.dashboard.optional_deps"] = None  # type: ignore[assignment]  # Not even looked for.


def _runtime_env(settings: RaySettings) -> Mapping[str, Any]:
    if settings.runtime_env is not None:
        return dict(settings.runtime_env)
    if settings.cluster == LOCAL:
        return {}
    import imgpipe

    code = str(Path(imgpipe.__file__).parent)
    return {"py_modules": [code], "excludes": ["__pycache__", "*.nbi", "*.nbc"]}


def _computed(asked: Job | WarmUp) -> Iterator[object]:
    """What is to be said of a job, as it comes; nothing of a warm-up."""
    import ray

    nodes = [node["Resources"] for node in cast(Any, ray).nodes() if node["Alive"]]
    if isinstance(asked, WarmUp):
        _warm_up(asked, nodes)
        return
    share = _share(nodes, asked.order.settings, asked.order.step)
    yield f"up to {share.workers} workers with {share} each, on a cluster of {len(nodes)} nodes"
    yield from _Execution(asked, share).answers()
    yield None


def _share(nodes: Sequence[Mapping[str, float]], settings: Settings, step: Step) -> Share:
    network = step.action.runs_network(settings) and settings.device != "cpu"
    return share_of(nodes, settings.ray, network=network)


def _warm_up(asked: WarmUp, nodes: Sequence[Mapping[str, float]]) -> None:
    """Not where steps take different shares: workers of the one would keep out those of the other."""
    shares = {_share(nodes, asked.settings, step) for step in steps(asked.settings)}
    if len(shares) == 1:
        (share,) = shares
        kept = _kept.setdefault(share, [])
        for _ in range(min(share.workers, asked.workers) - len(kept)):
            kept.append(_actor(share).remote(share.cores))
            kept[-1].warm_up.remote(asked.settings)


def _actor(share: Share) -> Any:
    import ray

    return cast(Any, ray.remote(Worker)).options(
        num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_concurrency=_IN_FLIGHT
    )


class _Execution:
    """One job: the workers that begin, those that compute, and the chunks that are left.

    A worker is given chunks once it is there, and another one is asked for in place of one that was lost.
    """

    def __init__(self, job: Job, share: Share) -> None:
        self._job, self._share = job, share
        self._actor = _actor(share)
        self._left = list(reversed(job.parcels))
        self._idle = _kept.pop(share, [])
        _kept.clear()
        self._starting: dict[Any, Any] = {}
        self._computing: dict[Any, Any] = {}
        self._waits = iter(_BEGIN_AGAIN_SECONDS)

    def answers(self) -> Iterator[Answer]:
        """To the chunks; those of lost workers are left out. Raises Ray's error where no worker can begin."""
        import ray
        from ray.exceptions import RayActorError

        self._ask(self._share.workers)
        while self._left or self._computing:
            (call,), _ = ray.wait([*self._starting, *self._computing], num_returns=1)
            begins = call in self._starting
            worker = (self._starting if begins else self._computing).pop(call)
            try:
                answer = ray.get(call)
            except RayActorError as exc:
                if not begins and worker not in self._computing.values():
                    self._ask(1)
                if begins and not self._starting and not self._computing:
                    self._begin_again(exc)
                continue
            self._waits = iter(_BEGIN_AGAIN_SECONDS)
            self._give(worker, _IN_FLIGHT if begins else 1)
            if not begins:
                yield answer
        if self._job.order.settings.ray.cluster == LOCAL:
            _kept[self._share] = [*self._idle, *self._starting.values()]
        else:
            for worker in self._starting.values():
                ray.kill(worker)  # The others end as soon as nobody knows them.

    def _ask(self, workers: int) -> None:
        for _ in range(min(workers, len(self._left))):
            worker = self._idle.pop() if self._idle else self._actor.remote(self._share.cores)
            self._starting[worker.ready.remote()] = worker

    def _begin_again(self, exc: Any) -> None:
        """After the last worker that began was lost: raises the reason, where that is no accident."""
        seconds = next(self._waits, None)
        if exc.actor_init_failed or seconds is None:
            raise exc
        time.sleep(seconds)
        self._ask(self._share.workers)

    def _give(self, worker: Any, chunks: int) -> None:
        for _ in range(min(len(self._left), chunks)):
            self._computing[worker.compute.remote(self._job.order, self._left.pop())] = worker
        if worker not in self._computing.values():
            self._idle.append(worker)


def _in_words(exc: BaseException) -> str:
    """Its class and what it says, without Ray's tracebacks, and what to look at."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    nested = "Traceback" in str(exc) or getattr(exc, "actor_init_failed", False)
    said = lines[-1 if nested else 0] if lines else ""
    return (
        f"{type(exc).__name__}: {said[:300]}; check ray.address (or RAY_ADDRESS), that the head runs, and "
        "that nodes and this machine have the same Python, Ray, packages (imgpipe too, where "
        "ray.runtime_env is set) and, where the cluster asks for one (RAY_AUTH_MODE=token), token"
    )
