"""What the training drawings are made of: cells, hair, eyes, foliage, buildings, text, tones, light."""

from __future__ import annotations

import math
from functools import partial

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from training.brush import (
    OVERSAMPLING,
    Canvas,
    Colour,
    Floats,
    Rng,
    blob,
    colour,
    ellipse,
    field,
    fractal,
    gradient,
    near,
    places,
    scaled,
    soft,
    spline,
    wander,
)


def outline_colour(rng: Rng, fill: Colour) -> Colour:
    """Mostly near black, else a dark tone of the fill."""
    if rng.random() < 0.6:
        return near(rng, (22, 18, 20), 8)
    return scaled(fill, rng.uniform(0.15, 0.6))


def line_width(rng: Rng) -> float:
    """Outlines of real drawings and frames: 0.7 to 6 px, mostly 1.3 to 2.8."""
    return float(np.clip(rng.lognormal(0.65, 0.42), 0.7, 6.0))


def cell(canvas: Canvas, rng: Rng, shape: Floats, fill: Colour, width: float) -> None:
    """A flat area with a shadow, a light, perhaps soft shading and texture, folds and an outline."""
    canvas.fill(shape, fill)
    centre, radius = shape.mean(axis=0), float(np.ptp(shape, axis=0).mean()) / 2
    with canvas.clipped(shape):
        if rng.random() < 0.7:
            away = rng.normal(0, 0.5, 2) * radius
            canvas.fill(shape + away, scaled(fill, rng.uniform(0.6, 0.9)))
        if rng.random() < 0.35:
            spot = blob(rng, centre + rng.normal(0, 0.4, 2) * radius, radius * rng.uniform(0.1, 0.4))
            canvas.fill(spot, near(rng, fill, 10, 45))
        if rng.random() < 0.4:
            shade(canvas, rng, centre, radius, fill)
        for _ in range(int(rng.integers(0, 5))):
            fold = wander(rng, centre + rng.normal(0, 0.5, 2) * radius, radius * rng.uniform(0.3, 1.0), 0.3)
            canvas.stroke(fold, scaled(fill, rng.uniform(0.3, 0.8)), width * rng.uniform(0.6, 1.6))
    if rng.random() < 0.88:
        canvas.line(shape, outline_colour(rng, fill), width, closed=True)


def shade(canvas: Canvas, rng: Rng, centre: Floats, radius: float, base: Colour) -> None:
    """Airbrush: one soft spot, darker or lighter than ``base`` or of a colour near it."""
    around = blob(rng, centre + rng.normal(0, 0.5, 2) * radius, radius * rng.uniform(0.3, 0.9))
    alpha = soft(canvas.mask(around), radius * rng.uniform(0.15, 0.6) + 2) / 255
    canvas.paint(near(rng, base, 25, float(rng.choice([-45, 45]))), alpha * rng.uniform(0.3, 0.9))


def locks(canvas: Canvas, rng: Rng, root: Floats, length: float, fill: Colour, width: float) -> None:
    """A bundle of pointed locks of hair that hang in one direction, with strands and a band of light."""
    heading, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9)
    line = outline_colour(rng, fill)
    count = int(rng.integers(4, 14))
    for k in rng.permutation(count):
        angle = heading + (k / count - 0.5) * spread + rng.normal(0, 0.08)
        across = np.array([-np.sin(heading), np.cos(heading)])
        start = root + across * (k / count - 0.5) * length * 0.7
        reach = length * rng.uniform(0.6, 1.1) * np.array([np.cos(angle), np.sin(angle)])
        spine = spline(
            np.stack([start, start + reach * 0.5 + across * rng.normal(0, 0.12) * length, start + reach])
        )
        half = length / count * rng.uniform(0.4, 1.1) * (1 - np.linspace(0, 1, len(spine)) ** 2)
        leaf = np.vstack([spine + across * half[:, None], (spine - across * half[:, None])[::-1]])
        canvas.fill(leaf, near(rng, fill, 3))
        if rng.random() < 0.5:
            low = int(rng.integers(4, 12))
            canvas.fill(np.vstack([leaf[low : low + 7], leaf[-low - 7 : -low]]), near(rng, fill, 8, 40))
        canvas.line(leaf, line, width * 0.8, closed=True)
        for _ in range(int(rng.integers(0, 4))):
            strand = spine[2:] + across * rng.normal(0, 0.5) * half[2:, None]
            canvas.stroke(strand, scaled(fill, rng.uniform(0.4, 1.3)), width * rng.uniform(0.4, 1.0))


def eye(canvas: Canvas, rng: Rng, centre: Floats, radius: float) -> None:
    """Lashes, white, an iris in rings with a gradient, pupil and lights."""
    iris, tall = colour(rng, (0.3, 0.9), (0.3, 0.9)), rng.uniform(0.9, 1.7)
    white = ellipse(centre, (radius, radius * tall * 0.8))
    canvas.fill(white, (250, 248, 246))
    with canvas.clipped(white):
        size = radius * rng.uniform(0.45, 0.8)
        at = centre + rng.normal(0, 0.12, 2) * radius
        canvas.fill(ellipse(at, (size * 1.1, size * tall * 1.1)), scaled(iris, 0.3))
        canvas.fill(ellipse(at, (size, size * tall)), iris)
        shade(canvas, rng, at, size, iris)
        canvas.fill(ellipse(at, (size * 0.45, size * tall * 0.5)), scaled(iris, 0.15))
        for _ in range(int(rng.integers(1, 4))):
            canvas.fill(
                ellipse(at + rng.normal(0, 0.4, 2) * size, (size * 0.22, size * 0.25)), (255, 255, 255)
            )
    upper = white[len(white) // 2 - 2 :]
    canvas.stroke(upper, (28, 20, 24), radius * rng.uniform(0.1, 0.4), (0.3, 0.3))
    canvas.line(white, (40, 28, 30), max(0.8, radius * 0.06), closed=True)
    brow = spline(centre + radius * np.array([[-1.2, -1.5], [0, -1.9], [1.2, -1.5]]))
    canvas.stroke(brow, (40, 30, 30), radius * rng.uniform(0.08, 0.3))


def face(canvas: Canvas, rng: Rng, centre: Floats, radius: float) -> None:
    """A head with eyes, mouth, nose and hair around it."""
    width, hair = line_width(rng), colour(rng, (0.1, 1.0), (0.05, 0.8))
    skin = near(rng, (245, 214, 190), 18, float(rng.choice([0, 0, -40])))
    for _ in range(3):
        locks(canvas, rng, centre + rng.normal(0, 0.3, 2) * radius, radius * 2.2, scaled(hair, 0.8), width)
    chin = np.array([[-1, -0.6], [-0.9, 0.3], [-0.1, 1.1], [0.1, 1.1], [0.9, 0.3], [1, -0.6], [0, -1.2]])
    cell(canvas, rng, spline(centre + chin * radius * rng.uniform(0.85, 1.0), closed=True), skin, width)
    for side in (-0.42, 0.42):
        eye(canvas, rng, centre + np.array([side, 0.05]) * radius, radius * rng.uniform(0.2, 0.32))
    mouth = spline(
        centre + radius * np.array([[-0.2, 0.66], [0, 0.72 + rng.uniform(-0.1, 0.12)], [0.2, 0.66]])
    )
    canvas.stroke(mouth, (90, 40, 40), width * 1.2)
    canvas.stroke(
        spline(centre + radius * np.array([[0, 0.3], [0.05, 0.42], [-0.02, 0.45]])), (120, 70, 60), width
    )
    if rng.random() < 0.4:
        for side in (-0.6, 0.6):
            spot = canvas.mask(ellipse(centre + np.array([side, 0.5]) * radius, (radius * 0.2, radius * 0.1)))
            canvas.paint((240, 120, 120), soft(spot, radius * 0.08 + 1) / 255 * 0.5)
    for _ in range(3):
        locks(canvas, rng, centre + np.array([rng.normal(0, 0.4), -1.0]) * radius, radius * 0.9, hair, width)


def figure(canvas: Canvas, rng: Rng, centre: Floats, radius: float) -> None:
    """Clothes under a face: overlapping cells with trims and buttons."""
    width, base = line_width(rng), colour(rng)
    for _ in range(int(rng.integers(3, 7))):
        at = centre + np.array([rng.normal(0, 0.9), rng.uniform(1.1, 2.6)]) * radius
        shape = blob(rng, at, radius * rng.uniform(0.5, 1.2))
        cell(canvas, rng, shape, near(rng, base, 40), width)
        if rng.random() < 0.4:
            canvas.line(at + (shape - at) * 0.86, near(rng, base, 60, 40), width * 1.4, closed=True)
    for k in range(int(rng.integers(0, 5))):
        button = centre + np.array([0.1, 1.4 + 0.35 * k]) * radius
        cell(canvas, rng, ellipse(button, (radius * 0.08, radius * 0.08)), colour(rng), width * 0.7)
    face(canvas, rng, centre, radius)


def machine(canvas: Canvas, rng: Rng, centre: Floats, radius: float) -> None:
    """Armour: angular plates with panel lines, rivets and marks."""
    base = colour(rng, (0.3, 1.0), (0, 0.6))
    width = line_width(rng) * 0.8
    for _ in range(int(rng.integers(4, 16))):
        at, edge = centre + rng.normal(0, 0.8, 2) * radius, radius * rng.uniform(0.15, 0.7)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 7))))
        plate = at + np.stack([np.cos(angles), np.sin(angles)], axis=1) * edge * rng.uniform(
            0.7, 1.2, (len(angles), 1)
        )
        fill = near(rng, base, 30) if rng.random() < 0.7 else colour(rng)
        cell(canvas, rng, plate, fill, width)
        if rng.random() < 0.5:
            canvas.line(
                at + (plate - at) * rng.uniform(0.5, 0.85), scaled(fill, 0.5), width * 0.6, closed=True
            )
        if rng.random() < 0.3:
            canvas.fill(ellipse(at, (edge * 0.12, edge * 0.12)), scaled(fill, 0.3))


def foliage(canvas: Canvas, rng: Rng) -> None:
    """Clusters of leaves over darker ones, as backgrounds are painted."""
    base = near(rng, (70, 130, 60), 40) if rng.random() < 0.7 else colour(rng)
    size = np.exp(rng.uniform(np.log(1.5), np.log(18)))
    turn = rng.uniform(0, np.pi)
    for layer in range(4):
        tone = scaled(base, 0.35 + 0.32 * layer)
        for middle in places(rng, canvas.size, int(rng.integers(4, 12))):
            reach = canvas.size * rng.uniform(0.04, 0.16)
            for _ in range(int(rng.integers(8, 40 + 200 / size))):
                at = middle + rng.normal(0, 1, 2) * reach
                leaf = ellipse(
                    at,
                    (size * rng.uniform(0.5, 1.2), size * rng.uniform(0.2, 0.6)),
                    turn + rng.normal(0, 0.6),
                    10,
                )
                canvas.fill(leaf, near(rng, tone, 12))


def brushwork(canvas: Canvas, rng: Rng) -> None:
    """Overlapping brush strokes with bristles, coarse ones first."""
    palette = [colour(rng, (0.1, 1.0)) for _ in range(int(rng.integers(2, 6)))]
    size = rng.uniform(20, 80)
    flow = field(rng, canvas.size, canvas.size / 3) * np.pi
    for width in np.geomspace(size, rng.uniform(1.5, 6), 5):
        for at in places(rng, canvas.size, int(min(220, 3000 / width))):
            y, x = np.clip(at[::-1].astype(int), 0, canvas.size - 1)
            angle = flow[y, x] + rng.normal(0, 0.2)
            reach = np.array([np.cos(angle), np.sin(angle)]) * width * rng.uniform(1, 4)
            tone = near(rng, palette[int((x + y) / canvas.size * len(palette) * 0.49)], 22)
            line = spline(np.stack([at - reach, at + rng.normal(0, 0.1, 2) * width, at + reach]), steps=5)
            canvas.stroke(line, tone, width, (rng.uniform(0, 0.8), rng.uniform(0, 0.8)))
            for _ in range(int(rng.integers(0, 3))):
                canvas.line(line + rng.normal(0, width / 4, 2), near(rng, tone, 12), max(0.5, width / 12))


def wash(canvas: Canvas, rng: Rng) -> None:
    """Clouded colour: a picture mixed in by fractal noise, from mist to sharp-edged clouds."""
    noise = fractal(
        rng, canvas.pixels.shape[0], canvas.size * rng.uniform(0.1, 0.9), gain=rng.uniform(0.4, 0.65)
    )
    alpha = np.clip(noise * rng.choice([1.0, 3.0, 12.0]) + rng.uniform(0.1, 0.7), 0, 1)
    canvas.paint(gradient(rng, noise.shape[0], [colour(rng), colour(rng)]), alpha * rng.uniform(0.3, 1.0))


def planks(canvas: Canvas, rng: Rng) -> None:
    """Boards or bricks in perspective, with grain."""
    size, base = canvas.size, near(rng, (150, 110, 70), 45)
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]]) + rng.normal(0, 0.35, (4, 2)) * size
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    matrix = cv2.getPerspectiveTransform(unit, corners.astype(np.float32))
    rows, columns = int(rng.integers(4, 22)), int(rng.integers(1, 16))
    line, width = scaled(base, rng.uniform(0.2, 0.6)), line_width(rng) * 0.7
    contrast = rng.uniform(4, 25)
    for row in range(rows):
        for column in range(-1, columns):
            left = column + (row % 2) * 0.5
            box = [[left, row], [left + 1, row], [left + 1, row + 1], [left, row + 1]]
            flat = np.asarray(box, np.float64) / (columns, rows)
            points = cv2.perspectiveTransform(flat[None].astype(np.float32), matrix)[0]
            canvas.fill(points, near(rng, base, contrast))
            canvas.line(points, line, width, closed=True)
            for _ in range(int(rng.integers(0, 4))):
                a, b = rng.random(), rng.random(2)
                grain = points[0] * (1 - a) * (1 - b[:, None]) + points[1] * (1 - a) * b[:, None]
                grain = grain + points[3] * a * (1 - b[:, None]) + points[2] * a * b[:, None]
                canvas.stroke(
                    spline(np.vstack([grain[0], grain.mean(axis=0) + rng.normal(0, 1, 2), grain[1]])),
                    scaled(base, rng.uniform(0.5, 1.2)),
                    width,
                )


def street(canvas: Canvas, rng: Rng) -> None:
    """Lines towards a vanishing point, and walls with rows of windows."""
    size, point = canvas.size, rng.uniform(-0.2, 1.2, 2) * canvas.size
    width = line_width(rng)
    for at in places(rng, size, int(rng.integers(3, 9))):
        wide, high = rng.uniform(0.1, 0.45, 2) * size
        fill = near(rng, colour(rng, (0.3, 1.0), (0, 0.4)), 10)
        wall = at + np.array([[0, 0], [wide, 0], [wide, high], [0, high]])
        side = np.stack([wall[1], wall[1] * 0.7 + point * 0.3, wall[2] * 0.7 + point * 0.3, wall[2]])
        canvas.fill(side, scaled(fill, 0.6))
        canvas.fill(wall, fill)
        rows, columns = rng.integers(2, 9, 2)
        glass = colour(rng)
        for row in range(rows):
            for column in range(columns):
                corner = at + np.array([(column + 0.2) * wide / columns, (row + 0.2) * high / rows])
                pane = corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (
                    wide / columns * 0.6,
                    high / rows * 0.6,
                )
                canvas.fill(pane, near(rng, glass, 15))
                canvas.line(pane, scaled(fill, 0.4), width * 0.6, closed=True)
        canvas.line(wall, scaled(fill, 0.25), width, closed=True)
    for _ in range(int(rng.integers(0, 14))):
        canvas.line(
            np.stack([point, rng.uniform(0, 1, 2) * size]),
            colour(rng, (0, 0.5)),
            width * rng.uniform(0.4, 1.2),
        )


def rays(canvas: Canvas, rng: Rng) -> None:
    """Speed lines around a point, tapered."""
    size, tone = canvas.size, near(rng, (20, 20, 20), 15) if rng.random() < 0.6 else colour(rng)
    middle, inner = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.1, 0.5) * size
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(20, 140))):
        way = np.array([np.cos(angle), np.sin(angle)])
        line = middle + way * np.linspace(inner * rng.uniform(0.8, 1.6), size * 1.2, 12)[:, None]
        canvas.stroke(line, tone, rng.uniform(1, 9), (0, 1))


def text(canvas: Canvas, rng: Rng) -> None:
    """Lettering with or without a border, Latin or made-up signs of strokes."""
    size, height = canvas.size, rng.uniform(9, 70)
    at = rng.uniform(-0.1, 0.7, 2) * size
    ink, border = rng.permutation(np.array([(250, 250, 250), (15, 15, 18), colour(rng)]))[:2]
    edge = float(rng.choice([0, 0, 1, 2.0, 3.0]))
    if rng.random() < 0.5:
        _latin(canvas, rng, at, height, (tuple(ink), tuple(border), edge))
        return
    width = height * rng.uniform(0.05, 0.13)
    for _ in range(int(rng.integers(2, 14))):
        strokes = [_sign_stroke(rng, at, height) for _ in range(int(rng.integers(3, 11)))]
        for grown, tone in ((2 * edge, border), (0.0, ink)):
            if grown or tone is ink:
                for line in strokes:
                    canvas.line(line, tuple(tone), width + grown)
        at = at + np.array([height * 1.1, 0])


def _sign_stroke(rng: Rng, at: Floats, height: float) -> Floats:
    a, b = rng.integers(0, 5, (2, 2)) / 4.0
    way = rng.integers(0, 4)
    b = np.array([b[0], a[1]]) if way == 0 else np.array([a[0], b[1]]) if way == 1 else b
    return np.asarray(at + np.stack([a, b]) * height)


def _latin(canvas: Canvas, rng: Rng, at: Floats, height: float, look: tuple[Colour, Colour, float]) -> None:
    ink, border, edge = look
    letters = "".join(
        rng.choice(list("ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789!?.,- "), 16)
    )
    plane = PIL.Image.fromarray(canvas.pixels)
    font = PIL.ImageFont.load_default(max(8, height * OVERSAMPLING))
    PIL.ImageDraw.Draw(plane).text(
        tuple(at * OVERSAMPLING), letters, tuple(int(c) for c in ink), font,
        stroke_width=round(edge * OVERSAMPLING), stroke_fill=tuple(int(c) for c in border),
    )  # fmt: skip
    canvas.pixels = np.array(plane)


def tone(canvas: Canvas, rng: Rng) -> None:
    """Screentone: dots on a turned grid, or hatching, inside a shape."""
    edge = canvas.pixels.shape[0]
    y, x = np.mgrid[0:edge, 0:edge].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 22) * OVERSAMPLING
    u = (x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))) * np.float32(2 * np.pi / period)
    v = (y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))) * np.float32(2 * np.pi / period)
    wave = np.cos(u) + np.cos(v) if rng.random() < 0.6 else 2 * np.cos(u)
    level = rng.uniform(-1.2, 1.2) + field(rng, edge, edge / 2) * rng.choice([0.0, 1.0])
    dots = np.clip((wave - level) * period / 10 + 0.5, 0, 1)
    inside = canvas.mask(
        blob(rng, rng.uniform(0.2, 0.8, 2) * canvas.size, canvas.size * rng.uniform(0.2, 0.6))
    )
    canvas.paint(colour(rng), dots * (inside / np.float32(255)) * rng.uniform(0.3, 1.0))


def light(canvas: Canvas, rng: Rng) -> None:
    """Glowing lines, bubbles and sparks, added as light."""
    size, tint = canvas.size, colour(rng, (0.7, 1.0), (0, 0.5))
    layer = Canvas(size)
    for at in places(rng, size, int(rng.integers(3, 30))):
        kind = rng.integers(3)
        if kind == 0:
            layer.stroke(wander(rng, at, size * rng.uniform(0.05, 0.7), 0.3), tint, rng.uniform(0.7, 5))
        elif kind == 1:
            radius = rng.uniform(2, 30)
            layer.line(ellipse(at, (radius, radius)), scaled(tint, 0.8), rng.uniform(0.6, 2), closed=True)
            layer.stroke(ellipse(at, (radius * 0.7, radius * 0.7))[4:12], tint, radius * 0.2)
        else:
            layer.fill(ellipse(at, (rng.uniform(0.6, 4),) * 2), tint)
    lit: Floats = layer.pixels.astype(np.float32)
    lit = np.maximum(lit, soft(lit, rng.uniform(4, 40)) * rng.uniform(0.5, 2.5)) / 255
    under = canvas.pixels.astype(np.float32)
    canvas.pixels = np.clip(255 - (255 - under) * (1 - lit.clip(0, 1)), 0, 255).astype(np.uint8)


def leaves_of_shapes(canvas: Canvas, rng: Rng) -> None:
    """Dead leaves: shapes of power-law sizes over each other, flat or textured, as in pictures of any kind.

    After Achddou, Gousseau, Ladjal: Synthetic images as a regularity prior for image restoration (2021).
    """
    size = canvas.size
    palette = [colour(rng, (0.05, 1.0)) for _ in range(int(rng.integers(3, 12)))]
    smallest, outlined = rng.uniform(1, 9), rng.random() < 0.4
    count = int(rng.integers(300, 1500))
    radii = np.sort((rng.random(count) * (smallest**-2 - (size / 3) ** -2) + (size / 3) ** -2) ** -0.5)[::-1]
    grains = [_grain(rng, canvas.pixels.shape[0]) for _ in range(3)]
    order = rng.permutation(count) if rng.random() < 0.4 else np.arange(count)
    for radius, at in zip(radii[order], places(rng, size, count), strict=True):
        base = near(rng, palette[int(rng.integers(len(palette)))], 15)
        form = rng.integers(3)
        if form == 0:
            shape = ellipse(at, (radius, radius * rng.uniform(0.3, 1)), rng.uniform(0, np.pi), 24)
        elif form == 1:
            shape = blob(rng, at, radius)
        else:
            shape = ellipse(
                at, (radius, radius * rng.uniform(0.2, 1)), rng.uniform(0, np.pi), int(rng.integers(3, 6))
            )
        canvas.fill(shape, base)
        if radius > 24 and rng.random() < 0.5:
            inside = canvas.mask(shape) / np.float32(255)
            canvas.paint(near(rng, base, 50), inside * grains[int(rng.integers(3))])
        if outlined:
            canvas.line(shape, scaled(base, 0.4), rng.uniform(0.6, 2.0), closed=True)


def _grain(rng: Rng, edge: int) -> Floats:
    """Noise of one scale, or stripes, in 0..1."""
    grain = fractal(rng, edge, rng.uniform(4, 60), gain=0.7) if rng.random() < 0.7 else _stripes(rng, edge)
    return np.asarray((grain * 0.5 + 0.5).clip(0, 1))


def _stripes(rng: Rng, edge: int) -> Floats:
    y, x = np.mgrid[0:edge, 0:edge].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 30) * OVERSAMPLING
    bent = field(rng, edge, edge / 3) * rng.uniform(0, 3)
    wave = np.sin((x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) * 2 * np.pi / period + bent)
    return np.asarray(np.clip(wave * rng.uniform(1, 8), -1, 1))


def cells(canvas: Canvas, rng: Rng) -> None:
    """Free outlined shapes, hair and strokes without a subject."""
    width = line_width(rng)
    for at in places(rng, canvas.size, int(rng.integers(3, 16))):
        kind, radius = rng.random(), canvas.size * rng.uniform(0.04, 0.3)
        if kind < 0.6:
            cell(canvas, rng, blob(rng, at, radius), colour(rng), width * rng.uniform(0.7, 1.3))
        elif kind < 0.8:
            locks(canvas, rng, at, radius * 2, colour(rng), width)
        else:
            eye(canvas, rng, at, radius * 0.5)


def strokes(canvas: Canvas, rng: Rng) -> None:
    """Free pen strokes of varying width."""
    tone_ = near(rng, (20, 18, 20), 20) if rng.random() < 0.6 else colour(rng)
    for at in places(rng, canvas.size, int(rng.integers(5, 60))):
        canvas.stroke(wander(rng, at, canvas.size * rng.uniform(0.03, 0.5), 0.4), tone_, line_width(rng))


def airbrush(canvas: Canvas, rng: Rng) -> None:
    """Several soft spots over all."""
    for at in places(rng, canvas.size, int(rng.integers(2, 9))):
        shade(canvas, rng, at, canvas.size * rng.uniform(0.05, 0.4), colour(rng))


def subject(canvas: Canvas, rng: Rng) -> None:
    """One to three faces, figures or machines."""
    for _ in range(int(rng.integers(1, 4))):
        centre, radius = rng.uniform(0.2, 0.8, 2) * canvas.size, canvas.size * rng.uniform(0.07, 0.3)
        draw = rng.choice(np.array([partial(face), partial(figure), partial(machine)], dtype=object))
        draw(canvas, rng, centre, radius)
