"""Small pictures as real files hold them: reduced, perhaps blurred, compressed, with noise."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image

from training.brush import Floats, Plane, Rng

#: Share of the small pictures that are only reduced, so that clean sources are not softened.
CLEAN_SHARE = 0.6


def degrade(picture: Plane, scale: int, rng: Rng) -> Plane:
    """(h, w, 3) uint8 -> (h / scale, w / scale, 3) uint8. At scale 1 the damage is what is to be removed."""
    if scale == 1:
        return damage(picture, rng)
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


def damage(picture: Plane, rng: Rng) -> Plane:
    """Strong compression on a grid of any phase, banding or noise; a sixth is left as it is."""
    top, left = rng.integers(0, 16, 2)
    padded = np.pad(picture, ((top, 0), (left, 0), (0, 0)), "edge")
    return np.ascontiguousarray(_damage(padded, rng)[top:, left:])


def _damage(picture: Plane, rng: Rng) -> Plane:
    kind = rng.choice(["none", "jpeg", "webp", "bands", "noise"], p=[0.16, 0.54, 0.08, 0.1, 0.12])
    if kind == "none":
        return picture
    if kind == "bands":
        step = float(rng.integers(3, 13))
        return np.clip(np.rint(picture / step) * step, 0, 255).astype(np.uint8)
    if kind == "noise":
        picture = add_noise(picture, rng.uniform(1.0, 12.0), rng)
        return compress(picture, rng) if rng.random() < 0.4 else picture
    picture = compress(picture, rng, 15, jpeg=kind == "jpeg")
    return compress(picture, rng) if rng.random() < 0.15 else picture


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


def compress(picture: Plane, rng: Rng, least: int = 60, *, jpeg: bool | None = None) -> Plane:
    """Through JPEG of quality ``least``..98, its chroma halved or not, or WebP of up to 95."""
    file = io.BytesIO()
    image = PIL.Image.fromarray(picture)
    if rng.random() < 0.85 if jpeg is None else jpeg:
        image.save(file, "JPEG", quality=int(rng.integers(least, 99)), subsampling=int(rng.choice([0, 2])))
    else:
        image.save(file, "WEBP", quality=int(rng.integers(least, 96)), method=2)
    return np.array(PIL.Image.open(file).convert("RGB"))
