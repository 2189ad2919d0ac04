"""How many pictures are matted at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.settings import RembgSettings
from imgpipe.stages import matte
from imgpipe.stages.matte import MatteStage


@pytest.mark.parametrize(
    ("model", "on_gpu", "expected"),
    [("isnet-anime", False, 1), ("isnet-anime", True, 8), ("classical", True, 4)],
)
def test_a_gpu_does_not_wait_for_what_follows_it(
    model: str, on_gpu: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matte, "may_use_cuda", lambda setting: on_gpu)
    monkeypatch.setattr(matte, "usable_cores", lambda: 8)
    assert MatteStage(RembgSettings(model=model), Path(), "auto").concurrency == expected
