"""Pictures of several threads on one network, which computes one batch at a time."""

from __future__ import annotations

import threading

from imgpipe.upscaling.device_queue import DeviceQueue
from imgpipe.upscaling.network import DeviceNetwork, LoadedNetwork
from imgpipe.upscaling.network_input import NetworkInput
from imgpipe.upscaling.strips_network import StripsNetwork
from imgpipe.upscaling.tile_planner import TilePlanner
from imgpipe.upscaling.tile_runner import Enlarged, Receiver, run_tiles


class NetworkQueue:
    """On a CPU one picture after another, each in its own thread: the network needs all cores.

    A device is given orders by a thread of its own (:class:`DeviceQueue`).
    """

    def __init__(self, loaded: LoadedNetwork, planner: TilePlanner) -> None:
        self._loaded, self._planner = loaded, planner
        self._computing = threading.Lock()
        self._device: DeviceQueue | None = None
        network = loaded.network
        if network.device != "cpu":
            on_device = network if isinstance(network, DeviceNetwork) else StripsNetwork(network)
            self._device = DeviceQueue(on_device, network.scale, planner)

    def enlarge(self, source: NetworkInput, receiver: Receiver) -> Enlarged:
        """``source`` through the network, in this thread's time; ``receiver`` is called in this thread.

        Errors are those of this picture, never of one that was computed with it. Raises ``OutOfMemory`` where
        the smallest tile does not fit, ``InferenceError``, and ``ModelError`` where the device fails.
        """
        if self._device is not None:
            return self._device.enlarge(source, receiver)
        with self._computing:
            return run_tiles(self._loaded, self._planner, source, receiver)
