"""Inputs of several threads share a network's batches, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from imgpipe.errors import InferenceError
from imgpipe.inference.batch_queue import BatchQueue, Values
from imgpipe_tests.waiting import until


class _Network:
    """Doubles its inputs; the first call waits for the gate; an input of -1 is a fault."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.inside = 0
        self.gate = threading.Event()

    def run(self, inputs: Sequence[Values]) -> list[Values]:
        self.inside += 1
        assert self.inside == 1, "two calls at once"
        self.counts.append(len(inputs))
        assert self.gate.wait(30)
        try:
            if any((one == -1).any() for one in inputs):
                raise InferenceError(f"a batch of {len(inputs)} failed")
            return [2 * one for one in inputs]
        finally:
            self.inside -= 1


def _all_at_once(
    network: _Network, queue: BatchQueue, inputs: Sequence[Values]
) -> list[Future[tuple[Values, float]]]:
    """The first input holds the network until all others wait."""
    with ThreadPoolExecutor(len(inputs)) as pool:
        jobs = [pool.submit(queue, inputs[0])]
        until(lambda: bool(network.counts))
        jobs += [pool.submit(queue, one) for one in inputs[1:]]
        until(lambda: len(queue._waiting) == len(inputs) - 1)
        network.gate.set()
    return jobs


def test_those_that_wait_share_a_batch_of_one_shape_and_size() -> None:
    network = _Network()
    queue = BatchQueue(network.run, lambda shape: 3 if shape == (2,) else 1)
    inputs = [np.full(length, value) for value, length in enumerate((2, 2, 2, 2, 2, 4, 4))]
    jobs = _all_at_once(network, queue, inputs)
    for job, one in zip(jobs, inputs, strict=True):
        np.testing.assert_array_equal(job.result()[0], 2 * one)
    assert sorted(network.counts[1:]) == [1, 1, 1, 3]
    assert jobs[0].result()[1] < min(job.result()[1] for job in jobs[1:])


def test_a_fault_is_its_own_inputs_alone() -> None:
    network = _Network()
    queue = BatchQueue(network.run, lambda shape: 8)
    inputs = [np.full(2, value) for value in (0, 1, -1, 3)]
    jobs = _all_at_once(network, queue, inputs)
    with pytest.raises(InferenceError, match="a batch of 1 failed"):
        jobs[2].result()
    for index in (0, 1, 3):
        np.testing.assert_array_equal(jobs[index].result()[0], 2 * inputs[index])
    assert network.counts == [1, 3, 1, 1, 1]
    np.testing.assert_array_equal(queue(np.ones(2))[0], [2, 2])
