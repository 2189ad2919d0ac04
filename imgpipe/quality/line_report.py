"""Result of the line detector: boxes with their scores, strongest first."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LineBox:
    """One detected line: its place (px of the result) and its scores."""

    x: int
    y: int
    width: int
    height: int
    coherence: float
    step: float

    def lies_in(self, other: LineBox) -> bool:
        """Whether this is a piece of the longer line ``other``."""
        return (
            max(other.width, other.height) > max(self.width, self.height)
            and other.x <= self.x
            and other.y <= self.y
            and self.x + self.width <= other.x + other.width
            and self.y + self.height <= other.y + other.height
        )

    def as_dict(self) -> dict[str, float]:
        return {
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
            "coherence": round(self.coherence, 4),
            "step": round(self.step, 4),
        }


@dataclass(frozen=True, slots=True)
class LinesReport:
    """``score`` is the largest coherence excess (0..1), ``step`` the largest step excess (1/255).

    ``boxes``: lines above the thresholds, strongest first, without the pieces of a line that is there
    whole. ``mode``: ``grid``, ``blind`` or ``not_applicable``; ``note`` says why where it is not ``grid``.
    ``segments``: cuts that could be judged.
    """

    score: float = 0.0
    step: float = 0.0
    boxes: tuple[LineBox, ...] = field(default=())
    mode: str = "not_applicable"
    note: str = ""
    segments: int = 0
