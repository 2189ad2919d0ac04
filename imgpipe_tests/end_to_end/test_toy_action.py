"""An action that is a stage class, a settings section and one catalogue row goes all the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetKey
from pydantic import Field

from imgpipe.assets.graph import build_definitions
from imgpipe.config import Settings, load_settings
from imgpipe.images.image import Image
from imgpipe.launch import open_instance
from imgpipe.records import ImageRow, Status
from imgpipe.report.archive import read_archive
from imgpipe.settings import ActionSection
from imgpipe.stages.catalogue import CATALOGUE, Action
from imgpipe.stages.protocol import StageResult
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import Workspace, write_drawing

TINTED = "tinted_images"


class TintSettings(ActionSection):
    """The section of the toy action."""

    amount: int = Field(0, ge=0, le=255, description="How much darker red becomes, of 255.")


class ToySettings(Settings):
    """Settings with one more section, and so with one more action."""

    tint: TintSettings = TintSettings()


@dataclass(frozen=True)
class TintStage:
    """The stage of the toy action."""

    tint: TintSettings
    concurrency: int = 1

    @property
    def fingerprint(self) -> str:
        return f"tint-{self.tint.amount}"

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        pixels = inputs["source"].pixels.astype(np.int64) - [self.tint.amount, 0, 0]
        return StageResult(outputs={"tinted": replace(inputs["source"], pixels=_eight_bits(pixels))})


ROW = Action(
    name="tint",
    asset=TINTED,
    stage=f"{__name__}:TintStage",
    reads=("tint",),
    description="Every picture less red.",
    library="numpy",
    folder="tinted",
    kinds=("tinted",),
    same_size=True,
    replaceable=True,
)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def test_a_toy_action_from_source_to_review_and_report(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, ROW.name, ROW)
    monkeypatch.setattr("imgpipe.config.Settings", ToySettings)
    options = ("--set", "actions=[tint]", "--set", "tint.amount=90", "--set", "isolation.mode=none")
    place = ("--source", workspace.source, "--output", workspace.output, "--dataset", "art")
    write_drawing(workspace.source, "good.png", seed=1)
    fixed = write_drawing(tmp_path, "fixed.png", seed=2)
    (Path(workspace.source) / "bad.png").write_bytes(fixed.read_bytes())

    # To a table and files, through Dagster; scoring rejects what lost its colours.
    code, text = workspace.cli("run", *options)
    assert code == 1, text
    rows = workspace.rows(TINTED)
    assert {row.status for row in rows.values()} == {Status.OK}
    assert rows["good.png"].output_key.startswith("rejected/tinted/art/")
    assert {row.status for row in workspace.rows().values()} == {Status.REJECTED}
    with open_instance() as instance:
        assert instance.get_latest_materialization_event(AssetKey(TINTED)) is not None
    _, text = imgpipe("files", "--output", workspace.output, rows["bad.png"].image_id)
    kinds = {line.split()[0] for line in text.splitlines() if line.split()}
    assert kinds >= {"source", "tinted", "quality.json", "diff.png"}, text

    # One result is accepted, the other replaced; nothing else is computed again.
    for command in (
        ("accept", rows["good.png"].image_id),
        ("replace", rows["bad.png"].image_id, str(fixed), "--stage", "tinted"),
    ):
        code, text = imgpipe("review", *command, *place, *options)
        assert code == 0, text
    code, text = workspace.cli("run", *options)
    assert code == 0, text
    assert [name for asset, name in workspace.computed if asset == TINTED] == ["bad.png"]
    rows = workspace.rows(TINTED)
    assert all(row.output_key.startswith("tinted/art/") for row in rows.values())
    model = rows["bad.png"].model
    assert model is not None
    assert model.backend == "review"

    # The report has its columns and its pictures.
    archive = read_archive(workspace.stores.output, "art")
    assert archive is not None
    assert list(archive.frame[f"{TINTED}_status"]) == ["ok", "ok"]
    assert len(list(Path(workspace.output).rglob("thumbs/*.result.*.webp"))) == 2


def test_a_toy_action_is_described_in_the_ui(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, ROW.name, ROW)
    monkeypatch.setattr("imgpipe.config.Settings", ToySettings)
    settings = load_settings({"actions": ["tint", "upscale"], "source": "a", "output": "b"})
    spec = build_definitions(settings).resolve_assets_def(AssetKey(TINTED)).get_asset_spec(AssetKey(TINTED))
    assert spec.description == ROW.description
    assert spec.kinds == {"python", "numpy"}
