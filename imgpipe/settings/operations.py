"""Settings of automation, the Dagster UI, cost estimates and jobs."""

from __future__ import annotations

import itertools
import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from imgpipe.settings.section import Section


class ModelSettings(Section):
    """Which registered networks may be used."""

    allowed_licences: tuple[str, ...] = Field(
        ("Apache-2.0", "BSD-3-Clause", "MIT"),
        description="Licences of registered weights that may be fetched and used (`imgpipe models list`); to "
        "name one is to accept its terms. What a file in no registry may be used for is yours to know.",
    )


class AutomationSettings(Section):
    """Automation: finding new sources, sealing shards, and backfills."""

    mode: Literal["schedule", "conditions", "off"] = Field(
        "schedule",
        description="What requests runs: the arrival sensor and a backfill schedule, the sensor and "
        "Dagster's declarative conditions, or nothing.",
    )
    enabled: bool = Field(
        False, description="Start sensors and schedules with the code location; false: start them in the UI."
    )
    prefixes: tuple[str, ...] = Field(
        ("",), description="Key prefixes below `source` that are scanned for sources."
    )
    source_list: str | None = Field(
        None,
        min_length=1,
        description="Parquet or CSV list of the sources, or an S3 inventory (its manifest.json, or the "
        "folder that holds the dated ones), read in place of listing `source`.",
    )
    source_list_complete: bool = Field(
        True, description="Sources that `source_list` does not name are deleted; false: they are kept."
    )
    interval_seconds: int = Field(
        60, ge=1, le=86_400, description="Shortest time between two scans of the arrival sensor, seconds."
    )
    objects_per_tick: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Sources compared in one scan; the next scan continues after them.",
    )
    max_wait_seconds: float = Field(
        3600.0, ge=0.0, description="Longest wait of a new source for its shard to fill, seconds."
    )
    cron: str = Field(
        "*/15 * * * *",
        min_length=1,
        description="When the backfill schedule runs, as a cron expression in UTC.",
    )
    report_cron: str = Field(
        "0 * * * *",
        min_length=1,
        description="When the report is rebuilt if tables or decisions have changed, cron in UTC.",
    )
    max_partitions_per_tick: int = Field(
        10, ge=1, le=10_000, description="Partitions that the backfill schedule keeps queued or running."
    )
    gpu_minutes_per_day: float | None = Field(
        None,
        gt=0,
        description="GPU minutes per UTC day for backfills, estimated from recorded times; null = unlimited.",
    )
    newest_first: bool = Field(
        True, description="Order of equally urgent partitions: newest first; false: oldest first."
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
        description="Retries of a step when the store does not answer; each waits twice as long.",
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
    def _list_or_prefixes(self) -> Self:
        if self.source_list is not None and self.prefixes != ("",):
            raise ValueError("source_list replaces listing by prefixes; set one of the two")
        return self


class AssetSettings(Section):
    """What the Dagster UI shows of the assets."""

    key_prefix: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        description="Before the key of every asset and the name of every job, sensor, schedule and resource; "
        "set it where several data sets share one UI.",
    )

    owners: tuple[str, ...] = Field(
        (), description="Owners of every asset: e-mail addresses, or teams as in `team:art`."
    )
    fresh_within_hours: float | None = Field(
        None,
        ge=0.1,
        le=87600,
        description="An asset without a materialization for this long counts as stale, hours; null = never.",
    )
    max_rejected_share: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        description="Share of a partition's images that may be rejected before the check `rejected_share` of "
        "every asset fails.",
    )
    code_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="URL of the source tree for the links to code, "
        "as in https://host/imgpipe/blob/main; null = the installed files.",
    )

    @field_validator("owners")
    @classmethod
    def _valid_owners(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for owner in value:
            if not re.fullmatch(r"team:\S+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", owner):
                raise ValueError(f"an owner is an e-mail address or team:name, {owner!r} is neither")
        if len(set(value)) != len(value):
            raise ValueError(f"each owner may be listed only once, got {list(value)}")
        return value


class CostSettings(Section):
    """Price of computing, for cost estimates in the UI."""

    price_per_hour: float | None = Field(
        None, ge=0, le=100_000, description="Price of the machine per hour; null = no estimates."
    )
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="Currency of the price, ISO 4217.")


class JobSettings(Section):
    """Jobs of `imgpipe serve` and of the RunPod worker."""

    at_once: int = Field(
        0, ge=0, le=256, description="Jobs in flight at the same time; 0 = number of cores + 2."
    )
    max_waiting: int = Field(
        100, ge=1, le=100_000, description="Jobs that may wait for their turn; more are refused (status 429)."
    )
    url_prefixes: tuple[str, ...] = Field(
        ("s3://",),
        description="What addresses of pictures may begin with, each up to a `/`: s3:// (all that the "
        "credentials here can read), s3://bucket/prefix/, https://host/. Private networks are never asked.",
    )

    @field_validator("url_prefixes")
    @classmethod
    def _whole_prefixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            if not re.fullmatch(r"s3://|https?://|(s3|https?)://[^\s@?#]+/", prefix):
                raise ValueError(
                    f"expected s3://, https:// or http://, with what follows ending in /, {prefix!r} is not"
                )
        return value
