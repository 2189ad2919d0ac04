"""Single pictures from Python, without Dagster: ``imgpipe.matte``, ``upscale``, ``score`` and ``process``.

A picture is given as

- the path of a file (``str`` or ``os.PathLike``) or its ``bytes``, in any format that imgpipe reads,
- an array of shape (height, width) or (height, width, 1..4): grey, grey + alpha, RGB or RGBA, straight alpha,
  uint8 (0..255) or uint16 (0..65535), taken as sRGB,
- a ``PIL.Image.Image``, with its ICC profile and EXIF.

Settings are keywords with the configuration's names (docs/configuration.md): ``matte`` takes those of
``rembg``, ``upscale`` those of ``upscale``, ``score`` those of ``quality``; all take whole sections and
top-level ones, as in ``device="cpu"``. As on the command line, ``imgpipe.yaml`` of the working directory
and the ``IMGPIPE_*`` environment count below them. Networks stay loaded between calls, which may come from
several threads.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from imgpipe import errors
from imgpipe.config import Settings, changed_settings, load_settings
from imgpipe.errors import ConfigError, DecodeError, ImageRejected, ImgpipeError
from imgpipe.images.file_formats import FILE_FORMATS, format_named
from imgpipe.records import Status
from imgpipe.single import Processed, read_file, score_pictures, write_file
from imgpipe.single import process as process_bytes

if TYPE_CHECKING:
    import dagster
    import PIL.Image

    Array = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    Picture = str | os.PathLike[str] | bytes | Array | PIL.Image.Image

Given = TypeVar("Given", bound="bytes | Array | PIL.Image.Image")

#: What messages call a picture that has no file.
_UNNAMED = "the picture"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a picture.

    ``data``: the result as a file (PNG, or what the action ``enhance`` chose); of a rejected picture the file
    that was rejected, empty where there is none. ``reasons``: why it was rejected. ``notes``: what was left
    out or done otherwise on the way, fallbacks among them. ``document``: quality.json's object with all
    metrics (imgpipe/quality/quality.schema.json); empty where a stage before scoring rejected the picture.
    ``seconds``: by step.
    """

    status: Status
    data: bytes
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    document: Mapping[str, Any]
    seconds: Mapping[str, float]

    def array(self) -> Array:
        """Pixels, (height, width, 1..4), uint8 or uint16, RGB order, straight alpha."""
        from imgpipe.images.decode import decode
        from imgpipe.settings import LimitSettings

        return decode(self.data, name="the result", limits=LimitSettings().for_own_files()).pixels

    def image(self) -> PIL.Image.Image:
        """As Pillow opens it; raises :class:`ConfigError` for 16 bits in colour, which Pillow cuts to 8."""
        import PIL.Image

        pixels = self.array()
        if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
            raise ConfigError(
                "expected a result of 8 bits for a PIL image, it has 16, which Pillow does not hold in "
                "colour; take array(), data or save()"
            )
        picture = PIL.Image.open(io.BytesIO(self.data))
        picture.load()
        return picture

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``data`` to ``path``, whole or not at all.

        Raises :class:`ConfigError` where ``path`` has another format's ending.
        """
        from imgpipe.images.sniff import sniff

        target, kind = Path(path).absolute(), sniff(self.data, "the result")
        if FILE_FORMATS.get(target.suffix.lower()) != kind:
            raise ConfigError(
                f"{path}: expected an ending of {kind}, which the result is; format= chooses another"
            )
        write_file(target, self.data)
        return target


def process(
    picture: Picture,
    actions: Sequence[str] | None = None,
    *,
    format: str = "",  # noqa: A002 -- the name that Pillow's users know
    **settings: Any,
) -> Result:
    """Run ``actions``, such as ``["rembg", "upscale"]`` (default: the setting), and score what comes out.

    ``format``: png, webp, jpeg, tiff or jxl, in any case (default: ``files.format``). ``settings``: sections
    and top-level ones, as in ``upscale={"scale": 2}``. Raises the errors of :mod:`imgpipe.errors`: of the
    picture (:class:`~imgpipe.errors.ImageError`), of settings and weights.
    """
    named = [actions] if isinstance(actions, str) else actions
    chosen = settings if named is None else {**settings, "actions": list(named)}
    data, name = _file_of(picture)
    loaded = load_settings(chosen)
    return _result(process_bytes(data, name, loaded, format_named(format or loaded.files.format)))


@overload
def matte(
    picture: str | os.PathLike[str], *, accept_rejected: bool = ..., **settings: Any
) -> PIL.Image.Image: ...
@overload
def matte(picture: Given, *, accept_rejected: bool = ..., **settings: Any) -> Given: ...
def matte(picture: Picture, *, accept_rejected: bool = False, **settings: Any) -> Any:
    """The cutout: the picture with the alpha of its subject, of the same kind as ``picture``.

    ``picture``: a path, bytes, an array or a PIL image; ``settings``: those of ``rembg``, and sections, as
    :mod:`imgpipe.api` says.

    For a path a PIL image, for bytes those of a PNG. Raises :class:`~imgpipe.errors.ImageRejected` where the
    matte is not to be trusted, or gives it all the same with ``accept_rejected``.
    """
    return _alike(picture, "rembg", settings, accept_rejected=accept_rejected)


@overload
def upscale(
    picture: str | os.PathLike[str], *, accept_rejected: bool = ..., **settings: Any
) -> PIL.Image.Image: ...
@overload
def upscale(picture: Given, *, accept_rejected: bool = ..., **settings: Any) -> Given: ...
def upscale(picture: Picture, *, accept_rejected: bool = False, **settings: Any) -> Any:
    """The enlargement, of the same kind as ``picture``: see :func:`matte`."""
    return _alike(picture, "upscale", settings, accept_rejected=accept_rejected)


def score(source: Picture, result: Picture, *, model: str = "", **settings: Any) -> dict[str, Any]:
    """The verdict on ``result``: quality.json's object (imgpipe/quality/quality.schema.json).

    ``result`` may have any size. ``status`` is ``ok`` or ``rejected``, ``reasons`` says why. ``model``: what
    made the result; without it what its file says, else a guess. ``profile_reason`` says which.
    """
    return score_pictures(_file_of(source), _file_of(result), _settings_of("quality", settings), model)[0]


def dataset_definitions(
    settings: Settings | Mapping[str, Any], *, key_prefix: str | None = None
) -> dagster.Definitions:
    """The assets, checks, jobs, sensors and schedules of a data set, for another Dagster project.

    ``settings``: a mapping as ``imgpipe.yaml`` has it, or those of :func:`imgpipe.config.load_settings`.
    ``key_prefix`` (setting ``assets.key_prefix``) stands before every asset's key and every other name, so
    that several data sets can be merged by ``Definitions.merge``.
    """
    from imgpipe.automation.build import dataset_definitions

    given = settings if isinstance(settings, Settings) else load_settings(settings)
    if key_prefix is not None:
        given = changed_settings(given, {"assets": {"key_prefix": key_prefix}})
    return dataset_definitions(given)


def _alike(picture: Picture, action: str, settings: Mapping[str, Any], *, accept_rejected: bool) -> Any:
    data, name = _file_of(picture)
    chosen = _settings_of(action, {**settings, "actions": [action]})
    result = _result(process_bytes(data, name, chosen, "PNG"))
    if result.status is Status.REJECTED and not (accept_rejected and result.data):
        said = "; ".join(result.reasons)
        raise ImageRejected(f"{name}: {said}; accept_rejected=True gives it all the same")
    if isinstance(picture, bytes):
        return result.data
    if isinstance(picture, np.ndarray):
        return result.array()
    return result.image()


def _result(done: Processed) -> Result:
    row = done.last
    if row.status is Status.ERROR:
        raise getattr(errors, row.error_class, ImgpipeError)(row.error_message)
    fallbacks = [each.model.fallback_reason for each in done.rows.values() if each.model is not None]
    return Result(
        status=row.status,
        data=done.data or done.rejected_data or b"",
        reasons=row.reasons,
        notes=(*done.notes, *filter(None, dict.fromkeys(fallbacks))),
        document=done.document if done.data is not None else {},
        seconds={name: each for row in done.rows.values() for name, each in row.seconds.items()},
    )


def _settings_of(section: str, given: Mapping[str, Any]) -> Settings:
    """``given`` with the names of ``section``'s settings, and unknown ones, taken as that section's."""
    own = type(Settings.model_fields[section].default).model_fields
    top = Settings.model_fields.keys() - own
    return load_settings(
        {key if key.partition(".")[0] in top else f"{section}.{key}": value for key, value in given.items()}
    )


def _file_of(picture: Picture) -> tuple[bytes, str]:
    """A file that holds ``picture``, and what messages call it."""
    if isinstance(picture, bytes):
        return picture, _UNNAMED
    if isinstance(picture, str | os.PathLike):
        return read_file(Path(picture)), os.fspath(picture)
    if isinstance(picture, np.ndarray):
        return _png_of(picture), _UNNAMED
    import PIL.Image

    if isinstance(picture, PIL.Image.Image):
        return _lossless(picture), getattr(picture, "filename", "") or _UNNAMED
    raise ConfigError(f"expected a path, bytes, an array or a PIL image, got {type(picture).__name__}")


def _png_of(array: npt.NDArray[Any]) -> bytes:
    from imgpipe.images.encode import encode
    from imgpipe.images.image import Image

    planes = array[..., None] if array.ndim == 2 else array
    try:
        native = np.ascontiguousarray(planes, planes.dtype.newbyteorder("="))
        return encode(Image(native), effort="fast")
    except ValueError as exc:
        hint = "" if array.dtype.kind == "u" else "; scale the values to 0..255 and convert them by astype"
        raise ConfigError(f"an array as a picture: {exc}{hint}") from exc


def _lossless(picture: PIL.Image.Image) -> bytes:
    """TIFF for CMYK, PNG for all else.

    Raises :class:`ConfigError` for modes that neither holds and empty or closed pictures, and
    :class:`DecodeError` where Pillow cannot read the picture's file.
    """
    try:
        picture.load()
    except (OSError, SyntaxError) as exc:
        raise DecodeError(f"a PIL image that Pillow cannot read: {exc}; fetch or export it again") from exc
    except ValueError as exc:
        raise ConfigError(f"a PIL image: {exc}; open it again") from exc
    kind = "TIFF" if picture.mode == "CMYK" else "PNG"
    buffer = io.BytesIO()
    kept = {"icc_profile": picture.info.get("icc_profile"), "exif": picture.getexif()}
    try:
        picture.save(buffer, kind, compress_level=1, **kept)  # TIFF has no such option and ignores it
    except OSError as exc:
        hint = (
            "scale it to 0..255 and make it L" if picture.mode in ("I", "F") else "convert it to RGB or RGBA"
        )
        raise ConfigError(f"a PIL image of mode {picture.mode}: {exc}; {hint}") from exc
    except ValueError as exc:
        raise ConfigError(f"a PIL image of {picture.width}x{picture.height}: {exc}") from exc
    return buffer.getvalue()
