"""Networks in bf16 by the CPU's matrix unit (Intel AMX), behind one door.

Only :func:`cpu_network` is imported from outside; numba and llvmlite are imported in this package alone, and
not before a CPU that has the unit needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from imgpipe.upscaling.cpu.network import MatrixNetwork
    from imgpipe.upscaling.network import Network


def cpu_network(module: nn.Module, precision: str, full: Network) -> MatrixNetwork | None:
    """``module`` in bf16 by the matrix unit, or None where that cannot be.

    The unit, ``precision`` (bf16 alone) and the network have to fit: spandrel's SRVGGNetCompact with 64
    features and PReLU at scale 1 to 4, or its RRDBNet with 64 features that grow by 32, enlarged by nearest
    pixels at scale 1, 2, 4 or 8; 3 channels in and out. ``full``: the same network in fp32, for windows in
    which something is not finite.
    """
    if precision != "bf16":
        return None
    from imgpipe.upscaling.cpu.matrix_unit import is_usable

    if not is_usable():
        return None
    from imgpipe.upscaling.cpu.network import matrix_network

    return matrix_network(module, full)
