import numpy as np
import pytest

from imgpipe.pixels.pull_push import STRIP_ROWS, Field, pull_push


def _field(values: np.ndarray, weight: np.ndarray) -> Field:
    return pull_push(lambda rows: (values[rows], weight[rows]), *weight.shape)


def _everywhere(field: Field, height: int, width: int) -> np.ndarray:
    return field.part(slice(0, height), slice(0, width))


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (37, 1), (5, 9), (64, 64), (2 * STRIP_ROWS + 3, 33)])
def test_one_sample_fills_everything(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((*shape, 4)).astype(np.float32)
    weight = np.zeros(shape, np.float32)
    weight[shape[0] // 2, shape[1] // 3] = 0.7
    sample = values[shape[0] // 2, shape[1] // 3]
    result = _everywhere(_field(values, weight), *shape)
    np.testing.assert_allclose(result, np.broadcast_to(sample, result.shape), atol=1e-6)


def test_what_is_known_everywhere_is_kept() -> None:
    ys, xs = np.mgrid[0:80, 0:100].astype(np.float32)
    values = np.dstack([ys / 80, xs / 100])
    result = _everywhere(_field(values, np.ones((80, 100), np.float32)), 80, 100)
    np.testing.assert_allclose(result[2:-2, 2:-2], values[2:-2, 2:-2], atol=1e-5)


def test_a_gap_in_a_ramp_is_bridged_from_its_sides() -> None:
    values = np.linspace(0, 1, 128, dtype=np.float32)[None, :, None].repeat(32, axis=0)
    weight = np.ones((32, 128), np.float32)
    weight[:, 50:70] = 0
    result = _everywhere(_field(values, weight), 32, 128)[..., 0]
    assert np.abs(result - values[..., 0])[:, 50:70].max() < 0.12
    assert np.all(np.diff(result[16]) > -0.02)


def test_weights_decide_between_samples() -> None:
    values = np.zeros((2, 2, 1), np.float32)
    values[0, 0], values[1, 1] = 1.0, 0.0
    weight = np.array([[0.3, 0.0], [0.0, 0.1]], np.float32)
    np.testing.assert_allclose(_field(values, weight).values, 0.75, atol=1e-6)


def test_strips_leave_no_trace() -> None:
    rng = np.random.default_rng(1)
    shape = (STRIP_ROWS + 40, 24)
    values = rng.random((*shape, 1)).astype(np.float32)
    weight = (rng.random(shape) < 0.05).astype(np.float32)
    upright = _everywhere(_field(values, weight), *shape)
    turned = _everywhere(
        _field(np.ascontiguousarray(values.transpose(1, 0, 2)), np.ascontiguousarray(weight.T)), *shape[::-1]
    )
    np.testing.assert_allclose(upright[..., 0], turned[..., 0].T, atol=1e-5)


def test_nothing_known_is_told() -> None:
    field = _field(np.ones((9, 9, 3), np.float32), np.zeros((9, 9), np.float32))
    assert field.empty
    assert not field.values.any()
