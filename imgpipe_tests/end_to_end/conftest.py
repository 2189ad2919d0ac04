"""A data set of one's own: a source, an output, an instance, and the command line on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

from imgpipe.cli import app
from imgpipe.cli import run as cli_run
from imgpipe.cli.summary import row_progress
from imgpipe.config import Settings, load_settings
from imgpipe.engines.shard import RowListener
from imgpipe.engines.status import ShardStatus
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.opening import Stores, open_stores
from imgpipe.storage.source_record import record_source
from imgpipe_tests.storage.manifests import read_rows_of

#: Stages that need no weights and take milliseconds.
CLASSICAL = ("--set", "rembg.model=classical", "--set", "upscale.model=lanczos", "--set", "upscale.scale=2")


@dataclass
class Workspace:
    """``computed``: (asset, source key) of every image that a run computed, in order."""

    source: str
    output: str
    environment: Mapping[str, str]
    dataset: str = "art"
    computed: list[tuple[str, str]] = field(default_factory=list)

    def cli(self, command: str, *arguments: str) -> tuple[int, str]:
        """Exit code and everything printed."""
        place = ("--source", self.source, "--output", self.output, "--dataset", self.dataset)

        def listen(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            if computed:
                self.computed.append((asset, row.source_key))

        self.computed.clear()
        with _watching(listen):
            result = CliRunner().invoke(
                app,
                [command, *place, *arguments],
                env={"COLUMNS": "200", **self.environment},
                catch_exceptions=False,
            )
        return result.exit_code, result.output

    @property
    def settings(self) -> Settings:
        return load_settings({"source": self.source, "output": self.output, "dataset": self.dataset})

    @property
    def stores(self) -> Stores:
        return open_stores(self.settings, source_moved=True)

    def copy_to(self, other: Workspace) -> None:
        """Sources and results, with the sources' times, which are part of their etags; the copy's data set
        is that of its own source."""
        for one, copy in ((self.source, other.source), (self.output, other.output)):
            shutil.copytree(one, copy, dirs_exist_ok=True)
        stores = other.stores
        record_source(stores.output, self.dataset, stores.source.url, moved=True)

    def rows(self, asset: str = QUALITY) -> dict[str, ImageRow]:
        """Row by source key over all shards."""
        return read_rows_of(self.stores.output, self.dataset, asset)


@contextmanager
def _watching(listener: RowListener) -> Iterator[None]:
    """Hear of rows beside the command's own progress bars."""
    original = row_progress

    @contextmanager
    def both(settings: Settings, pending: Sequence[ShardStatus]) -> Iterator[RowListener]:
        with original(settings, pending) as own:

            def tell(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
                listener(asset, shard, row, computed)
                own(asset, shard, row, computed)

            yield tell

    with mock.patch.object(cli_run, "row_progress", both):
        yield


@pytest.fixture
def instance_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home of this test's own; the working directory is empty."""
    home = tmp_path / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return home


@pytest.fixture
def workspace(tmp_path: Path, instance_home: Path) -> Workspace:
    """Source and output as folders."""
    source = tmp_path / "source"
    source.mkdir()
    return Workspace(str(source), str(tmp_path / "output"), {})


def run_once(folder: Path, code: int, *arguments: str) -> Workspace:
    """Run once on what is below ``folder / "source"``, for several tests to read or copy."""
    environment = {"DAGSTER_HOME": str(folder / "dagster")}
    workspace = Workspace(str(folder / "source"), str(folder / "output"), environment)
    found, text = workspace.cli("run", *arguments)
    assert found == code, text
    return workspace


def flat_drawing(seed: int, width: int = 128, height: int = 112) -> Image:
    """A seeded drawing with a plain background, a round subject and outlines, antialiased, 8-bit RGB."""
    rng = np.random.default_rng(seed)
    background, skin, line = (rng.integers(low, high, 3) for low, high in ((200, 255), (90, 190), (0, 60)))
    y, x = np.mgrid[: 4 * height, : 4 * width] / 4
    radius = np.hypot(x - width / 2, y - height / 2)
    size = min(width, height) / 3
    pixels = np.empty((4 * height, 4 * width, 3))
    pixels[:] = background
    pixels[radius < size] = skin
    pixels[np.abs(radius - size) < 1.5] = line
    pixels[np.abs(radius - size / 2) < 1.0] = line
    small = pixels.reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
    return Image(np.floor(small + 0.5).astype(np.uint8))


def write_drawing(folder: str | Path, name: str, seed: int) -> Path:
    """One drawing as a PNG file."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(flat_drawing(seed)))
    return path
