import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from spandrel import ModelLoader
from torch.nn import functional

from training.drawing import draw
from training.export import write_files
from training.loss import faithful_loss
from training.network import Compact
from training.train import Settings, Training, batch, psnr

_TINY = Settings(features=8, depth=1, pictures=1, steps=40, batch=2, patch=12, warmup=1, rate=3e-3, ema=0.5)


def test_the_gradient_in_closed_form_is_autograds() -> None:
    torch.manual_seed(0)
    made, wanted = torch.randn(2, 12, 5, 6, requires_grad=True), torch.randn(2, 12, 5, 6)
    loss = faithful_loss(made, wanted, 2, 0.1, 0.2)
    error = functional.pixel_shuffle(made - wanted, 2)
    down, right = error[:, :, 1:] - error[:, :, :-1], error[..., 1:] - error[..., :-1]
    colour = functional.avg_pool2d(error, 2).abs().mean()
    plain = (error**2 + 1e-6).sqrt().mean() + 0.1 * (down.abs().mean() + right.abs().mean()) + 0.2 * colour
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(*(torch.autograd.grad(each, made)[0] for each in (loss, plain)))


def test_training_lowers_the_loss_and_resumes_where_it_stopped(tmp_path: Path) -> None:
    pool = draw(3, 96)[None]
    training = Training(_TINY)
    fixed = batch(pool, _TINY, np.random.default_rng(0))
    losses = [training.run_step(*fixed) for _ in range(12)]
    assert losses[-1] < 0.95 * losses[0]
    training.save(tmp_path / "last.pt")
    resumed = Training(_TINY)
    resumed.resume(tmp_path / "last.pt")
    assert resumed.step == 12
    assert resumed.run_step(*fixed) == training.run_step(*fixed)
    with pytest.raises(SystemExit, match=r"same settings, got \{'seed': \(0, 1\)\}"):
        Training(dataclasses.replace(_TINY, seed=1)).resume(tmp_path / "last.pt")


@pytest.mark.parametrize("scale", [2, 4])
def test_an_untrained_network_enlarges_bilinearly(scale: int) -> None:
    network = Compact(scale, features=8, depth=2)
    network.body[-1].get_parameter("weight").data[:, 3:] = 0.0
    small = torch.rand(1, 3, 9, 7)
    wanted = functional.interpolate(small, scale_factor=scale, mode="bilinear")
    inside = np.s_[..., scale:-scale, scale:-scale]
    torch.testing.assert_close(network(small)[inside], wanted[inside])


def test_the_files_compute_what_was_trained(tmp_path: Path) -> None:
    network = Compact(2, features=8, depth=2)
    write_files(network.weights(), tmp_path / "net", {"license": "Apache-2.0"})
    small = torch.rand(1, 3, 9, 7)
    wanted = network(small).detach()
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    made = torch.from_numpy(session.run(None, {"input": small.numpy()})[0])
    torch.testing.assert_close(made, wanted, atol=2e-3, rtol=0)
    loaded = ModelLoader().load_from_file(tmp_path / "net.safetensors").model.float()
    torch.testing.assert_close(loaded(small).detach(), wanted, atol=2e-3, rtol=0)
    network.load_weights({name: value * 0 for name, value in network.weights().items()})
    assert not network.body(small).any()


def test_the_cleaning_network_s_file_is_what_was_trained_and_the_identity_at_strength_0(
    tmp_path: Path,
) -> None:
    network = Compact(1, features=14, depth=2)
    write_files(network.weights(), tmp_path / "net", {})
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    picture = torch.rand(1, 3, 10, 8)
    for strength in (0.0, 0.5, 1.0):
        given = torch.cat([picture, torch.full((1, 1, 10, 8), strength)], dim=1)
        made = session.run(None, {"input": given.numpy()})[0]
        np.testing.assert_allclose(made, network(given).detach(), atol=2e-3 * strength, rtol=0)
        assert np.array_equal(made, picture) == (strength == 0)


def test_what_cleaning_is_asked_for_undoes_the_damage() -> None:
    """Added to the damaged patches, what is wanted makes them whole: the drawing's, but for its grain."""
    settings = dataclasses.replace(_TINY, scale=1, patch=32, batch=16)
    drawing = np.broadcast_to(np.array([90, 160, 30], np.uint8), (1, 64, 64, 3))
    given, wanted = batch(drawing, settings, np.random.default_rng(0))
    assert given.shape == (16, 4, 32, 32)
    whole = given[:, :3] + functional.pixel_shuffle(wanted, 2)
    off = (whole - whole.mean((2, 3), keepdim=True)).abs().amax((1, 2, 3)) * 255
    assert 8 <= (off < 1e-3).sum() < 16, f"flat patches: {off}"
    assert (wanted.abs().amax((1, 2, 3)) * 255 > 1).sum() > 4
    assert given[:, 3].min() >= 0
    assert given[:, 3].max() <= 1


def test_the_learning_rate_rises_then_falls() -> None:
    settings = Settings(steps=1000, warmup=100)
    rates = [settings.rate_at(step) for step in range(1000)]
    assert np.argmax(rates) in (99, 100)
    assert rates[0] == pytest.approx(settings.rate / 100)
    assert rates[-1] == pytest.approx(settings.last_rate, rel=0.01)


def test_psnr_of_one_level() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(grey, grey + 1.0) == pytest.approx(48.13, abs=0.01)
