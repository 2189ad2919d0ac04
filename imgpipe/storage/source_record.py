"""The source that a data set was made from: another one under the same name is refused.

``shards/<dataset>/source.json`` is written before the first shard is sealed. Output without it (of an earlier
version, or emptied by a power cut) takes the address with which it is planned next.
"""

from __future__ import annotations

import json
import logging

from imgpipe.errors import ConfigError, ObjectExists, ObjectMissing
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

_LOG = logging.getLogger(__name__)


def recorded_source(output: ImageStore, dataset: str) -> str | None:
    """The address in :attr:`ImageStore.url`'s form, ``None`` where there is no readable record."""
    key = keys.source_record_key(dataset)
    try:
        return str(json.loads(output.read(key))["source"])
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        _LOG.warning("%s: expected the address of the source (%r); it is written again", output.uri(key), exc)
        return None


def require_source(output: ImageStore, dataset: str, source_url: str) -> None:
    """Raise :class:`ConfigError` where the data set was made from another source."""
    before = recorded_source(output, dataset)
    if before in (None, source_url):
        return
    raise ConfigError(
        f"data set {dataset!r} in {output.url} was made from {before}, not from {source_url}; nothing was "
        "changed. Either give the other source a data set of its own (--dataset NAME), or, where it is the "
        "same source at another address, say so once: `imgpipe run --source-moved` or "
        "`imgpipe plan --source-moved`"
    )


def record_source(output: ImageStore, dataset: str, source_url: str, *, moved: bool = False) -> None:
    """Write the record where it is missing or ``moved`` is set; raises as :func:`require_source`."""
    before = recorded_source(output, dataset)
    if before == source_url:
        return
    if before is not None and not moved:
        require_source(output, dataset, source_url)
    key, data = keys.source_record_key(dataset), json.dumps({"source": source_url}).encode()
    try:
        output.write(key, data, overwrite=moved or (before is None and output.exists(key)))
    except ObjectExists:  # another planner recorded its source in between
        require_source(output, dataset, source_url)
