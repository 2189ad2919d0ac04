"""Small pictures as real files hold them: reduced, perhaps blurred, compressed, with noise."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image

from imgpipe.fixing.clean_network import MOST_PERCENT
from training.brush import Floats, Plane, Rng

#: Share of the small pictures that are only reduced, so that clean sources are not softened.
CLEAN_SHARE = 0.6
#: Noise of strength 1, levels.
MOST_SIGMA = 10.0


def degrade(picture: Plane, scale: int, rng: Rng) -> Plane:
    """(h, w, 3) uint8 -> (h / scale, w / scale, 3) uint8."""
    small = reduce(picture, scale, rng)
    if rng.random() < CLEAN_SHARE:
        return small
    if rng.random() < 0.15:
        small = np.asarray(cv2.GaussianBlur(small, (0, 0), rng.uniform(0.2, 0.6)), np.uint8)
    if rng.random() < 0.25:
        small = add_noise(small, rng.uniform(0.5, 4.0), rng)
    if rng.random() < 0.9:
        small = compress(small, rng)
    if rng.random() < 0.15:
        small = compress(small, rng)
    return small


def damage(picture: Plane, rng: Rng) -> tuple[Plane, float]:
    """``picture`` as JPEG once or twice, with noise, or with few levels, and how strong that is, 0..1.

    A tenth is left as it is, at a strength of up to 0.4: what may pass for damage there is not.
    """
    kind = rng.choice(["none", "jpeg", "noise", "bands"], p=[0.1, 0.68, 0.16, 0.06])
    if kind == "none":
        return picture, rng.uniform(0.0, 0.4)
    strength = rng.uniform(0.2, 1.0)
    if kind == "bands":
        step = 12 * strength**2
        return np.clip(np.rint(np.rint(picture / step) * step), 0, 255).astype(np.uint8), strength
    if kind == "noise":
        picture = add_noise(picture, MOST_SIGMA * strength, rng)
        if rng.random() < 0.7:
            return picture, strength
        more = rng.uniform(0.2, 0.5)
        return _as_jpeg(picture, more, rng), max(strength, more)
    strengths = [strength]
    if rng.random() < 0.15:
        strengths.insert(int(rng.integers(2)), rng.uniform(0.2, strength))
    for one in strengths:
        picture = _as_jpeg(picture, one, rng)
    return picture, strength


def _as_jpeg(picture: Plane, strength: float, rng: Rng) -> Plane:
    """Through JPEG on a grid of any phase, its chroma halved mostly."""
    top, left = rng.integers(0, 16, 2)
    padded = np.pad(picture, ((top, 0), (left, 0), (0, 0)), "edge")
    damaged = compressed(padded, quality_of(strength), 2 if rng.random() < 0.7 else 0)
    return np.ascontiguousarray(damaged[top:, left:])


def compressed(picture: Plane, quality: int, subsampling: int = 2) -> Plane:
    """Through Pillow's JPEG; its chroma is halved by a ``subsampling`` of 2, whole by 0."""
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(PIL.Image.open(file))


def quality_of(strength: float) -> int:
    """The quality that has ``strength`` by :func:`imgpipe.fixing.clean_network.strength_of`."""
    percent = MOST_PERCENT * strength**2
    return round(5000 / percent if percent > 100 else (200 - percent) / 2)


def reduce(picture: Plane, scale: int, rng: Rng) -> Plane:
    """By the mean of areas mostly, else by Pillow's antialiased bicubic or Lanczos filter."""
    size = (picture.shape[1] // scale, picture.shape[0] // scale)
    way = rng.random()
    if way < 0.65:
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    filter_ = PIL.Image.Resampling.BICUBIC if way < 0.87 else PIL.Image.Resampling.LANCZOS
    return np.asarray(PIL.Image.fromarray(picture).resize(size, filter_))


def add_noise(picture: Plane, sigma: float, rng: Rng) -> Plane:
    """Gaussian noise of ``sigma`` levels, equal in all channels in half of the pictures."""
    channels = int(rng.choice([1, 3]))
    noise: Floats = rng.normal(0, sigma, (*picture.shape[:2], channels))
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def compress(picture: Plane, rng: Rng) -> Plane:
    """Through JPEG of quality 60..98, its chroma halved or not, or WebP of 60..95."""
    file = io.BytesIO()
    image = PIL.Image.fromarray(picture)
    if rng.random() < 0.85:
        image.save(file, "JPEG", quality=int(rng.integers(60, 99)), subsampling=int(rng.choice([0, 2])))
    else:
        image.save(file, "WEBP", quality=int(rng.integers(60, 96)), method=2)
    return np.array(PIL.Image.open(file).convert("RGB"))
