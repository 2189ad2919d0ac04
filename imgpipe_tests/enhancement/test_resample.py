from __future__ import annotations

from typing import Any

import pytest

from imgpipe.enhancement import resample as module
from imgpipe.enhancement.resample import resample
from imgpipe.errors import OutOfMemory
from imgpipe.images.image import Image
from imgpipe_tests.enhancement.pictures import waves


def test_no_memory_is_one_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Image:
        raise MemoryError

    monkeypatch.setattr(module, "resize", refuse)
    with pytest.raises(OutOfMemory, match="run fewer workers"):
        resample(Image(waves(5, 5)), 10, 10, "lanczos")
