"""Settings of review: by people, and by a reviewer that judges the pictures by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from imgpipe.settings.section import Section

_Price = Annotated[float, Field(ge=0, le=100_000)]


class ReviewSettings(Section):
    """Review of single images."""

    user: str = Field("", max_length=200, description="Name recorded with decisions; empty = the login name.")
    enabled: bool = Field(
        False, description="Let `review.reviewer` judge every result that its checks did not reject already."
    )
    reviewer: Literal["checks", "claude"] = Field(
        "checks",
        description="`checks`: from the image's own checks, offline. `claude`: SENDS source and result, "
        "downsized, to the Anthropic API; needs the extra `review` and ANTHROPIC_API_KEY in the environment.",
    )
    model: str = Field(
        "claude-haiku-5-5", min_length=1, max_length=200, description="Vision model that `claude` asks."
    )
    max_side: int = Field(
        1568,
        ge=200,
        le=8000,
        description="Longest side of a picture that is sent, px; others are reduced.",
    )
    max_bytes: int = Field(
        3_500_000, ge=50_000, le=7_000_000, description="Largest file of a picture that is sent, bytes."
    )
    concurrency: int = Field(4, ge=1, le=64, description="Requests to the API at the same time.")
    retries: int = Field(
        4,
        ge=0,
        le=20,
        description="Further attempts where the API is overloaded, fails or does not answer; each waits "
        "twice as long, or as long as the API says.",
    )
    timeout_seconds: float = Field(60.0, gt=0, le=600, description="Longest wait for an answer, seconds.")
    max_images: int | None = Field(
        1000,
        ge=0,
        description="Images that one process asks about; the rest stays `unreviewed`; null = no limit.",
    )
    max_cost_usd: float | None = Field(
        5.0,
        ge=0,
        description="What one process may spend, by `review.prices`, US dollars; the rest stays "
        "`unreviewed`; null = no limit.",
    )
    prices: Mapping[str, tuple[_Price, _Price]] = Field(
        default={
            "claude-haiku-5-5": (0.1, 0.5),
            "claude-sonnet-5-5": (2.0, 10.0),
            "claude-opus-5-5": (4.0, 20.0),
        },
        description="Price of each model, [input, output], US dollars per million tokens; check them with "
        "the provider.",
    )

    @model_validator(mode="after")
    def _priced(self) -> Self:
        asks = self.enabled and self.reviewer == "claude"
        if asks and self.max_cost_usd is not None and self.model not in self.prices:
            raise ValueError(
                f"max_cost_usd needs the price of {self.model}: expected prices: {{{self.model}: [INPUT, "
                "OUTPUT]} in US dollars per million tokens, or max_cost_usd: null"
            )
        return self
