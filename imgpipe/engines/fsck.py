"""Compares rows with objects and digests, both ways, shard by shard; repairs and removes on request.

The rows are taken for true: every file that a row names is to be there with its size and digest, and every
file of a stage is to be named by a row. A shard that a run works on, or left unfinished, is not judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from imgpipe.engines.deleted import restored
from imgpipe.engines.survey import ShardObjects, survey
from imgpipe.errors import ObjectMissing, ObjectUnreadable
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import CATALOGUE, Action
from imgpipe.storage import keys
from imgpipe.storage.lease import hold
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import mark_outdated, read_table

#: Shards that are compared at once, and requests about files at once.
_SHARDS, _REQUESTS = 8, 32


class Kind(StrEnum):
    """What is wrong. :data:`REPAIRED` and :data:`REMOVED` say which of them something can be done about."""

    MISSING = "missing"
    SIZE = "size"
    CHECKSUM = "checksum"
    ROWS = "other_rows"
    TABLE = "table"
    ORPHAN = "orphan"
    MANIFEST = "manifest"
    UNFINISHED = "unfinished"


#: Kinds that :func:`mend` has the next run make again, and those that it deletes where asked to.
REPAIRED = frozenset({Kind.MISSING, Kind.SIZE, Kind.CHECKSUM, Kind.ROWS, Kind.TABLE})
REMOVED = frozenset({Kind.ORPHAN})
_OF_A_FILE = frozenset({Kind.SIZE, Kind.CHECKSUM, Kind.TABLE, Kind.ORPHAN})


@dataclass(frozen=True, slots=True)
class Finding:
    """``key``: the object, or empty; ``size_bytes``: of an orphan; ``said``: what was expected and found."""

    kind: Kind
    dataset: str
    shard: str
    said: str
    asset: str = ""
    key: str = ""
    image_id: str = ""
    size_bytes: int = 0


@dataclass
class ShardCheck:
    """``rows`` that were compared, ``files`` that they name; of ``verified`` ones the digest was compared."""

    dataset: str
    shard: str
    rows: int = 0
    files: int = 0
    verified: int = 0
    findings: list[Finding] = field(default_factory=list)


class Depth(StrEnum):
    """How files are compared: by the listing alone, by the digest that the store keeps beside each of them
    (S3: a HEAD request; a folder keeps none), or by reading them."""

    SIZES = "sizes"
    KEPT = "kept"
    DEEP = "deep"


def check(output: ImageStore, dataset: str = "", depth: Depth = Depth.KEPT) -> Iterator[ShardCheck]:
    """Every shard of a data set, or of all; memory holds the rows of a few shards.

    Raises :class:`StoreUnavailable`.
    """
    found = survey(output, dataset)
    with (
        ThreadPoolExecutor(_SHARDS, "fsck-shards") as shards,
        ThreadPoolExecutor(_REQUESTS, "fsck-files") as files,
    ):
        while batch := list(islice(found, _SHARDS)):
            yield from shards.map(lambda objects: _Comparison(output, objects, depth, files).done(), batch)


def mend(
    output: ImageStore, findings: Iterable[Finding], *, repair: bool, remove: bool, depth: Depth
) -> list[Finding]:
    """Act on the findings about one shard that still hold; returns those that were acted upon.

    ``repair``: damaged files and tables are deleted and their shard is marked, so that the next run makes
    them again. ``remove``: orphans are deleted. Raises :class:`LeaseHeld` where a run works on the shard.
    """
    kinds = (REPAIRED if repair else frozenset()) | (REMOVED if remove else frozenset())
    wanted = {finding for finding in findings if finding.kind in kinds}
    if not wanted:
        return []
    one = next(iter(wanted))
    with (
        hold(output, one.dataset, one.shard, sleep=None),
        ThreadPoolExecutor(_REQUESTS, "fsck-files") as pool,
    ):
        objects = next(survey(output, one.dataset, one.shard))
        objects.leases.clear()  # ours
        still = [
            finding
            for finding in _Comparison(output, objects, depth, pool).done().findings
            if finding in wanted
        ]
        list(pool.map(output.delete, [finding.key for finding in still if finding.kind in _OF_A_FILE]))
        for asset in {finding.asset for finding in still if finding.kind in REPAIRED - {Kind.TABLE}}:
            mark_outdated(output, asset, one.dataset, one.shard)
    return still


class _Comparison:
    """One shard."""

    def __init__(
        self, output: ImageStore, objects: ShardObjects, depth: Depth, files: ThreadPoolExecutor
    ) -> None:
        self._output, self._objects, self._depth, self._pool = output, objects, depth, files
        self._result = ShardCheck(objects.dataset, objects.shard)
        self._named: set[str] = set()
        #: Images and folders whose files are not taken for orphans.
        self._spared: set[tuple[str, str]] = set()
        self._unread: set[str] = set()

    def done(self) -> ShardCheck:
        """Compare; call once."""
        objects = self._objects
        if objects.leases or objects.unfinished:
            what = "a run works on it" if objects.leases else "a run was stopped in it"
            self._add(Kind.UNFINISHED, f"{what}, or was killed there: not judged; run again")
            return self._result
        members = self._members()
        for action in CATALOGUE.values():
            if action.asset in objects.tables:
                self._compare_table(action, members)
            elif objects.manifest and action.folder and (files := self._of_folder(action.folder)):
                key = keys.table_key(action.asset, objects.dataset, objects.shard)
                said = f"the table is gone, {len(files)} files of its stage are there"
                self._add(Kind.TABLE, said, asset=action.asset, key=key)
        self._find_orphans()
        return self._result

    def _add(self, kind: Kind, said: str, **where: str | int) -> None:
        self._result.findings.append(
            Finding(kind, self._objects.dataset, self._objects.shard, said, **where)  # type: ignore[arg-type]
        )

    def _members(self) -> set[str] | None:
        """Ids of the manifest's images; ``None`` where it cannot be read."""
        objects = self._objects
        key = keys.manifest_key(objects.dataset, objects.shard)
        if not objects.manifest:
            if objects.tables:
                said = "the manifest is gone, its tables are there: restore it from a copy"
                self._add(Kind.MANIFEST, said, key=key)
            return None
        try:
            manifest = read_manifest(self._output, objects.dataset, objects.shard)
        except ObjectUnreadable as exc:
            self._add(Kind.MANIFEST, str(exc), key=key)
            return None
        return {entry.image_id for entry in manifest.entries}

    def _compare_table(self, action: Action, members: set[str] | None) -> None:
        dataset, shard = self._objects.dataset, self._objects.shard
        try:
            rows, _ = read_table(self._output, action.asset, dataset, shard)
        except ObjectUnreadable as exc:
            self._unread.add(action.folder)
            key = keys.table_key(action.asset, dataset, shard)
            self._add(Kind.TABLE, str(exc), asset=action.asset, key=key)
            return
        self._result.rows += len(rows)
        ids = {row.image_id for row in rows}
        if members is not None and (ids != members or len(ids) != len(rows)):
            missing, unknown = len(members - ids), len(ids - members)
            said = f"expected a row for each image; {missing} lack one, {unknown} are not the shard's"
            repeated = len(rows) - len(ids)
            self._add(Kind.ROWS, f"{said}, {repeated} are repeated", asset=action.asset)
        for row in rows:
            if row.status is Status.ERROR:  # Files of earlier versions stay.
                self._spared.add((action.folder, row.image_id))
            self._named.update(restored(row).files.values())
        self._compare_files(action.asset, [row for row in rows if row.status in (Status.OK, Status.REJECTED)])

    def _compare_files(self, asset: str, rows: list[ImageRow]) -> None:
        there: Mapping[str, int] = self._objects.files
        to_verify: list[tuple[dict[str, str], str]] = []
        for row in rows:
            for kind, key in row.files.items():
                self._result.files += 1
                size = there.get(key)
                where = {"asset": asset, "key": key, "image_id": row.image_id}
                if size is None:
                    self._add(Kind.MISSING, "its row names it, it is not there", **where)
                elif size == 0 or (key == row.output_key and size != row.size_bytes):
                    expected = f"{row.size_bytes:,}" if key == row.output_key else "some"
                    self._add(Kind.SIZE, f"expected {expected} bytes, found {size:,}", **where)
                elif kind in row.digests and self._depth is not Depth.SIZES:
                    to_verify.append((where, row.digests[kind]))
        found = self._pool.map(self._digest, [where["key"] for where, _ in to_verify])
        for (where, expected), digest in zip(to_verify, found, strict=True):
            self._result.verified += digest is not None
            if digest == "":
                self._add(Kind.MISSING, "its row names it, it cannot be read", **where)
            elif digest is not None and digest != expected:
                said = f"expected sha256 {expected[:12]}…, found {digest[:12]}…"
                self._add(Kind.CHECKSUM, said, **where)

    def _digest(self, key: str) -> str | None:
        """``None`` where the store keeps none, empty where the file is not to be had."""
        try:
            if self._depth is Depth.KEPT:
                return self._output.stored_sha256(key)
            return hashlib.sha256(self._output.read(key)).hexdigest()
        except (ObjectMissing, ObjectUnreadable):
            return ""

    def _find_orphans(self) -> None:
        """Of stages whose table is there and could be read; of a shard that nothing else is known of, all."""
        unknown = not (self._objects.manifest or self._objects.tables)
        for action in CATALOGUE.values():
            if not action.folder or action.folder in self._unread:
                continue
            if not unknown and action.asset not in self._objects.tables:
                continue
            for key in sorted(self._of_folder(action.folder) - self._named):
                image_id = keys.image_of(key)
                if (action.folder, image_id) not in self._spared:
                    size = self._objects.files[key]
                    where = {"asset": action.asset, "key": key, "image_id": image_id}
                    self._add(Kind.ORPHAN, "no row names it", **where, size_bytes=size)

    def _of_folder(self, folder: str) -> set[str]:
        prefixes = keys.image_prefixes(folder, self._objects.dataset, self._objects.shard)
        return {key for key in self._objects.files if key.startswith(prefixes)}
