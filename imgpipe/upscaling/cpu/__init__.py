"""Networks in bf16 by the CPU's matrix unit (Intel AMX), behind one door.

Only :func:`cpu_network` is imported from outside; numba and llvmlite are imported in this package alone, and
not before a CPU that has the unit needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from imgpipe.upscaling.checked_network import CheckedNetwork
    from imgpipe.upscaling.network import Network


def cpu_network(module: nn.Module, precision: str, full: Network) -> CheckedNetwork | None:
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
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.ESRGAN import ESRGAN

    from imgpipe.upscaling.checked_network import CheckedNetwork
    from imgpipe.upscaling.cpu import compact, esrgan

    if isinstance(module, Compact) and compact.fits(module):
        return CheckedNetwork(compact.CompactLoops(module), "amx", precision, full)
    if isinstance(module, ESRGAN) and esrgan.fits(module):
        return CheckedNetwork(esrgan.EsrganLoops(module), "amx", precision, full)
    return None
