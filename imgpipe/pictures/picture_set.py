"""Finds the pictures of one image in its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgpipe.records import ImageRow, Status

#: A stage may reject what it made (a doubtful matte); its picture is there to be looked at.
_WITH_PICTURE = (Status.OK, Status.REJECTED)


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Rows of one image whose main file is a picture; ``None`` where there is none.

    ``reference`` is what the result has to look like: the picture before it was enlarged.
    """

    source: ImageRow | None
    matte: ImageRow | None = None
    reference: ImageRow | None = None
    result: ImageRow | None = None

    @property
    def pixels(self) -> int:
        """Size of the largest of these pictures, px."""
        rows = (self.source, self.matte, self.reference, self.result)
        return max((row.width * row.height for row in rows if row is not None), default=0)


def find_pictures(assets: Sequence[str], rows: Mapping[str, ImageRow], matte_asset: str) -> PictureSet:
    """The pictures of one image; those after the stage that failed do not exist.

    ``assets``: the chain's tables in order; the first describes the source, the last is the verdict.
    ``rows``: asset -> row. ``matte_asset``: the asset whose main pictures are cutouts.
    """
    source = rows.get(assets[0])
    if source is None or source.status is not Status.OK or not source.output_key:
        return PictureSet(None)
    wanted = assets[1:-1]
    made = {
        asset: rows[asset]
        for asset in wanted
        if asset in rows and rows[asset].status in _WITH_PICTURE and rows[asset].output_key
    }
    matte = made.get(matte_asset)
    if not wanted or wanted[-1] not in made:
        return PictureSet(source, matte)
    *before, result = source, *made.values()
    size = (result.width, result.height)
    smaller = [row for row in before if (row.width, row.height) != size]
    return PictureSet(source, matte, smaller[-1] if smaller else source, result)
