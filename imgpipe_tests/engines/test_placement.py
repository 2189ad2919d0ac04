"""How much of a cluster a worker takes."""

from __future__ import annotations

import pytest

from imgpipe.engines.placement import Share, share_of
from imgpipe.errors import ClusterUnavailable
from imgpipe.settings import RaySettings

CPU_NODE, GPU_NODE = {"CPU": 8.0, "memory": 1e9}, {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "given", "network", "expected"),
    [
        ([CPU_NODE] * 3, {}, True, Share(8, 0, 3)),
        ([CPU_NODE, {"CPU": 4.0}], {}, True, Share(4, 0, 3)),
        ([GPU_NODE] * 2, {}, True, Share(4, 1, 8)),
        # A GPU's nodes alone hold workers of a network; the other steps run everywhere.
        ([GPU_NODE, CPU_NODE], {}, True, Share(4, 1, 4)),
        ([GPU_NODE, CPU_NODE], {}, False, Share(8, 0, 3)),
        ([GPU_NODE], {"num_gpus": 0.5}, True, Share(2, 0.5, 8)),
        # Two shares of 0.4 fit on a GPU, the rest of two GPUs is no third.
        ([{"CPU": 64.0, "GPU": 2.0}], {"num_gpus": 0.4, "num_cpus": 1}, True, Share(1, 0.4, 4)),
        ([GPU_NODE], {"num_gpus": 1, "num_cpus": 8}, True, Share(8, 1, 2)),
        ([GPU_NODE], {"max_workers": 2}, True, Share(4, 1, 2)),
        # The autoscaler brings the nodes.
        ([], {"max_workers": 5, "num_gpus": 1, "num_cpus": 4}, True, Share(4, 1, 5)),
        ([{"CPU": 2.0}], {"num_cpus": 0.5}, False, Share(0.5, 0, 4)),
    ],
)
def test_share(
    nodes: list[dict[str, float]], given: dict[str, float], network: bool, expected: Share
) -> None:
    assert share_of(nodes, RaySettings(**given), network=network) == expected


def test_a_cluster_without_room_is_refused_with_what_it_has() -> None:
    with pytest.raises(ClusterUnavailable, match=r"1 GPU; there are 1 nodes: 8 cores and 0 GPUs"):
        share_of([CPU_NODE], RaySettings(num_gpus=1), network=True)
