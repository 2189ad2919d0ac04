"""A bake-off of three candidates on two pictures, one of which a candidate could not make."""

from __future__ import annotations

import numpy as np

from imgpipe.bakeoff.shown import Box, part, whole
from imgpipe.images.image import Image
from imgpipe.report.bakeoff import Bakeoff, Entrant, Outcome, Shown, Subject

HOSTILE = "b/</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>.png"


def shown(level: int) -> Shown:
    image = Image(np.full((60, 80, 4), level, np.uint8))
    return Shown(whole(image), part(image, Box(0.25, 0.25, 0.5, 0.5)))


def outcome(status: str, seconds: float, score: float, psnr: float = 30.0) -> Outcome:
    return Outcome(
        status,
        model="onnx fp32 cpu",
        seconds={"read": 0.1, "decode": 0.1, "compute": seconds, "encode": 0.2, "network": seconds / 2},
        megapixels=2.0,
        peak_bytes=300_000_000,
        scores={"psnr": psnr},
        truth={"s_measure": score, "mba": None},
        shown=shown(200),
    )


def bakeoff(action: str = "rembg", price: float | None = 3.6) -> Bakeoff:
    failed = Outcome("error", "DecodeError: <b>cut</b>")
    results = [
        [outcome("ok", 4.0, 0.6), outcome("ok", 1.0, 0.8)],
        [outcome("ok", 9.0, 0.9), outcome("rejected", 2.0, 0.9)],
        [outcome("ok", 1.0, 1.0), failed],
    ]
    return Bakeoff(
        action,
        source="/pictures",
        truth="/truth",
        listed=40,
        seed=0,
        left_out=("x.png: <i>HTML</i>",),
        entrants=[Entrant(name, name, 1.5) for name in ("最初", "second", "third")],
        subjects=[
            Subject(name, 80, 60, (40, 30), shown(90), shown(250), (), [made[place] for made in results])
            for place, name in enumerate(("a.png", HOSTILE))
        ],
        price_per_hour=price,
    )
