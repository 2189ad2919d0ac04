"""Mutated image files through the isolated decoder: only imgpipe's errors, nothing slower than ten seconds.

    python scripts/fuzz_decode.py --seconds 600
    python scripts/fuzz_decode.py --seed 7 --only 1234 --keep failures/     one case again, its file kept

A case is known by its seed and number. Each is decoded in a worker process, so that a crash, an exception
of another kind, or a hang is counted, kept and reported, and the run goes on. A file that decodes is written
as PNG and decoded once more, which must give the same picture. Exit code 1 where anything failed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from imgpipe.errors import ImgpipeError
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.isolation import IsolatedDecoder
from imgpipe.images.metadata import without_exif_thumbnail, without_xmp_thumbnails
from imgpipe.settings import IsolationSettings, LimitSettings
from imgpipe_tests.images.seeds import seed_files

LIMITS = LimitSettings(max_pixels=1_000_000)
SLOWEST_ALLOWED_SECONDS = 10.0
#: Values at which counts, sizes and offsets overflow or turn negative.
_EDGES = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\0\0\0\1",
    b"\1\0\0\0",
]


@dataclass
class Report:
    """What came of all cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest_case: int = -1

    def print(self, seed: int, seconds: float) -> None:
        cases = sum(self.outcomes.values())
        print(f"{cases:,} cases of seed {seed} in {seconds:.0f} s:")
        for outcome, count in self.outcomes.most_common():
            print(f"  {count:9,} {outcome}")
        print(f"slowest: case {self.slowest_case} with {self.slowest_seconds:.3f} s")
        print(f"failures: {len(self.failures)}")
        for failure in self.failures[:50]:
            print(f"  {failure}")


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    seeds = seed_files()
    report = Report()
    start = time.monotonic()
    numbers = iter([options.only]) if options.only is not None else iter(range(1 << 62))
    settings = IsolationSettings(timeout_seconds=2 * SLOWEST_ALLOWED_SECONDS)
    with IsolatedDecoder(settings, 1) as decoder:
        for number in numbers:
            if time.monotonic() - start > options.seconds:
                break
            data = mutated(seeds, options.seed, number)
            failure = _try(decoder, data, number, report)
            if failure:
                report.failures.append(f"case {number}: {failure}")
            if options.keep and (failure or options.only is not None):
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{options.seed}-{number}.bin").write_bytes(data)
    report.print(options.seed, time.monotonic() - start)
    return 1 if report.failures else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--seed", type=int, default=None, help="of the mutations; default: another each time")
    parser.add_argument("--only", type=int, help="number of one case to repeat")
    parser.add_argument("--keep", type=Path, help="folder that receives the files of failed cases")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    return options


# ---------------------------------------------------------------- one case


def mutated(seeds: list[bytes], seed: int, number: int) -> bytes:
    """The file of one case: a good one changed in a few places, most of them near its start."""
    choose = random.Random(f"{seed} {number}")  # noqa: S311 -- repeatable is what is wanted
    data = bytearray(choose.choice(seeds))
    for _ in range(choose.choice([1, 1, 1, 2, 2, 3, 5, 8])):
        reach = len(data) if choose.random() < 0.5 else min(len(data), 400)
        at = choose.randrange(reach) if reach else 0
        choose.choice(_CHANGES)(data, at, choose)
    if choose.random() < 0.5:
        _mend_png(data)
    return bytes(data)


def _mend_png(data: bytearray) -> None:
    """Checksums that fit again, so that what was changed gets past them."""
    at = 8
    while data[:4] == b"\x89PNG" and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big") if end < len(data) else b""
        at = end + 4


def _flip(data: bytearray, at: int, choose: random.Random) -> None:
    if data:
        data[at] ^= 1 << choose.randrange(8)


def _set(data: bytearray, at: int, choose: random.Random) -> None:
    data[at : at + choose.randint(1, 4)] = choose.randbytes(choose.randint(1, 4))


def _edge(data: bytearray, at: int, choose: random.Random) -> None:
    data[at : at + 4] = choose.choice(_EDGES)


def _cut(data: bytearray, at: int, choose: random.Random) -> None:
    del data[at : at + choose.randint(1, 64)]


def _double(data: bytearray, at: int, choose: random.Random) -> None:
    data[at:at] = data[at : at + choose.randint(1, 64)] * choose.randint(1, 20)


def _move(data: bytearray, at: int, choose: random.Random) -> None:
    piece = data[at : at + choose.randint(1, 64)]
    to = choose.randrange(len(data) + 1)
    data[to : to + len(piece)] = piece


def _end(data: bytearray, at: int, choose: random.Random) -> None:
    del data[max(1, at) :]


_CHANGES: list[Callable[[bytearray, int, random.Random], None]] = [
    *(_flip, _flip, _set, _set, _edge, _edge, _cut, _double, _move, _end)
]


def _try(decoder: IsolatedDecoder, data: bytes, number: int, report: Report) -> str:
    """Decode one file and count what came of it; what was wrong about that, or nothing."""
    lost = decoder.workers_lost
    start = time.monotonic()
    failure = ""
    try:
        image = decoder.decode(data, name=f"case {number}", limits=LIMITS)
    except ImgpipeError as exc:
        outcome = type(exc).__name__
        if decoder.workers_lost != lost:
            outcome, failure = "worker lost", str(exc)
    else:
        outcome = f"image ({image.source_format})"
        failure = _fault(decoder, image)
    seconds = time.monotonic() - start
    report.outcomes[outcome] += 1
    if seconds > report.slowest_seconds:
        report.slowest_seconds, report.slowest_case = seconds, number
    if seconds > SLOWEST_ALLOWED_SECONDS:
        failure = failure or f"took {seconds:.1f} s"
    return failure


def _fault(decoder: IsolatedDecoder, image: Image) -> str:
    again = decoder.decode(encode(image, zero_transparent=False), name="written again", limits=LIMITS)
    same = again.pixels.dtype == image.pixels.dtype and np.array_equal(again.pixels, image.pixels)
    kept = (image.icc, without_exif_thumbnail(image.exif), without_xmp_thumbnails(image.xmp))
    if not same or (again.icc, again.exif, again.xmp) != kept:
        return f"a decoded {image.source_format} is another picture after it was written as PNG"
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
