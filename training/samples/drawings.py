"""The sample drawings with their exact mattes, for the demo and as ground truth of tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import PIL.Image

from imgpipe.images.image import Image, Pixels
from imgpipe.images.srgb import srgb_profile
from training.samples import backgrounds
from training.samples.canvas import Canvas, Plane, composite
from training.samples.cast import choose_characters
from training.samples.character import Character, draw_bust, draw_figure
from training.samples.objects import draw_cat, draw_lantern
from training.samples.palette import tone


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One drawing and its components.

    ``image``: the picture, upright; 8 or 16 bits, grey, RGB or RGBA (straight alpha).
    ``mask``: (h, w) uint8, the subject's exact alpha, antialiased 0..255.
    ``foreground``, ``backdrop``: (h, w, 1 or 3) in the image's dtype; the colours that were composited:
    ``image = foreground * mask/255 + backdrop * (1 - mask/255)``, rounded. ``foreground`` is 0 where the
    mask is; a transparent drawing has ``image = (foreground, mask)`` and no backdrop.
    ``background``: ``flat``, ``gradient``, ``busy`` or ``transparent``. ``file_format``: ``PNG``, ``WEBP``
    or ``JPEG``. ``jpeg_quality``: 0 where it is no JPEG. ``stored_orientation``: the EXIF orientation with
    which the file holds the pixels (1 = upright).
    """

    name: str
    image: Image
    mask: Plane
    background: str
    file_format: str
    foreground: Pixels
    backdrop: Pixels | None = None
    jpeg_quality: int = 0
    stored_orientation: int = 1


def draw_samples(seed: int = 0) -> list[Drawing]:
    """Fourteen drawings; the same seed and library versions give the same pixels.

    The seed chooses the characters (colours, hair, clothes, face, pose) and the details of the
    backgrounds; names, sizes and file formats are always the same.
    """
    cast = choose_characters(len(_RECIPES), np.random.default_rng([seed, 0]))
    return [
        recipe(who, np.random.default_rng([seed, number]))
        for number, (recipe, who) in enumerate(zip(_RECIPES, cast, strict=True), start=1)
    ]


def _bust(
    width: int, height: int, who: Character, rng: np.random.Generator, *, x: float = 0.5, size: float = 0.205
) -> Canvas:
    canvas = Canvas(width, height)
    draw_bust(canvas.at((width * x, height * 0.42), height * size), who, rng)
    return canvas


def _figure(
    width: int,
    height: int,
    who: Character,
    rng: np.random.Generator,
    *,
    y: float = 0.355,
    size: float = 0.178,
) -> Canvas:
    canvas = Canvas(width, height)
    draw_figure(canvas.at((width * 0.5, height * y), height * size), who, rng)
    return canvas


def _composed(
    name: str, canvas: Canvas, backdrop: Pixels, background: str, file_format: str = "PNG", **more: int
) -> Drawing:
    colour, mask = canvas.reduce()
    if backdrop.shape[2] == 1:
        colour = cast(Plane, cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None])
    foreground: Pixels = colour if backdrop.dtype == np.uint8 else colour.astype(np.uint16) * np.uint16(257)
    return Drawing(
        name=name,
        image=Image(composite(foreground, backdrop, mask)),
        mask=mask,
        background=background,
        file_format=file_format,
        foreground=foreground,
        backdrop=backdrop,
        **more,
    )


def _cut_out(name: str, canvas: Canvas, file_format: str) -> Drawing:
    colour, mask = canvas.reduce()
    image = Image(np.ascontiguousarray(np.dstack([colour, mask])))
    return Drawing(name, image, mask, "transparent", file_format, foreground=colour)


def _flat_portrait(who: Character, rng: np.random.Generator) -> Drawing:
    who = replace(who, eyes="open")
    return _composed(
        "01_portrait_flat",
        _bust(384, 448, who, rng),
        backgrounds.flat(384, 448, (238, 232, 218)),
        "flat",
    )


def _sky_wave(who: Character, rng: np.random.Generator) -> Drawing:
    who = replace(
        who, waving=True, mouth="open", style="long" if who.style in ("ponytail", "twintails") else who.style
    )
    canvas = _bust(448, 448, who, rng, x=0.46)
    stops = [(88, 158, 232), (150, 204, 246), (224, 242, 252)]
    return _composed("02_wave_sky", canvas, backgrounds.vertical_gradient(448, 448, stops), "gradient")


def _city(who: Character, rng: np.random.Generator) -> Drawing:
    return _composed(
        "03_night_city", _bust(384, 480, who, rng), backgrounds.night_city(384, 480, rng), "busy"
    )


def _sticker(who: Character, rng: np.random.Generator) -> Drawing:
    return _cut_out("04_sticker_transparent", _figure(352, 448, who, rng), "PNG")


def _dusk(who: Character, rng: np.random.Generator) -> Drawing:
    stops = [(38, 30, 84), (122, 62, 128), (226, 116, 120), (252, 196, 142)]
    return _composed(
        "05_dusk_16bit",
        _bust(384, 448, who, rng),
        backgrounds.vertical_gradient_16(384, 448, stops),
        "gradient",
    )


def _blocks(who: Character, rng: np.random.Generator) -> Drawing:
    canvas = _bust(400, 400, who, rng)
    paper = backgrounds.flat(400, 400, (236, 230, 214)) + rng.normal(0, 8, (400, 400, 1))
    backdrop = np.clip(np.rint(paper), 0, 255).astype(np.uint8)
    return _composed("06_jpeg_blocks", canvas, backdrop, "flat", "JPEG", jpeg_quality=48)


def _evening(who: Character, rng: np.random.Generator) -> Drawing:
    stops = [(252, 232, 214), (250, 196, 196), (206, 168, 216)]
    canvas = _bust(384, 448, replace(who, outfit="kimono", accessory="flower"), rng)
    return _composed(
        "07_kimono_lossless", canvas, backgrounds.vertical_gradient(384, 448, stops), "gradient", "WEBP"
    )


def _manga(who: Character, rng: np.random.Generator) -> Drawing:
    paper = np.full((464, 368, 1), 8, np.uint8)
    return _composed("08_manga_grey", _bust(368, 464, who, rng), paper, "flat")


def _phone(who: Character, rng: np.random.Generator) -> Drawing:
    stops = [(206, 232, 240), (244, 240, 220)]
    backdrop = backgrounds.vertical_gradient(400, 480, stops)
    drawing = _composed(
        "09_rotated_icc", _bust(400, 480, who, rng), backdrop, "gradient", "JPEG",
        jpeg_quality=92, stored_orientation=6,
    )  # fmt: skip
    image = replace(drawing.image, icc=srgb_profile(), exif=exif_block(1))
    return replace(drawing, image=image)


def _lantern(who: Character, rng: np.random.Generator) -> Drawing:
    canvas = Canvas(352, 448)
    draw_lantern(canvas.at((176.0, 218.0), 92.0, 4.0), tone(14, 0.72, 0.90), tone(40, 0.55, 0.88))
    stops = [(26, 32, 74), (64, 60, 118), (128, 92, 140)]
    return _composed("10_lantern_object", canvas, backgrounds.vertical_gradient(352, 448, stops), "gradient")


def _poster(who: Character, rng: np.random.Generator) -> Drawing:
    canvas = _figure(400, 512, replace(who, mouth="open", eyes="wink"), rng, y=0.43, size=0.145)
    backdrop = backgrounds.poster(400, 512, ("HELLO!", "SUMMER FESTIVAL"), who.accent.line, (250, 228, 150))
    return _composed("11_poster_text", canvas, backdrop, "flat")


def _rays(who: Character, rng: np.random.Generator) -> Drawing:
    canvas = _bust(416, 416, who, rng)
    backdrop = backgrounds.rays(416, 416, (252, 206, 214), (254, 236, 226))
    return _composed("12_rays_jpeg", canvas, backdrop, "busy", "JPEG", jpeg_quality=95)


def _garden(who: Character, rng: np.random.Generator) -> Drawing:
    return _composed("13_garden_busy", _figure(448, 480, who, rng), backgrounds.garden(448, 480, rng), "busy")


def _cat(who: Character, rng: np.random.Generator) -> Drawing:
    canvas = Canvas(384, 384)
    fur = (tone(35, 0.45, 0.96), tone(25, 0.12, 0.94), tone(225, 0.16, 0.50))[int(rng.integers(3))]
    draw_cat(canvas.at((184.0, 200.0), 122.0), fur, who.accent)
    return _cut_out("14_cat_transparent", canvas, "WEBP")


def exif_block(orientation: int) -> bytes:
    """A TIFF-formed EXIF block with this orientation and the program's name."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    exif[0x0131] = "imgpipe samples"
    return exif.tobytes().removeprefix(b"Exif\0\0")


_RECIPES: tuple[Callable[[Character, np.random.Generator], Drawing], ...] = (
    _flat_portrait, _sky_wave, _city, _sticker, _dusk, _blocks, _evening,
    _manga, _phone, _lantern, _poster, _rays, _garden, _cat,
)  # fmt: skip
