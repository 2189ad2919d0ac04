"""What runs on the nodes: an actor that computes chunks as the local engine does."""

from __future__ import annotations

import os
import threading

from imgpipe.config import Settings
from imgpipe.engines.local import run_items
from imgpipe.engines.parcels import Bench, Order
from imgpipe.engines.rounds import Answer
from imgpipe.errors import ClusterUnavailable, ImgpipeError, StoreUnavailable
from imgpipe.host import take_share
from imgpipe.records import ImageRow
from imgpipe.stages.build import warm_up
from imgpipe.stages.protocol import LoadableStage
from imgpipe.stages.start import starting
from imgpipe.storage import keys
from imgpipe.storage.opening import open_stores


class Worker:
    """An actor: the warm stage of a step over a shard. ``cores``: what it may take of its node."""

    def __init__(self, cores: int) -> None:
        take_share(cores)
        self._opened: tuple[Order, Bench] | None = None
        self._opening = threading.Lock()

    def ready(self) -> None:
        """Answered once the worker is there."""

    def warm_up(self, settings: Settings) -> None:
        """Begin to load the models of all steps."""
        warm_up(settings)

    def compute(self, order: Order, data: bytes) -> Answer:
        """The rows of a packed chunk, and what stopped it.

        Two chunks may be computed at once: one ends while the next one begins.
        """
        rows: list[ImageRow] = []
        try:
            bench = self._bench_for(order)
            run_items(
                order.equip(bench.stage),
                order.asset,
                bench.unpack(data),
                bench.stores.output,
                workers=order.workers,
                isolation=order.settings.isolation,
                on_row=rows.append,
            )
        except ImgpipeError as exc:
            return Answer(tuple(rows), exc)
        except Exception as exc:  # A defect, or other code here: Ray would drop the reason.
            said = f"{order.asset}: a worker failed: {type(exc).__name__}: {exc}"
            return Answer(
                tuple(rows), ClusterUnavailable(f"{said}; let the nodes have the same version of imgpipe")
            )
        return Answer(tuple(rows))

    def _bench_for(self, order: Order) -> Bench:
        with self._opening:
            if self._opened is None or self._opened[0] != order:
                self._opened = None  # Its stage may need the room.
                self._opened = order, _bench(order)
            return self._opened[1]


def _bench(order: Order) -> Bench:
    stores = open_stores(order.settings)
    manifest = keys.manifest_key(order.settings.dataset, order.shard)
    if not stores.output.exists(manifest):
        raise StoreUnavailable(
            f"{stores.output.uri(manifest)}: not there on the node of this worker (process {os.getpid()}); "
            "on a cluster of several machines source and output are s3://…, or folders that all of them mount"
        )
    stage = order.stage()
    if isinstance(stage, LoadableStage):
        with starting():
            stage.load()
    return Bench(order.step, stage, stores)
