"""Saves a picture: format by rule and priority, size (bytes) where one is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.enhancement.formats import LOSSY, encoding_for, fit_bit_depth
from imgpipe.enhancement.target_size import least_long_side, reach
from imgpipe.enhancement.workbench import Attempt, Candidate, Workbench
from imgpipe.errors import EncodeError
from imgpipe.images.encode import EXTENSIONS
from imgpipe.images.image import Image
from imgpipe.settings import EnhanceSettings


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """One file and how it came about.

    ``image`` is what was encoded: 8 bits or smaller than what was to be saved only where ``reasons`` or
    ``attempts`` say so. ``target_met``: ``None`` where no size was asked for. ``attempts``: every encoding
    tried, in order. ``passed_over``: format -> why it could not hold the picture. ``reasons``: warnings.
    """

    data: bytes
    format: str
    extension: str
    target_met: bool | None
    attempts: tuple[Attempt, ...]
    image: Image
    quality: int | None = None
    passed_over: tuple[tuple[str, str], ...] = ()
    reasons: tuple[str, ...] = ()


def save(image: Image, settings: EnhanceSettings, *, source: Image | None = None) -> Saved:
    """``image`` in the first format of the priority that can hold it (:mod:`imgpipe.enhancement.formats`).

    With ``settings.target_bytes`` the file is brought to at most that size
    (:mod:`imgpipe.enhancement.target_size`); where that cannot be done, the smallest file that was made is
    the result and ``target_met`` is ``False``. ``source``: the picture that ``image`` was enlarged from;
    smaller sizes are then made from it, with one resize instead of two.

    Raises :class:`EncodeError` where no format of the priority can hold the picture.
    """
    priority = settings.save_format_priority
    image, reasons = fit_bit_depth(image, priority)
    if source is not None:
        source, _ = fit_bit_depth(source, priority)
    bench = Workbench(image, source, settings.model)
    if settings.target_bytes is None:
        return _saved(bench, _first(bench, settings), None, reasons)
    found = reach(bench, settings, settings.target_bytes)
    if found is not None:
        return _saved(bench, found, True, (*reasons, *_smaller(bench, found, settings.target_bytes)))
    smallest = bench.smallest
    if smallest is None:
        raise _nothing_holds(bench, settings)
    missed = _missed(bench, smallest, settings, settings.target_bytes)
    return _saved(bench, smallest, False, (*reasons, missed))


def _first(bench: Workbench, settings: EnhanceSettings) -> Candidate:
    for name in settings.save_format_priority:
        candidate = bench.make(encoding_for(bench.image, name, settings.quality))
        if candidate is not None:
            return candidate
    raise _nothing_holds(bench, settings)


def _saved(
    bench: Workbench, candidate: Candidate, target_met: bool | None, reasons: tuple[str, ...]
) -> Saved:
    encoding = candidate.encoding
    return Saved(
        data=candidate.data,
        format=encoding.format,
        extension=EXTENSIONS[encoding.format],
        target_met=target_met,
        attempts=tuple(bench.attempts),
        image=candidate.image,
        quality=encoding.quality,
        passed_over=tuple(bench.passed_over.items()),
        reasons=reasons,
    )


def _smaller(bench: Workbench, found: Candidate, target: int) -> tuple[str, ...]:
    if found.image is bench.image:
        return ()
    return (
        f"reduced from {bench.image.width}x{bench.image.height} to {found.image.width}x"
        f"{found.image.height} px to reach enhance.target_bytes={target:,}",
    )


def _missed(bench: Workbench, smallest: Candidate, settings: EnhanceSettings, target: int) -> str:
    width, height = bench.size_at(least_long_side(bench, settings))
    unused = [name for name in LOSSY if name not in settings.save_format_priority]
    return (
        f"enhance.target_bytes={target:,} not reached: the smallest of {len(bench.attempts)} files "
        f"({smallest.encoding.format}, {smallest.image.width}x{smallest.image.height} px) has "
        f"{smallest.size_bytes:,} bytes, and enhance.min_width={settings.min_width}, "
        f"min_height={settings.min_height} allow no less than {width}x{height} px; raise the target or lower "
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
