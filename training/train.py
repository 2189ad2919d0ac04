"""Train a network on drawings of our own: python -m training.train --help.

Leaves in the output folder last.pt, from which the same command resumes, metrics.json and the network.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imgpipe.fixing.clean_network import strength_of
from training.brush import Plane, Rng
from training.degrade import add_noise, compressed, damage, degrade
from training.export import write_files
from training.loss import faithful_loss
from training.network import Compact
from training.pool import HELD_OUT, open_pool

_EVALUATED_EDGE = 384
#: Patches that are blurred before they are reduced: many real sources are softer than drawings.
_SOFTENED_SHARE = 0.3
#: At scale 1: patches with a grain of their own, which is to stay, and how far the strength may be off.
_GRAINY_SHARE, _STRENGTH_SIGMA = 0.25, 0.08


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What decides the weights, besides the versions of the libraries and the processor.

    ``patch``: edge of the small patches, px. ``gradient``, ``colour``: weights of the loss's terms.
    ``warmup``: steps in which the learning rate rises to ``rate``. ``ema``: decay of the averaged weights.
    """

    scale: int = 4
    features: int = 32
    depth: int = 10
    pictures: int = 400
    steps: int = 16_000
    batch: int = 8
    patch: int = 48
    rate: float = 1e-3
    last_rate: float = 1e-5
    warmup: int = 100
    gradient: float = 0.1
    colour: float = 0.1
    ema: float = 0.999
    seed: int = 0

    def digest(self) -> str:
        """The first 16 digits of the sha256 of the settings as JSON."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rate_at(self, step: int) -> float:
        """Warmup, then half a cosine."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.last_rate + (self.rate - self.last_rate) * 0.5 * (1 + math.cos(math.pi * done))


def batch(pool: Plane, settings: Settings, rng: Rng) -> tuple[Tensor, Tensor]:
    """(n, 3, p, p) small in 0..1 and (n, 3 * scale**2, p, p) wanted in -1..1, float32, channels last.

    Wanted is what the network's body shall give: the large picture less the nearest neighbour, before the
    pixel shuffle. At scale 1: (n, 4, p, p) with the strength, and (n, 12, p / 2, p / 2).
    """
    scale, patch = settings.scale, settings.patch
    small, large = [], []
    for _ in range(settings.batch):
        picture = _patch(pool, patch * scale, rng)
        if scale > 1:
            small.append(degrade(picture, scale, rng))
        else:
            if rng.random() < _GRAINY_SHARE:
                picture = add_noise(picture, rng.uniform(0.5, 4.0), rng)
            damaged, strength = damage(picture, rng)
            given = 255 * min(1.0, strength * np.exp(rng.normal(0, _STRENGTH_SIGMA)))
            small.append(np.dstack([damaged, np.full((patch, patch), given, np.float32)]))
        large.append(picture)
    given = _tensor(np.stack(small))
    base = functional.interpolate(given[:, :3], scale_factor=scale)
    wanted = functional.pixel_unshuffle(_tensor(np.stack(large)) - base, 2 if scale == 1 else scale)
    return given, wanted.contiguous(memory_format=torch.channels_last)


def _tensor(pixels: Any) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2) / 255


def _patch(pool: Plane, edge: int, rng: Rng) -> Plane:
    """A patch with something in it, turned, mirrored, its channels exchanged, perhaps softened."""
    patches = []
    for _ in range(2):
        top, left = rng.integers(0, pool.shape[1] - edge + 1, 2)
        patches.append(pool[rng.integers(len(pool)), top : top + edge, left : left + edge])
    patch = max(patches, key=lambda each: int(each[::4, ::4, 1].std()))
    patch = np.rot90(patch, int(rng.integers(4)))
    patch = patch[:, :: int(rng.choice([1, -1]))]
    patch = np.ascontiguousarray(patch[..., rng.permutation(3) if rng.random() < 0.5 else [0, 1, 2]])
    if rng.random() < _SOFTENED_SHARE:
        patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), rng.uniform(0.4, 1.8)), np.uint8)
    return patch


class Training:
    """The state of a training: network, averaged weights, optimizer, step."""

    def __init__(self, settings: Settings, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.step = settings, device, 0
        self.seconds, self.log = 0.0, list[dict[str, float]]()
        self.network = Compact(settings.scale, settings.features, settings.depth)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.averaged = self.network.weights()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.rate, betas=(0.9, 0.99))

    def run_step(self, small: Tensor, wanted: Tensor) -> float:
        """One step on a batch of :func:`batch`; its loss."""
        self.optimizer.param_groups[0]["lr"] = self.settings.rate_at(self.step)
        with torch.autocast(self.device, torch.bfloat16):
            made = self.network.detail(small.to(self.device))
        settings, cell = self.settings, self.network.cell
        loss = faithful_loss(made, wanted.to(self.device), cell, settings.gradient, settings.colour)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.settings.ema, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                self.averaged[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def averaged_network(self) -> Compact:
        """The network with the averaged weights, on the CPU."""
        network = Compact(self.settings.scale, self.settings.features, self.settings.depth)
        network.load_weights({name: value.cpu() for name, value in self.averaged.items()})
        return network.eval()

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take the body of a network of another scale: all but its last convolution."""
        own = self.network.weights()
        taken = {name: value.float() for name, value in weights.items() if own[name].shape == value.shape}
        self.network.load_weights(own | taken)
        self.averaged = self.network.weights()

    def save(self, path: Path) -> None:
        state = {
            "settings": dataclasses.asdict(self.settings), "step": self.step, "seconds": self.seconds,
            "log": self.log, "network": self.network.state_dict(), "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Continue from :meth:`save`. The steps may be others than before, nothing else of the settings."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        before, now = state["settings"] | {"steps": 0}, dataclasses.asdict(self.settings) | {"steps": 0}
        if before != now:
            changed = {key: (before.get(key), now[key]) for key in now if before.get(key) != now[key]}
            raise SystemExit(
                f"{path}: expected a training of the same settings, got {changed}; use another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.log = state["averaged"], state["log"]
        self.step, self.seconds = state["step"], state["seconds"]


def evaluate(network: Compact, pictures: Plane) -> dict[str, float]:
    """Mean PSNR, dB, of held-out drawings beside that of plain means.

    Reduced by area, beside Lanczos. At scale 1 saved as JPEG of quality 30, beside that file; the gain at
    quality 85; and untouched ones at strength 0.25.
    """
    scale, size = network.scale, (_EVALUATED_EDGE // network.scale,) * 2
    pictures = pictures[:, :_EVALUATED_EDGE, :_EVALUATED_EDGE]
    if scale > 1:
        smalls = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
        plain = [
            cv2.resize(small, (_EVALUATED_EDGE,) * 2, interpolation=cv2.INTER_LANCZOS4) for small in smalls
        ]
        return {"psnr_db": _mean(network, pictures, smalls), "plain_db": _mean_psnr(pictures, plain)}
    q30, q85 = ([compressed(picture, quality) for picture in pictures] for quality in (30, 85))
    return {
        "psnr_db": _mean(network, pictures, q30, strength_of(30)),
        "plain_db": _mean_psnr(pictures, q30),
        "gain_85_db": _mean(network, pictures, q85, strength_of(85)) - _mean_psnr(pictures, q85),
        "untouched_db": _mean(network, pictures, list(pictures), 0.25),
    }


def _mean(network: Compact, pictures: Plane, smalls: list[Any], strength: float | None = None) -> float:
    made = []
    for small in smalls:
        given = _tensor(small[None])
        if strength is not None:
            given = functional.pad(given, (0, 0, 0, 0, 0, 1), value=strength)
        with torch.inference_mode():
            result = network(given)[0].permute(1, 2, 0).numpy()
        made.append(np.clip(np.rint(result * 255), 0, 255))
    return _mean_psnr(pictures, made)


def _mean_psnr(wanted: Plane, made: list[Any]) -> float:
    return float(np.mean([psnr(*pair) for pair in zip(wanted, made, strict=True)]))


def psnr(wanted: Plane, made: Any) -> float:
    """Peak signal to noise ratio of levels 0..255, dB; 99 at most."""
    error = float(np.mean((wanted.astype(np.float64) - made) ** 2))
    return min(99.0, 10 * math.log10(255**2 / max(error, 1e-9)))


def train(training: Training, pool: Plane, held_out: Plane, output: Path, every: int) -> None:
    """Until ``steps``; every so many steps a checkpoint, metrics, files and a line."""
    settings = training.settings
    begin, losses = time.monotonic() - training.seconds, []
    while training.step < settings.steps:
        rng = np.random.default_rng([settings.seed, training.step])
        losses.append(training.run_step(*batch(pool, settings, rng)))
        if training.step % every and training.step < settings.steps:
            continue
        training.seconds = time.monotonic() - begin
        row = {"step": training.step, "loss": float(np.mean(losses)), "seconds": training.seconds}
        row |= evaluate(training.averaged_network(), held_out)
        training.log.append(row)
        losses.clear()
        print(", ".join(f"{key} {value:.5g}" for key, value in row.items()), flush=True)
        training.save(output / "last.pt")
        write_results(training, output)


def write_results(training: Training, output: Path) -> None:
    """The network's files, and metrics.json beside them."""
    settings = training.settings
    name = "imgpipe-clean-x1" if settings.scale == 1 else f"imgpipe-lite-x{settings.scale}"
    metadata = {
        "name": name, "license": "Apache-2.0", "settings": settings.digest(),
        "steps": f"{training.step} of {settings.steps}",
    }  # fmt: skip
    write_files({key: value.cpu() for key, value in training.averaged.items()}, output / name, metadata)
    metrics = {
        "settings": dataclasses.asdict(settings), "digest": settings.digest(), "torch": torch.__version__,
        "device": training.device, "log": training.log,
    }  # fmt: skip
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")


def _options() -> Iterator[tuple[str, dict[str, Any]]]:
    for each in dataclasses.fields(Settings):
        yield f"--{each.name.replace('_', '-')}", {"type": type(each.default), "default": each.default}
    yield "--output", {"type": Path, "required": True, "help": "folder of checkpoint, metrics and files"}
    yield "--drawings", {"type": Path, "default": Path("training/work/drawings"), "help": "kept drawings"}
    yield "--start", {"type": Path, "help": "safetensors of a network of another scale, to start from"}
    yield "--every", {"type": int, "default": 500, "help": "steps between checkpoints"}
    yield "--threads", {"type": int, "default": 2, "help": "of the CPU"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, option in _options():
        parser.add_argument(name, **option)
    options = parser.parse_args()
    settings = Settings(**{each.name: getattr(options, each.name) for each in dataclasses.fields(Settings)})
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    held_out = open_pool(options.drawings, 48, first=HELD_OUT)
    pool = open_pool(options.drawings, settings.pictures)
    training = Training(settings, "cuda" if torch.cuda.is_available() else "cpu")
    options.output.mkdir(parents=True, exist_ok=True)
    checkpoint = options.output / "last.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
    elif options.start:
        import safetensors.torch

        training.start_from(safetensors.torch.load_file(options.start))
    train(training, pool, held_out, options.output, options.every)


if __name__ == "__main__":
    main()
