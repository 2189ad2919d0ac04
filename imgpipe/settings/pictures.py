"""Settings of the actions: matting, upscaling, and the optional step before segmentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from imgpipe.settings.contracts import GivenContract
from imgpipe.settings.section import ActionSection, Section

Fallback = Literal["fail", "classical"]
UpscaleFallback = Literal["fail", "lite", "classical"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
UpscaleBackend = Literal["auto", "spandrel", "realesrgan", "dnn_superres", "onnx"]
#: Levels as waifu2x has them -> strength.
FIX_LEVELS = {"0": 0.0, "1": 0.25, "2": 0.5, "3": 1.0}


#: Names of published weights files -> ours, where they are not the same.
_PUBLISHED = {"RealESRGAN_x4plus_anime_6B": "realesrgan-anime-6b"}


def _upscaling_model(value: str) -> str:
    if re.fullmatch(r"mdsr([_x\d]*|.*\.pb)", value.replace("\\", "/").rpartition("/")[2], re.IGNORECASE):
        raise ValueError(
            "MDSR is not among the networks of OpenCV's dnn_superres (EDSR, ESPCN, FSRCNN, LapSRN); "
            "give one of these, as in EDSR_x4.pb"
        )
    return _PUBLISHED.get(value, value)


def _switch(on: str) -> BeforeValidator:
    """``on`` or ``off`` for what means true or false, in YAML and in the environment's text."""

    def switched(value: object) -> object:
        try:
            return on if TypeAdapter(bool).validate_python(value) else "off"
        except ValidationError:
            return value

    return BeforeValidator(switched)


def _format_name(value: object) -> object:
    """``jpg`` -> ``JPEG``; anything but a text as it is."""
    return value.upper().replace("JPG", "JPEG") if isinstance(value, str) else value


#: As :func:`~imgpipe.images.encode.encode` names them, in any case.
FileFormat = Annotated[Literal["PNG", "WEBP", "JPEG", "JXL"], BeforeValidator(_format_name)]
AlphaMatting = Annotated[Literal["auto", "closed_form", "vitmatte", "off"], _switch("auto")]
Fill = Annotated[Literal["off", "solid"], _switch("solid")]
UpscalingModel = Annotated[str, Field(min_length=1), AfterValidator(_upscaling_model)]
Side = Annotated[int, Field(ge=1, le=65535)]


class FileSettings(Section):
    """The files of cutouts, fixed pictures and enlargements; `enhance` has rules of its own."""

    format: FileFormat = Field(
        "PNG",
        description="Their format: PNG, WEBP and JXL (needs its plugin) lossless, JPEG at quality 95, not "
        "for cutouts. A picture that it cannot hold whole is written as PNG, with the reason.",
    )


class RembgSettings(ActionSection):
    """Matting: finding the subject and its alpha."""

    model: str = Field(
        "isnet-anime",
        min_length=1,
        description="Model name (see `imgpipe models list`), a path to an .onnx file, or `classical`.",
    )
    contract: GivenContract = Field(
        None,
        description="How an .onnx file given by its path is fed and what it answers, by name or as values "
        "(docs/matting.md); null: the file's digest or metadata says it.",
    )
    preprocess: Literal["author", "rembg"] = Field(
        "author",
        description="Feed the network as its authors do, or exactly as the rembg package does.",
    )
    alpha_matting: AlphaMatting = Field(
        "auto",
        description=(
            "Refining the mask's border into alpha: `auto` (= true) from coarse to fine, `closed_form` every "
            "unknown pixel at full size (slow), `vitmatte` by a network (`vitmatte_model`), `off` (= false)."
        ),
    )
    vitmatte_model: str = Field(
        "vitmatte-small-distinctions-646",
        min_length=1,
        description="Refiner of `alpha_matting: vitmatte`: a name (`imgpipe models list`), or the path of an "
        ".onnx file.",
    )
    fill: Fill = Field(
        "off",
        description="`solid` closes holes inside the subject of a network's mask that show no background and "
        "are not translucent, by their colours; what lies above `foreground_threshold` encloses them.",
    )
    flips: bool = Field(
        False,
        description="Average the network's answer with that on the mirrored picture; takes it twice as long.",
    )
    second_model: str | None = Field(
        None,
        min_length=1,
        description="A second network, name or path, whose mask must agree with that of `model`; null: none.",
    )
    second_contract: GivenContract = Field(
        None, description="As `contract`, for a `second_model` given by its path."
    )
    agreement_minimum: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="Mattes are rejected where two masks, of `second_model` or of the mirrored picture "
        "(`flips`), overlap by less than this IoU (0..1).",
    )
    foreground_threshold: int = Field(
        240, ge=0, le=254, description="Mask values above this are certainly subject (0..254)."
    )
    background_threshold: int = Field(
        10, ge=0, le=254, description="Mask values below this are certainly background (0..254)."
    )
    erode_size: int = Field(
        3,
        ge=0,
        le=100,
        description="How far the certain areas are shrunk before matting, px of a 1024 px image (0..100).",
    )
    fallback: Fallback = Field(
        "fail",
        description="Where the weights are missing: stop (`fail`) or use `classical`, recorded in every row.",
    )
    subject_minimum: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="No subject is reported where the network's largest probability is below this (0..1).",
    )
    guard_iou: float = Field(
        0.8,
        ge=0.0,
        le=1.0,
        description="The refined alpha is dropped where it overlaps the mask by less than this IoU (0..1).",
    )
    confidence_minimum: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        description="Mattes of `classical` with a lower confidence are rejected (0..1).",
    )

    @property
    def runs_network(self) -> bool:
        return self.model != "classical"

    @model_validator(mode="after")
    def _second_of_two_networks(self) -> Self:
        if self.second_model is None and self.second_contract is not None:
            raise ValueError("second_contract is given, but no second_model")
        if self.second_model is not None and "classical" in (self.model, self.second_model):
            raise ValueError(
                f"second_model compares two networks, got model {self.model!r} and second_model "
                f"{self.second_model!r}; `classical` is none"
            )
        return self

    @property
    def second(self) -> Self | None:
        """The settings of the second network, as if it were the only one."""
        if self.second_model is None:
            return None
        changes = {"model": self.second_model, "contract": self.second_contract}
        alone = {"second_model": None, "second_contract": None, "flips": False, "fill": "off"}
        return self.model_copy(update=changes | alone)

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.background_threshold >= self.foreground_threshold:
            raise ValueError(
                f"background_threshold ({self.background_threshold}) must be below "
                f"foreground_threshold ({self.foreground_threshold}), as in 10 and 240"
            )
        return self


class UpscaleSettings(ActionSection):
    """Upscaling."""

    model: UpscalingModel = Field(
        "realesrgan-anime-6b",
        description="Model name (`imgpipe models list`), a path to a weights file, `lanczos` or `bicubic`.",
    )
    backend: UpscaleBackend = Field(
        "auto",
        description="Reader of the weights file; `auto`: .onnx onnx, .pb dnn_superres, else spandrel.",
    )
    scale: float = Field(4.0, gt=0.0, le=16.0, description="Output size / input size (above 0, up to 16).")
    target_size: tuple[Side, Side] | None = Field(
        None,
        description="[width, height] in px that the result just fits into, aspect kept; replaces `scale`.",
    )
    min_dimensions: tuple[Side, Side] | None = Field(
        None,
        description="Least [width, height] in px; enlarged by more than `scale` where needed.",
    )
    tile_size: Literal["auto"] | Annotated[int, Field(ge=0, le=16384)] = Field(
        "auto",
        description="Tile edge in source px (32..16384; 0 = never cut), or `auto` from free memory.",
    )
    halo: Literal["auto"] | Annotated[int, Field(ge=0, le=512)] = Field(
        "auto",
        description="Context around a tile in source px (0..512), or `auto` = the network's receptive field.",
    )
    precision: Precision = Field(
        "auto",
        description="`auto`: bf16 on CPUs that are known to gain by it, fp16 on GPUs, else fp32.",
    )
    color_match: bool = Field(
        True, description="Correct the network's low-frequency colour shift against the source."
    )
    alpha: Literal["lanczos", "network"] = Field(
        "lanczos", description="How a network's alpha is enlarged: Lanczos without ringing, or the network."
    )
    tta: bool = Field(
        False, description="Average over the 8 rotations and reflections of each tile: 8 times the time."
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        "auto", description="Tiles computed at once (1..64), or `auto`: 1 on a CPU, by memory on a GPU."
    )
    fallback: UpscaleFallback = Field(
        "fail",
        description=(
            "Where the weights, or the packages that run them, are missing: stop (`fail`), or use "
            "`imgpipe-lite` (`lite`) or `lanczos` (`classical`), recorded in every row."
        ),
    )

    @property
    def runs_network(self) -> bool:
        return self.model not in ("lanczos", "bicubic")

    @field_validator("backend", mode="before")
    @classmethod
    def _former_name(cls, value: object) -> object:
        return "onnx" if value == "onnxruntime" else value

    @field_validator("tile_size")
    @classmethod
    def _tile_is_usable(cls, value: int | str) -> int | str:
        if isinstance(value, int) and 0 < value < 32:
            raise ValueError("a tile is 0 (never cut) or at least 32 px")
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.target_size is not None and self.min_dimensions is not None:
            raise ValueError("target_size and min_dimensions exclude each other: one box decides the size")
        return self


class FixSettings(ActionSection):
    """Fixing: JPEG's blocks, steps in gradients and noise, each only where it is found; the size stays."""

    denoise_strength: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="0 changes nothing, 0.5 undoes the damage that is found, 1 twice as much (0..1). "
        "`level` in its place: 0..3 for 0, 0.25, 0.5 and 1.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="`imgpipe-clean`, or the path to the weights of another restoration network of factor 1, "
        "in place of deblocking and denoising; null = none.",
    )

    @property
    def runs_network(self) -> bool:
        return self.model is not None and self.denoise_strength > 0

    @model_validator(mode="before")
    @classmethod
    def _level(cls, values: object) -> object:
        if not isinstance(values, Mapping) or "level" not in values:
            return values
        level, others = values["level"], {key: value for key, value in values.items() if key != "level"}
        if str(level) not in FIX_LEVELS:
            raise ValueError(f"expected a level of 0, 1, 2 or 3, got {level!r}")
        strength = FIX_LEVELS[str(level)]
        if others.setdefault("denoise_strength", strength) != strength:
            raise ValueError(
                f"level {level} means denoise_strength={strength}, which is given otherwise; keep one"
            )
        return others


class EnhanceSettings(ActionSection):
    """The optional step before segmentation: a least size, and a file format chosen by rules."""

    min_width: int = Field(800, ge=1, le=65535, description="Least width of the result, px.")
    min_height: int = Field(1440, ge=1, le=65535, description="Least height of the result, px.")
    scale_factor: float = Field(
        1.5, ge=1.0, le=16.0, description="Least factor; larger where the least size needs it."
    )
    min_bytes: int | None = Field(
        None,
        ge=1,
        description="Least file in bytes, met by scale, then less compression, never padding; null = none.",
    )
    max_bytes: int | None = Field(
        None,
        ge=1000,
        description="Largest file in bytes, met by format, quality and scale; null = no limit.",
    )
    model: UpscalingModel = Field(
        "lanczos",
        description="What enlarges: all that `upscale.model` takes; Lanczos, recorded, where it is missing.",
    )
    save_format_priority: tuple[FileFormat, ...] = Field(
        ("PNG", "WEBP", "JPEG"),
        description="Formats in the order they are tried; JXL (lossless) needs its plugin.",
    )
    quality: int = Field(95, ge=90, le=100, description="Quality of lossy formats, at least 90 (90..100).")

    @property
    def runs_network(self) -> bool:
        return self.model not in ("lanczos", "bicubic")

    @property
    def kernel(self) -> Literal["lanczos", "bicubic"]:
        """What resizes without a network, and a network's picture to its size."""
        return "bicubic" if self.model == "bicubic" else "lanczos"

    @field_validator("save_format_priority")
    @classmethod
    def _formats_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"expected each format at most once and at least one, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _floor_below_ceiling(self) -> Self:
        if self.min_bytes is not None and self.max_bytes is not None and self.min_bytes > self.max_bytes:
            raise ValueError(
                f"min_bytes ({self.min_bytes:,}) must not be above max_bytes ({self.max_bytes:,}): no file "
                "can be both"
            )
        return self
