"""``demo``: the main job on sample drawings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from imgpipe.cli.common import EXIT_OK, exits, out, settings_from
from imgpipe.cli.console import escape
from imgpipe.cli.run import materialize_pending
from imgpipe.cli.summary import print_checks, print_counts, print_report_place
from imgpipe.config import Settings
from imgpipe.engines.rejections import count_causes
from imgpipe.errors import WeightsMissing
from imgpipe.inference.weights import locate
from imgpipe.pictures.reader import read_own_file
from imgpipe.records import ImageRow, Status, count_statuses
from imgpipe.samples.files import write_samples
from imgpipe.settings import LimitSettings
from imgpipe.stages.catalogue import MATTED, QUALITY, RAW
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.opening import Stores, open_stores
from imgpipe.storage.tables import read_table

_SHARD_SIZE = 7
_UPSCALER = "imgpipe-lite"


@exits
def demo(
    output: Annotated[Path, typer.Option(help="Folder for drawings and results.")] = Path("demo-output"),
) -> None:
    """Run the main job on sample drawings, and print the models used and where the results are.

    The exit code is 0 when the job finished, also where images were rejected.
    """
    output = output.absolute()
    samples = write_samples(output / "source", masks=output / "masks")
    out.print(f"{len(samples)} drawings in {escape(str(output / 'source'))}")
    settings = demo_settings(output)
    say_what_is_used(settings)
    outcome = materialize_pending(settings)
    stores = open_stores(settings)
    rows = _all_rows(settings, stores)
    out.print(images_table(rows, output / "masks", stores))
    final = rows[QUALITY].values()
    for row in final:
        if row.why:
            out.print(f"  {escape(row.source_key)}: {escape(row.why)}")
    print_checks(outcome.evaluations)
    print_counts(count_statuses(final), count_causes(final))
    out.print("[bold]where to look[/]")
    print_report_place(settings, stores)
    out.print("Dagster UI: `make ui` (or `imgpipe ui`), then http://127.0.0.1:3000")
    raise typer.Exit(EXIT_OK)


def demo_settings(output: Path) -> Settings:
    """The default settings with the demo's folders, and the network that comes with the package."""
    return settings_from(
        {
            "source": str(output / "source"),
            "output": str(output / "results"),
            "dataset": "demo",
            "shard_size": _SHARD_SIZE,
            "rembg.fallback": "classical",
            "upscale.model": _UPSCALER,
        }
    )


def say_what_is_used(settings: Settings) -> None:
    """Print which models are used, and what replaces the matting network where its weights are missing."""
    matting = settings.rembg.model
    try:
        locate(matting, "matting", settings.model_dir)
        out.print(f"matting: {matting}")
    except WeightsMissing:
        out.print(
            f"matting: [yellow]classical[/], because the weights of {matting} are not in "
            f"{escape(str(settings.model_dir))} (`imgpipe models pull {matting}` fetches them)"
        )
    out.print(f"upscaling: {settings.upscale.model}, a network that comes with imgpipe")


def images_table(rows: dict[str, dict[str, ImageRow]], masks: Path, stores: Stores) -> Table:
    """One line per image: size before and after, scores, and the IoU of its matte with the true one, which
    lies in ``masks`` under the drawing's name."""
    table = Table(title="images; IoU: of the matte with the true one", box=SIMPLE, padding=0)
    for name in ("image", "before", "after", "status", "psnr_y", "ssim_y", "IoU"):
        table.add_column(name, overflow="fold", no_wrap=name != "before")
    for image_id, row in rows[QUALITY].items():
        before, after = rows[RAW][image_id], list(rows.values())[-2][image_id]
        matted = rows.get(MATTED, {}).get(image_id)
        truth = masks / f"{Path(row.source_key).stem}.png"
        colour = {Status.OK: "green", Status.ERROR: "red"}.get(row.status, "yellow")
        table.add_row(
            escape(row.source_key),
            f"{before.width}x{before.height}" + (f" {before.bit_depth} bit" if before.bit_depth > 8 else ""),
            f"{after.width}x{after.height}" if after.width else "-",
            f"[{colour}]{row.status.value}[/]",
            _score(row, "psnr_y", 2),
            _score(row, "ssim_y", 4),
            f"{_matte_iou(matted, truth, stores):.3f}" if matted and matted.output_key else "-",
        )
    return table


def _matte_iou(matted: ImageRow, truth: Path, stores: Stores) -> float:
    """Soft intersection over union: sum of the smaller alpha over sum of the larger one."""
    import numpy as np
    import PIL.Image

    image = read_own_file(stores.output, matted.output_key, LimitSettings())
    if image.alpha is None:
        return 0.0
    alpha = image.alpha.astype(np.float64) / image.max_value
    true = np.asarray(PIL.Image.open(truth), np.float64) / 255.0
    union = np.maximum(alpha, true).sum()
    return float(np.minimum(alpha, true).sum() / union) if union else 1.0


def _score(row: ImageRow, name: str, digits: int) -> str:
    return f"{row.metrics[name]:.{digits}f}" if name in row.metrics else "-"


def _all_rows(settings: Settings, stores: Stores) -> dict[str, dict[str, ImageRow]]:
    return {
        step.asset: {
            row.image_id: row
            for shard in list_shards(stores.output, settings.dataset)
            for row in read_table(stores.output, step.asset, settings.dataset, shard)[0]
        }
        for step in steps(settings)
    }
