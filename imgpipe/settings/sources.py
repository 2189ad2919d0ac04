"""Settings of reading sources: limits, isolated decoding, and S3."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from imgpipe.settings.section import Section


class LimitSettings(Section):
    """Limits on images; a source outside of them is refused before it is decoded."""

    max_pixels: int = Field(
        100_000_000, ge=1, le=4_000_000_000, description="Largest source picture, px (width x height)."
    )
    max_output_pixels: int = Field(
        268_435_456, ge=1, le=16_000_000_000, description="Largest picture to be made, px."
    )
    max_bytes: int = Field(268_435_456, ge=1, description="Largest source file, bytes.")
    max_memory_bytes: Literal["auto"] | Annotated[int, Field(ge=2**28)] = Field(
        "auto",
        description="Most memory for the images that a stage has in flight together, bytes (268435456..), or "
        "`auto`: half of what is free when the stage starts.",
    )
    max_aspect_ratio: float = Field(
        100.0, ge=1.0, le=65535.0, description="Longest side / shortest side of a source."
    )
    min_side: int = Field(1, ge=1, le=65535, description="Shortest side of a source, px.")
    max_deleted_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Largest share of a data set's sources that may be gone at once; more looks like a "
        "source that is not mounted or mistyped, and is refused. 1: no limit.",
    )
    animated: Literal["first_frame", "reject"] = Field(
        "first_frame", description="Animated sources: keep the first frame and note it, or make an error row."
    )

    def for_own_files(self) -> LimitSettings:
        """Limits for pictures that imgpipe wrote: only their size in memory is limited."""
        return LimitSettings(
            max_pixels=self.max_output_pixels,
            max_output_pixels=self.max_output_pixels,
            max_bytes=1 << 40,
            max_memory_bytes=self.max_memory_bytes,
            max_aspect_ratio=65535.0,
        )


class IntakeSettings(Section):
    """What of a folder is taken in."""

    follow_links: Literal["inside", "always", "never"] = Field(
        "inside",
        description="Symbolic links in a source folder that are followed: those that stay inside it, all "
        "(as for the caches of Hugging Face, DVC and git-annex; a link may then lead to any file of this "
        "machine), or none. What is left out is counted and named.",
    )


class IsolationSettings(Section):
    """Where untrusted bytes are decoded."""

    mode: Literal["process", "none"] = Field(
        "process",
        description="Decode in worker processes, where a crash fails one image, or in this process.",
    )
    timeout_seconds: float = Field(60.0, gt=0, le=3600, description="Longest time for one image, seconds.")
    max_memory_bytes: int = Field(
        2_147_483_648,
        ge=268_435_456,
        description="Address space that a worker may take beyond what it starts with, bytes.",
    )


class S3Settings(Section):
    """Access to S3; credentials come from the AWS environment or profile, never from these settings."""

    endpoint_url: str | None = Field(
        None, description="Address of an S3-compatible server (such as MinIO); empty for AWS."
    )
    region: str | None = Field(None, description="Region name; empty for the environment's.")
    anonymous: bool = Field(False, description="Send unsigned requests, for public buckets.")
    requester_pays: bool = Field(
        False, description="Pay for requests and transfers of buckets whose owner asks for that."
    )
    listing_order: Literal["auto", "sorted", "unsorted"] = Field(
        "auto",
        description="Whether the server lists by key; `unsorted`: sorted on this machine; `auto`: found out.",
    )

    @field_validator("endpoint_url")
    @classmethod
    def _is_an_endpoint(cls, value: str | None) -> str | None:
        return check_endpoint(value) if value else None


def check_endpoint(url: str) -> str:
    """The address of an S3 server; ValueError, which does not repeat it, where it holds more than that."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # Brackets or a port that make no sense.
        usable = False
    if not usable or any(mark in url for mark in "@?#") or any(map(str.isspace, url)):
        raise ValueError(
            "expected an address without user name, password and query, as in http://127.0.0.1:9000 (the "
            "one given is not shown here); put credentials into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or into an AWS profile (AWS_PROFILE)"
        )
    return url
