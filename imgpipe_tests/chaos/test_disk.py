"""An output whose disk fills up or becomes read-only: exit code 3, no table, no partial file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import Status
from imgpipe.stages.catalogue import QUALITY, UPSCALED
from imgpipe.storage import keys
from imgpipe.storage.local import LocalStore
from imgpipe_tests.chaos.outcome import faults_of
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, instance_home, workspace  # noqa: F401
from imgpipe_tests.end_to_end.test_instance import _call, mounted  # noqa: F401

pytestmark = pytest.mark.chaos
IMAGES = 12


@pytest.fixture
def disk(workspace: Workspace, mounted: Path) -> Workspace:  # noqa: F811
    """Pictures of noise, which take 2.5 MB twice as large, and an output on a disk of 2 MB."""
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (128, 128, 3), np.uint8)
        (Path(workspace.source) / f"{number:02}.png").write_bytes(encode(Image(pixels)))
    workspace.output = str(mounted / "output")
    return workspace


ARGUMENTS = (
    "--set",
    "actions=[upscale]",
    *CLASSICAL,
    "--set",
    "isolation.mode=none",
    "--set",
    "quality.diff=false",
)


def test_one_that_fills_up(disk: Workspace, mounted: Path) -> None:  # noqa: F811
    for _ in range(2):
        code, text = disk.cli("run", *ARGUMENTS)
        assert (code, os.strerror(errno.ENOSPC) in text) == (3, True), text
        output = LocalStore(disk.output)
        assert not output.exists(keys.table_key(UPSCALED, "art", "00000"))
        assert not list(Path(disk.output).rglob(".imgpipe-tmp-*"))
        made = list(output.list("upscaled/"))
        assert 0 < len(made) < IMAGES
    assert _call("mount", "-o", "remount,size=64m", str(mounted)) == 0
    code, text = disk.cli("run", *ARGUMENTS)
    assert code in (0, 1), text
    assert len([one for asset, one in disk.computed if asset == UPSCALED]) == IMAGES - len(made)
    assert {row.status for row in disk.rows(QUALITY).values()} <= {Status.OK, Status.REJECTED}
    assert faults_of(output) == []


def test_one_that_becomes_read_only(disk: Workspace, mounted: Path) -> None:  # noqa: F811
    assert disk.cli("plan")[0] == 0
    assert _call("mount", "-o", "remount,ro", str(mounted)) == 0
    code, text = disk.cli("run", *ARGUMENTS)
    assert (code, os.strerror(errno.EROFS) in text) == (3, True), text
    assert not list(LocalStore(disk.output).list("tables/"))
