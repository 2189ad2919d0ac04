"""How much of a cluster one worker takes, and how many workers its nodes hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgpipe.errors import ClusterUnavailable
from imgpipe.settings import RaySettings


@dataclass(frozen=True, slots=True)
class Share:
    """``cpus``, ``gpus``: of one worker. ``workers``: how many there may be."""

    cpus: float
    gpus: float
    workers: int

    @property
    def cores(self) -> int:
        """Whole ones, for threads."""
        return max(1, math.floor(self.cpus))

    def __str__(self) -> str:
        return f"{self.cpus:g} cores" + (f" and {self.gpus:g} GPU" if self.gpus else "")


def share_of(nodes: Sequence[Mapping[str, float]], settings: RaySettings, *, network: bool) -> Share:
    """What a worker takes of these nodes (their resources, as Ray names them: CPU, GPU).

    ``network``: the step runs one that may use a GPU. ``auto`` cores: of nodes that differ, as many as the
    smallest has, so that every node holds a worker. Raises :class:`ClusterUnavailable` where no node holds
    one and the autoscaler was not asked for any (``max_workers``).
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) > 0]
    gpus = (1.0 if network and with_gpu else 0.0) if settings.num_gpus == "auto" else settings.num_gpus
    usable = [node for node in (with_gpu if gpus else nodes) if node.get("CPU", 0) > 0]
    if settings.num_cpus != "auto":
        cpus = settings.num_cpus
    elif gpus:
        cpus = min((max(1.0, node["CPU"] * gpus // node["GPU"]) for node in usable), default=1.0)
    else:
        cpus = min((node["CPU"] for node in usable), default=1.0)
    held = sum(_fit(node, cpus, gpus) for node in usable)
    workers = settings.max_workers or held
    if not workers:
        has = ", ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in nodes[:5])
        raise ClusterUnavailable(
            f"no node of the cluster has room for a worker with {Share(cpus, gpus, 0)}; there are "
            f"{len(nodes)} nodes: "
            f"{has or 'none'}; lower ray.num_cpus or ray.num_gpus, or set ray.max_workers to ask the "
            "autoscaler"
        )
    return Share(cpus, gpus, workers)


def _fit(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Workers that one node holds. Shares of a GPU do not reach over to the next one."""
    by_cpu = math.floor(node["CPU"] / cpus + 1e-9)
    if not gpus:
        return by_cpu
    by_gpu = node["GPU"] * math.floor(1 / gpus + 1e-9) if gpus < 1 else node["GPU"] / gpus
    return min(by_cpu, math.floor(by_gpu + 1e-9))
