"""Work items and their answers as bytes for other processes. Stores, stages and the step are not in them: a
process has its own, which take their places."""

from __future__ import annotations

import io
import pickle  # Between processes of one run, which run the same code anyway.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imgpipe.config import Settings
from imgpipe.engines.work import WorkItem, nothing, tell_nobody
from imgpipe.errors import ModelMismatch
from imgpipe.host import usable_cores
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import Stage
from imgpipe.stages.replaceable import ReplaceableStage
from imgpipe.stages.score import ScoreStage
from imgpipe.storage.opening import Stores


@dataclass(frozen=True, slots=True)
class Bench:
    """What one process computes items of a step with."""

    step: Step
    stage: Stage
    stores: Stores

    @property
    def _own(self) -> Mapping[str, object]:
        return {
            "step": self.step,
            "stage": self.stage,
            "source": self.stores.source,
            "output": self.stores.output,
        }

    def pack(self, chunk: Sequence[WorkItem]) -> bytes:
        """What :meth:`unpack` of another process's bench reads. Its items note nothing."""
        file = io.BytesIO()
        _Packer(file, {id(value): name for name, value in self._own.items()}).dump(
            [replace(item, begin=nothing, end=tell_nobody) for item in chunk]
        )
        return file.getvalue()

    def unpack(self, data: bytes) -> list[WorkItem]:
        """The items, with this bench's stores and stage."""
        items: list[WorkItem] = _Unpacker(io.BytesIO(data), self._own).load()
        return items


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, names: Mapping[int, str]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._names = names

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, own: Mapping[str, object]) -> None:
        super().__init__(file)
        self._own = own

    def persistent_load(self, pid: Any) -> object:
        return self._own[pid]


@dataclass(frozen=True, slots=True)
class Order:
    """One step over one shard: what a process needs to know before it is given items.

    ``fingerprint``: of the stage, where the order was made. ``replaceable``: there are decisions of persons.
    """

    settings: Settings
    asset: str
    shard: str
    fingerprint: str
    replaceable: bool

    @property
    def step(self) -> Step:
        return next(step for step in steps(self.settings) if step.asset == self.asset)

    def stage(self) -> Stage:
        """The plain stage, built here; raises :class:`ModelMismatch` where it is not the one of the order."""
        stage = build_stage(self.step, self.settings)
        if stage.fingerprint != self.fingerprint:
            raise ModelMismatch(
                f"{self.asset}: expected the stage {self.fingerprint[:12]}…, this process makes "
                f"{stage.fingerprint[:12]}…: other code or another model file; let the nodes have the same "
                "version of "
                "imgpipe and the same files in model_dir"
            )
        return stage

    def equip(self, stage: Stage) -> Stage:
        """The stage as images are computed with it."""
        return equipped(stage, self.step, self.settings, self.shard, replaceable=self.replaceable)

    @property
    def workers(self) -> int:
        """Images in flight in a process."""
        return self.settings.workers or usable_cores() + 2


def equipped(stage: Stage, step: Step, settings: Settings, shard: str, *, replaceable: bool) -> Stage:
    """The stage for the images of a shard: it knows the place, and takes pictures that persons made."""
    if isinstance(stage, ScoreStage):
        stage = stage.for_shard(settings.dataset, shard)
    return ReplaceableStage(stage, step.action, settings.files.format) if replaceable else stage
