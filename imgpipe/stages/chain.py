"""Which assets there are, in which order, and what each reads: all of it follows from ``actions``."""

from __future__ import annotations

from dataclasses import dataclass

from imgpipe.config import Settings
from imgpipe.storage import keys

RAW = "raw_images"
MATTED = "matted_images"
UPSCALED = "upscaled_images"
ENHANCED = "enhanced_images"
QUALITY = "quality_reports"
REPORT = "dataset_report"

#: action -> (asset, output folder)
_ACTION_ASSETS = {
    "enhance": (ENHANCED, "enhanced"),
    "rembg": (MATTED, "matted"),
    "upscale": (UPSCALED, "upscaled"),
}
#: Every folder that stages write to, whatever the configured actions.
OUTPUT_FOLDERS = (*(folder for _, folder in _ACTION_ASSETS.values()), "quality")
#: Folders in which an image has a folder of its own, since its stage makes several files.
_SEVERAL_FILES = frozenset({"quality", "enhanced"})


@dataclass(frozen=True, slots=True)
class Step:
    """One partitioned asset.

    ``roles``: what the stage is given, role -> asset whose main picture it is. ``upstream``: the
    assets whose tables must exist first, in chain order; the last is the direct predecessor.
    """

    asset: str
    action: str
    folder: str
    roles: tuple[tuple[str, str], ...]
    upstream: tuple[str, ...]

    def key(self, dataset: str, shard: str, image_id: str, kind: str) -> str:
        """Where a file of this kind of one image lies; kinds of several files are file names."""
        if self.folder in _SEVERAL_FILES:
            return keys.file_key(self.folder, dataset, shard, image_id, kind)
        return keys.image_key(self.folder, dataset, shard, image_id, "png")


def steps(settings: Settings) -> tuple[Step, ...]:
    """Raw, one step per action in the configured order, quality.

    Quality compares the result with the source. Where matting comes before upscaling it compares with
    the matted picture instead, whose missing background is no damage, and judges the matte by itself.
    """
    chain = [Step(RAW, "read", "", (("source", RAW),), ())]
    before: dict[str, str] = {}
    for action in settings.actions:
        asset, folder = _ACTION_ASSETS[action]
        before[action] = chain[-1].asset
        chain.append(Step(asset, action, folder, (("source", chain[-1].asset),), _names(chain)))
    matted_first = "upscale" in before and MATTED in _names(chain)[: _names(chain).index(UPSCALED)]
    roles = [("reference", MATTED if matted_first else RAW), ("result", chain[-1].asset)]
    if "rembg" in before:
        roles += [("matte_source", before["rembg"]), ("cutout", MATTED)]
    chain.append(Step(QUALITY, "score", "quality", tuple(roles), _names(chain)))
    return tuple(chain)


def _names(chain: list[Step]) -> tuple[str, ...]:
    return tuple(step.asset for step in chain)
