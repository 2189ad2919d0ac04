"""One row per action: what Dagster, storage, review and the command line know of it.

A new action is a stage module, an :class:`~imgpipe.settings.ActionSection` in ``Settings`` under the action's
name, and a row here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

from imgpipe.config import Settings
from imgpipe.settings import ActionSection
from imgpipe.stages.protocol import Stage

RAW = "raw_images"
ENHANCED = "enhanced_images"
MATTED = "matted_images"
FIXED = "fixed_images"
UPSCALED = "upscaled_images"
QUALITY = "quality_reports"


Roles = tuple[tuple[str, str], ...]


def _predecessor(before: Sequence[Action]) -> Roles:
    return (("source", before[-1].asset),)


@dataclass(frozen=True, slots=True)
class Action:
    """What imgpipe knows of one action.

    ``stage``: module and class, ``package.module:Class``; imported when the stage is needed.
    ``reads``: dotted names of the settings that the stage is built from; each is passed to the class as a
    keyword argument named like its last part, and a stage stays loaded while these are the same.
    ``roles``: what the stage is given, role -> asset whose main picture it is; a function of the rows that
    stand before it in the chain.
    ``kinds``: kinds of the files that the stage makes, its main picture first. ``own_folder``: an image has a
    folder of its own, since its stage makes several files; then the files' names begin with their kinds.
    ``library``: what does the work, as Dagster has an icon for it; ``network_library``: the same where the
    settings ask for a network.
    ``cut_out``: the background of what it makes is transparent. ``same_size``: what it makes is as large as
    what it is given; everything else is an enlargement. ``replaceable``: a person may put another picture in
    place of what it makes.
    """

    name: str
    asset: str
    stage: str
    reads: tuple[str, ...]
    description: str
    library: str
    network_library: str = ""
    roles: Callable[[Sequence[Action]], Roles] = _predecessor
    folder: str = ""
    kinds: tuple[str, ...] = ()
    own_folder: bool = False
    cut_out: bool = False
    same_size: bool = False
    replaceable: bool = False

    def stage_class(self) -> Callable[..., Stage]:
        """The class that does the work, imported now."""
        module, _, name = self.stage.partition(":")
        return cast(Callable[..., Stage], getattr(importlib.import_module(module), name))

    def arguments(self, settings: Settings) -> Mapping[str, Any]:
        """What the stage is built from."""
        return {path.rpartition(".")[2]: attrgetter(path)(settings) for path in self.reads}

    def runs_network(self, settings: Settings) -> bool:
        """Whether a neural network does the work, as configured."""
        section = getattr(settings, self.name, None)
        return isinstance(section, ActionSection) and section.runs_network


def _scored(before: Sequence[Action]) -> Roles:
    """Compare the result with the source, or with what was changed on purpose before the last step.

    That is the fixed picture, whatever follows it, and where matting comes before upscaling the matted one,
    whose missing background is no damage. The matte is judged by itself.
    """
    names = [row.asset for row in before]
    reference = RAW
    for number, asset in enumerate(names[:-1]):
        if asset == FIXED or (asset == MATTED and UPSCALED in names[number:]):
            reference = asset
    roles = [("reference", reference), ("result", names[-1])]
    if MATTED in names:
        roles += [("matte_source", names[names.index(MATTED) - 1]), ("cutout", MATTED)]
    return tuple(roles)


#: In the order in which an image's files are listed. ``read`` and ``score`` begin and end every chain; no
#: setting names them.
_ROWS = (
    Action(
        name="read",
        asset=RAW,
        stage="imgpipe.stages.read:ReadStage",
        reads=("limits",),
        description="Every source image, read and decoded once: what it is, and what cannot be used and why.",
        library="pillow",
        roles=lambda before: (("source", RAW),),
        same_size=True,
    ),
    Action(
        name="enhance",
        asset=ENHANCED,
        stage="imgpipe.stages.enhance:EnhanceStage",
        reads=("enhance", "limits", "model_dir", "device"),
        description="At least the configured size, saved by rule, with an 8-bit sRGB feed for segmentation.",
        library="opencv",
        network_library="pytorch",
        folder="enhanced",
        kinds=("source_enhanced", "segmentation_feed"),
        own_folder=True,
    ),
    Action(
        name="rembg",
        asset=MATTED,
        stage="imgpipe.stages.matte:MatteStage",
        reads=("rembg", "model_dir", "device", "files.format"),
        description="The subject cut out: straight alpha, colours freed from the background.",
        library="scipy",
        network_library="onnx",
        folder="matted",
        kinds=("matted",),
        cut_out=True,
        same_size=True,
        replaceable=True,
    ),
    Action(
        name="fix_artifacts",
        asset=FIXED,
        stage="imgpipe.stages.fix:FixStage",
        reads=("fix_artifacts", "model_dir", "device", "limits.max_output_pixels", "files.format"),
        description="JPEG's blocks, steps in gradients and noise reduced where they are found.",
        library="opencv",
        network_library="pytorch",
        folder="fixed",
        kinds=("fixed",),
        same_size=True,
        replaceable=True,
    ),
    Action(
        name="upscale",
        asset=UPSCALED,
        stage="imgpipe.stages.upscale:UpscaleStage",
        reads=("upscale", "model_dir", "device", "limits.max_output_pixels", "files.format"),
        description="Every picture enlarged, with the tile grid recorded.",
        library="opencv",
        network_library="pytorch",
        folder="upscaled",
        kinds=("upscaled",),
        replaceable=True,
    ),
    Action(
        name="score",
        asset=QUALITY,
        stage="imgpipe.stages.score:ScoreStage",
        reads=("quality", "actions"),
        description="quality.json and diff.png of every image: was it harmed, and where. `worst_pictures` "
        "shows the worst of the partition, the checks' metadata those that fail.",
        library="opencv",
        roles=_scored,
        folder="quality",
        kinds=("quality.json", "diff.png"),
        own_folder=True,
    ),
)
#: Row by name.
CATALOGUE: dict[str, Action] = {row.name: row for row in _ROWS}


def output_folders() -> list[str]:
    """Every folder that stages write to, whatever the configured actions."""
    return [row.folder for row in CATALOGUE.values() if row.folder]


def kind_of(file_name: str) -> str:
    """The kind of a file that a stage made: ``source_enhanced.webp`` is a ``source_enhanced``."""
    whole = any(file_name in row.kinds for row in CATALOGUE.values())
    return file_name if whole else file_name.partition(".")[0]
