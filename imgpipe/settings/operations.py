"""How a data set is operated: what happens by itself, and what people see and decide."""

from __future__ import annotations

import itertools
import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from imgpipe.settings.section import Section


class AutomationSettings(Section):
    """What happens by itself: finding new sources, sealing shards, and backfills."""

    mode: Literal["schedule", "conditions", "off"] = Field(
        "schedule",
        description="What requests runs: the arrival sensor and a backfill schedule, the sensor and "
        "Dagster's declarative conditions, or nothing.",
    )
    enabled: bool = Field(
        False, description="Sensors and schedule start with the code location; else switch them on in the UI."
    )
    prefixes: tuple[str, ...] = Field(
        ("",), description="Where new sources are looked for: beginnings of keys below `source`."
    )
    source_list: str | None = Field(
        None,
        min_length=1,
        description="Parquet or CSV list of the sources, or an S3 inventory (its manifest.json, or the "
        "folder that holds the dated ones), read in place of listing `source`.",
    )
    source_list_complete: bool = Field(
        True, description="What `source_list` does not name is deleted; false: it is left alone."
    )
    interval_seconds: int = Field(
        60, ge=1, le=86_400, description="Shortest time between two looks of the arrival sensor, seconds."
    )
    objects_per_tick: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Sources that one look compares; the next one goes on there.",
    )
    max_wait_seconds: float = Field(
        3600.0, ge=0.0, description="Longest wait of a new source for its shard to fill, seconds."
    )
    cron: str = Field(
        "*/15 * * * *",
        min_length=1,
        description="When the backfill schedule looks, as a cron expression in UTC.",
    )
    report_cron: str = Field(
        "0 * * * *",
        min_length=1,
        description="When the report is made again if tables or decisions have changed, cron in UTC.",
    )
    max_partitions_per_tick: int = Field(
        10, ge=1, le=10_000, description="Partitions that the backfill schedule keeps queued or running."
    )
    gpu_minutes_per_day: float | None = Field(
        None,
        gt=0,
        description="GPU minutes per UTC day for backfills, estimated from recorded times; null = any.",
    )
    newest_first: bool = Field(
        True, description="Among equally urgent partitions the newest come first, else the oldest."
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts at one image, and failed runs of one partition, before giving up.",
    )
    infrastructure_retries: int = Field(
        3,
        ge=0,
        le=20,
        description="Retries of a step, each after twice the wait, when the store does not answer.",
    )

    @field_validator("prefixes")
    @classmethod
    def _prefixes_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError('expected at least one prefix; "" is everything below the source')
        ordered = sorted(value)
        for shorter, longer in itertools.pairwise(ordered):
            if longer.startswith(shorter):
                raise ValueError(f"{longer!r} lies below {shorter!r}; keep one of them")
        return tuple(ordered)

    @model_validator(mode="after")
    def _one_way_to_look(self) -> Self:
        if self.source_list is not None and self.prefixes != ("",):
            raise ValueError("source_list replaces listing by prefixes; set one of the two")
        return self


class AssetSettings(Section):
    """What the assets say of themselves in the Dagster UI."""

    owners: tuple[str, ...] = Field(
        (), description="Owners of every asset: e-mail addresses, or teams as in `team:art`."
    )
    fresh_within_hours: float | None = Field(
        None,
        ge=0.1,
        le=87600,
        description="An asset without a materialization for this long counts as stale, hours; null = never.",
    )
    code_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="Address of the source tree that links to code lead to, "
        "as in https://host/imgpipe/blob/main; null = the installed files.",
    )

    @field_validator("owners")
    @classmethod
    def _who_can_be_asked(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for owner in value:
            if not re.fullmatch(r"team:\S+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", owner):
                raise ValueError(f"an owner is an e-mail address or team:name, {owner!r} is neither")
        if len(set(value)) != len(value):
            raise ValueError(f"each owner may stand only once, got {list(value)}")
        return value


class CostSettings(Section):
    """What computing costs, for estimates in the UI."""

    price_per_hour: float | None = Field(
        None, ge=0, le=100_000, description="Price of the machine per hour; null = no estimates."
    )
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="Currency of the price, ISO 4217.")


class ReviewSettings(Section):
    """Decisions of people about single images."""

    user: str = Field("", max_length=200, description="Name to decide under; empty = the login name.")
