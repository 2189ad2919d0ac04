"""How many stored pictures are read at the same time."""

from __future__ import annotations

import os
import threading
import time

import pytest

from imgpipe.images.image import Image
from imgpipe.pictures.reader import PictureReader
from imgpipe.records import ImageRow


class Overlaps:
    """Counts reads from now on, each made slow enough to meet its neighbours. ``most``: at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[ImageRow] = []
        self.most = 0
        self._now = 0
        lock = threading.Lock()
        read = PictureReader.read

        def slow(reader: PictureReader, row: ImageRow) -> Image:
            with lock:
                self.rows.append(row)
                self._now += 1
                self.most = max(self.most, self._now)
            try:
                time.sleep(0.03)
                return read(reader, row)
            finally:
                with lock:
                    self._now -= 1

        monkeypatch.setattr(PictureReader, "read", slow)
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
