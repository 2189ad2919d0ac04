"""Settings of the engine `ray`: which cluster, and how much of it a worker takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from imgpipe.settings.section import Section

#: Address of a cluster that is started for the run.
LOCAL = "local"
_SECRET = re.compile("SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|ACCESS_KEY", re.IGNORECASE)


class RaySettings(Section):
    """The engine `ray`: its cluster and its workers."""

    address: str = Field(
        "",
        pattern=r"^(local|[^@/\s]+:[0-9]+)?$",
        description="Head of the cluster, as host:port, or `local`: one is started on this machine for the "
        "run. Empty: RAY_ADDRESS, else `local`.",
    )
    max_workers: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Workers of a step at most; 0 = as many as the cluster's nodes hold. More than they "
        "hold: Ray's autoscaler is asked for nodes.",
    )
    num_cpus: Literal["auto"] | Annotated[float, Field(gt=0, le=1024)] = Field(
        "auto",
        description="Cores of a worker; `auto`: a GPU's share of its node, without GPU the whole node.",
    )
    num_gpus: Literal["auto"] | Annotated[float, Field(ge=0, le=64)] = Field(
        "auto",
        description="GPUs of a worker, a share of one below 1; `auto`: 1 where a network runs, `device` is "
        "not cpu and the cluster has one, else 0.",
    )
    chunk: int = Field(
        64,
        ge=1,
        le=256,
        description="Images that a worker is given at a time, at most; a worker that is lost loses those "
        "it has.",
    )
    runtime_env: Mapping[str, Any] | None = Field(
        None,
        description="Ray's runtime environment of the workers. null: imgpipe's own code is sent to them; {}: "
        "the nodes have it (an image). Not for credentials: Ray shows it to all who see the cluster.",
    )

    @field_validator("runtime_env")
    @classmethod
    def _without_secrets(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        for name in _names(value or {}):
            if _SECRET.search(name):
                raise ValueError(
                    f"{name} looks like a credential (its value is not shown here), and Ray writes this into "
                    "logs "
                    "and metadata; give the nodes a role, or set it in their own environment"
                )
        return value

    @property
    def cluster(self) -> str:
        """host:port of the head, or :data:`LOCAL`."""
        return self.address or os.environ.get("RAY_ADDRESS", "") or LOCAL


def _names(value: Any) -> Iterator[str]:
    """Every key at any depth."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names(inner)
