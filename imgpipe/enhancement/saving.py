"""Saves a picture: format by rule and priority, size (bytes) where one is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.enhancement.enhance import largest_size
from imgpipe.enhancement.formats import LOSSY, Encoding, encoding_for, fit_bit_depth
from imgpipe.enhancement.largest_file import least_long_side, reach
from imgpipe.enhancement.least_file import grow
from imgpipe.enhancement.workbench import Attempt, Candidate, Workbench
from imgpipe.errors import EncodeError
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.images.image import Image
from imgpipe.settings import EnhanceSettings, LimitSettings

_DEFAULTS = LimitSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """One file and how it came about.

    ``image`` is what was encoded: 8 bits or another size than what was to be saved only where ``reasons`` or
    ``attempts`` say so. ``min_bytes_met``, ``max_bytes_met``: ``None`` where that limit is not set.
    ``attempts``: every encoding tried, in order. ``passed_over``: format -> why it could not hold the
    picture. ``reasons``: warnings.
    """

    data: bytes
    format: str
    extension: str
    min_bytes_met: bool | None
    max_bytes_met: bool | None
    attempts: tuple[Attempt, ...]
    image: Image
    quality: int | None = None
    passed_over: tuple[tuple[str, str], ...] = ()
    reasons: tuple[str, ...] = ()


def save(
    image: Image,
    settings: EnhanceSettings,
    *,
    source: Image | None = None,
    limits: LimitSettings = _DEFAULTS,
) -> Saved:
    """``image`` in the first format of the priority that can hold it (:mod:`imgpipe.enhancement.formats`).

    With ``settings.max_bytes`` the file is brought to at most that size
    (:mod:`imgpipe.enhancement.largest_file`); where that cannot be done, the smallest file that was made is
    the result. With ``settings.min_bytes`` it is brought to at least that size
    (:mod:`imgpipe.enhancement.least_file`); where that cannot be done, it stays as planned. ``source``: the
    picture that ``image`` was enlarged from; other sizes are then made from it, with one resize instead of
    two. ``limits``: how large a picture may become for ``min_bytes``.

    Raises :class:`EncodeError` where no format of the priority can hold the picture.
    """
    priority = settings.save_format_priority
    image, reasons = fit_bit_depth(image, priority)
    if source is not None:
        source, _ = fit_bit_depth(source, priority)
    bench = Workbench(image, source, settings.kernel)
    if settings.max_bytes is None:
        found: Candidate | None = _first(bench, settings)
    else:
        found = reach(bench, settings, settings.max_bytes)
    small_enough = found is not None
    found = found or bench.smallest
    if found is None:
        raise _nothing_holds(bench, settings)
    if settings.max_bytes is not None and not small_enough:
        reasons = (*reasons, _too_large(bench, found, settings, settings.max_bytes))
    if settings.min_bytes is not None and found.size_bytes < settings.min_bytes:
        longest = max(largest_size(image.width, image.height, settings, limits))
        grown = grow(bench, settings, longest, found, settings.min_bytes)
        if grown is None:
            reasons = (*reasons, _too_small(bench, found, settings, limits))
        found = grown or found
    return Saved(
        data=found.data,
        format=found.encoding.format,
        extension=EXTENSIONS[found.encoding.format],
        min_bytes_met=None if settings.min_bytes is None else found.size_bytes >= settings.min_bytes,
        max_bytes_met=None if settings.max_bytes is None else small_enough,
        attempts=tuple(bench.attempts),
        image=found.image,
        quality=found.encoding.quality,
        passed_over=tuple(bench.passed_over.items()),
        reasons=(*reasons, *_changed(bench, found, settings)),
    )


def _first(bench: Workbench, settings: EnhanceSettings) -> Candidate:
    for name in settings.save_format_priority:
        candidate = bench.make(encoding_for(bench.image, name, settings.quality))
        if candidate is not None:
            return candidate
    raise _nothing_holds(bench, settings)


def _changed(bench: Workbench, found: Candidate, settings: EnhanceSettings) -> tuple[str, ...]:
    """What was done to the picture or its file for the sake of a number of bytes."""
    before, after = bench.image, found.image
    reasons = []
    if after.width != before.width or after.height != before.height:
        done, name, wanted = ("enlarged", "min_bytes", settings.min_bytes)
        if after.width < before.width:
            done, name, wanted = ("reduced", "max_bytes", settings.max_bytes)
        reasons.append(
            f"{done} from {before.width}x{before.height} to {after.width}x{after.height} px for "
            f"enhance.{name}={wanted:,}"
        )
    if found.encoding in (Encoding("PNG", effort="loose"), Encoding("PNG", effort="stored")):
        how = "with less" if found.encoding.effort == "loose" else "without"
        reasons.append(f"PNG written {how} compression for enhance.min_bytes={settings.min_bytes:,}")
    return tuple(reasons)


def _too_small(bench: Workbench, found: Candidate, settings: EnhanceSettings, limits: LimitSettings) -> str:
    ceiling = settings.max_bytes
    usable = [one for one in bench.attempts if ceiling is None or one.bytes <= ceiling]
    largest = max(usable, key=lambda one: one.bytes)
    width, height = bench.size_at(round(largest.scale * bench.long_side))
    over = len(bench.attempts) - len(usable)
    return (
        f"enhance.min_bytes={settings.min_bytes:,} not reached: the largest of {len(bench.attempts)} files "
        f"({largest.format}, {width}x{height} px) has {largest.bytes:,} bytes"
        + (f", {over} more are above enhance.max_bytes={ceiling:,}" if over else "")
        + f"; pictures are enlarged for it up to 20 px a byte and limits.max_output_pixels="
        f"{limits.max_output_pixels:,}"
        + ("" if "PNG" in settings.save_format_priority else "; allow PNG, which can be written uncompressed")
        + f"; the file stays as planned, with {found.size_bytes:,} bytes"
    )


def _too_large(bench: Workbench, smallest: Candidate, settings: EnhanceSettings, limit: int) -> str:
    width, height = bench.size_at(least_long_side(bench, settings))
    unused = [name for name in LOSSY if name not in settings.save_format_priority]
    return (
        f"enhance.max_bytes={limit:,} not reached: the smallest of {len(bench.attempts)} files "
        f"({smallest.encoding.format}, {smallest.image.width}x{smallest.image.height} px) has "
        f"{smallest.size_bytes:,} bytes, and enhance.min_width={settings.min_width}, "
        f"min_height={settings.min_height} allow no less than {width}x{height} px; raise the limit or lower "
        f"these minima{', or allow ' + ' or '.join(unused) if unused else ''}"
    )


def _nothing_holds(bench: Workbench, settings: EnhanceSettings) -> EncodeError:
    image = bench.image
    why = "; ".join(f"{name}: {reason}" for name, reason in bench.passed_over.items())
    return EncodeError(
        f"expected a format that can hold {image.width}x{image.height} px of {image.channels} channels, "
        f"enhance.save_format_priority=[{', '.join(settings.save_format_priority)}] has none ({why}); "
        "add PNG to it"
    )
