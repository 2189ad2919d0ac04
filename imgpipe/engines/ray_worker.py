"""What runs on the nodes: an actor that computes chunks as the local engine does."""

from __future__ import annotations

import os
import pickle  # Between processes of one run.
from typing import Any

from imgpipe.engines.local import run_items
from imgpipe.engines.parcels import Bench, Order
from imgpipe.engines.rounds import Answer
from imgpipe.errors import ClusterUnavailable, ImgpipeError, StoreUnavailable
from imgpipe.host import take_share
from imgpipe.records import ImageRow
from imgpipe.stages.protocol import LoadableStage
from imgpipe.storage import keys
from imgpipe.storage.opening import open_stores

#: Of the data set's one column.
COLUMN = "chunk"


class Worker:
    """An actor: warm stages of one step over one shard. ``cores``: what it may take of its node."""

    def __init__(self, order: Order, cores: int) -> None:
        take_share(cores)
        self._order = order
        self._bench: Bench | None = None
        self._fault: ImgpipeError | None = None
        try:
            self._bench = self._opened()
        except (
            ImgpipeError
        ) as exc:  # It is the answer to the first chunk: an actor that fails here starts for ever.
            self._fault = exc

    def __call__(self, table: Any) -> Any:
        """A pyarrow table of chunks -> one of answers."""
        import pyarrow as pa

        answers = [pickle.dumps(self.compute(data.as_py())) for data in table.column(COLUMN)]
        return pa.table({COLUMN: pa.array(answers, pa.binary())})

    def compute(self, data: bytes) -> Answer:
        """The rows of a packed chunk, and what stopped it."""
        if self._bench is None:
            return Answer((), self._fault)
        rows: list[ImageRow] = []
        try:
            run_items(
                self._order.equip(self._bench.stage),
                self._order.asset,
                self._bench.unpack(data),
                self._bench.stores.output,
                workers=self._order.workers,
                isolation=self._order.settings.isolation,
                on_row=rows.append,
            )
        except ImgpipeError as exc:
            return Answer(tuple(rows), exc)
        except Exception as exc:  # A defect, or other code here: Ray would drop the chunk and the reason.
            said = f"{self._order.asset}: a worker failed: {type(exc).__name__}: {exc}"
            return Answer(
                tuple(rows), ClusterUnavailable(f"{said}; let the nodes have the same version of imgpipe")
            )
        return Answer(tuple(rows))

    def _opened(self) -> Bench:
        order = self._order
        stores = open_stores(order.settings)
        manifest = keys.manifest_key(order.settings.dataset, order.shard)
        if not stores.output.exists(manifest):
            raise StoreUnavailable(
                f"{stores.output.uri(manifest)}: not there on the node of this worker (process "
                f"{os.getpid()}); on a "
                "cluster of several machines source and output are s3://…, or folders that all of them mount"
            )
        stage = order.stage()
        if isinstance(stage, LoadableStage):
            stage.load()
        return Bench(order.step, stage, stores)
