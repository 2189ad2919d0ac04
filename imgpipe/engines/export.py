"""Results under the names of their sources: a folder tree for people and for training.

What was written is on record in the target (:data:`RECORD`), so that the next export writes only what is new
or changed, and never replaces a file of somebody else's, of another data set, or one that was changed since.
All names are known before the first file is
written; they lie in a temporary database.
"""

from __future__ import annotations

import hashlib
import posixpath
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from imgpipe.errors import (
    ConfigError,
    ImageError,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectUnreadable,
)
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.records import ImageRow, Status
from imgpipe.review.decisions import verdict_of
from imgpipe.settings import LimitSettings
from imgpipe.stages.catalogue import CATALOGUE, QUALITY
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.parquet import from_parquet, to_parquet
from imgpipe.storage.source_record import recorded_source
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_standing, table_exists

#: In the target: data set, name, sha256 of the result that a file was made from, and its size in bytes.
RECORD = ".imgpipe-export.parquet"
Only = Literal["ok", "accepted", "all"]
Links = Literal["copy", "hard", "symbolic"]
_TABLES = """
CREATE TABLE wanted (name TEXT PRIMARY KEY, source TEXT, key TEXT, made_from TEXT) WITHOUT ROWID;
CREATE TABLE written (name TEXT PRIMARY KEY, made_from TEXT, size INTEGER, dataset TEXT) WITHOUT ROWID;
CREATE TABLE there (name TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID;
"""
_COLUMNS = ("name", "made_from", "size", "dataset")
_THREADS, _CHUNK = 8, 256
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """What is exported.

    ``asset``: whose pictures. ``only``: ``ok`` by their scores, ``accepted`` those that a person accepted
    too, ``all`` whatever there is a picture of. ``format``: as :func:`~imgpipe.images.encode.encode` names
    it; empty: as it is. ``prune``: files of earlier exports that are not chosen any more are removed.
    """

    dataset: str
    asset: str
    only: Only = "accepted"
    format: str = ""
    links: Links = "copy"
    prune: bool = False


@dataclass
class Exported:
    """Counts of files, and in words what was not exported (``failed``) or changed on the way (``notes``).

    ``unfinished``: shards without rows or verdicts; nothing is pruned while there are some.
    """

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    outdated: int = 0
    left_out: int = 0
    failed: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)


def export(
    output: ImageStore,
    target: ImageStore,
    choice: Choice,
    limits: LimitSettings,
    on_file: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """Bring ``target`` up to date; ``on_file`` hears how many of how many files are done.

    Raises :class:`ConfigError`, before anything is written, where two results would have one name, the data
    set has nothing of ``asset``, ``target`` lies in the output or in the source, or links are asked for
    between stores that have none.
    """
    _require_apart(output, target, choice.dataset)
    if choice.links != "copy" and not (isinstance(output, LocalStore) and isinstance(target, LocalStore)):
        raise ConfigError("--links: expected two folders for links, one of them is a bucket; take copies")
    if choice.links != "copy" and choice.format:
        raise ConfigError("--links and --format exclude each other: a link is the file itself")
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as names:
        names.executescript(_TABLES)
        done = Exported()
        names.execute("BEGIN")
        _choose(names, output, choice, done)
        rows = _recorded(target)
        names.executemany("INSERT INTO written VALUES (?, ?, ?, ?)", rows)
        names.executemany(
            "INSERT INTO there VALUES (?, ?)", ((found.key, found.size_bytes) for found in target.list())
        )
        try:
            _write_new(names, _Copier(output, target, choice, limits), done, on_file)
            _remove_old(names, target, choice, done)
        finally:  # What was written is on record, however it ends.
            _keep_record(names, target)
    return done


def _require_apart(output: ImageStore, target: ImageStore, dataset: str) -> None:
    """Where sources lie, exported files would be the next run's sources; where results lie, their files."""
    for kind, url in (("results", output.url), ("source", recorded_source(output, dataset))):
        if url and f"{target.url.rstrip('/')}/".startswith(f"{url.rstrip('/')}/"):
            raise ConfigError(
                f"{target.url}: expected a target outside of the data set's {kind} {url}; "
                "choose another folder"
            )


def _choose(names: sqlite3.Connection, output: ImageStore, choice: Choice, done: Exported) -> None:
    collisions: list[str] = []
    for row in _results(output, choice, done):
        name = _name(row, choice.format)
        try:
            made_from = f"{row.output_sha256} {choice.format}".strip()
            names.execute(
                "INSERT INTO wanted VALUES (?, ?, ?, ?)", (name, row.source_key, row.output_key, made_from)
            )
        except sqlite3.IntegrityError:
            (other,) = names.execute("SELECT source FROM wanted WHERE name = ?", (name,)).fetchone()
            collisions.append(f"{other} and {row.source_key} would both be {name}")
    if collisions:
        more = f", and {len(collisions) - _NAMED} more" if len(collisions) > _NAMED else ""
        raise ConfigError(
            f"{'; '.join(collisions[:_NAMED])}{more}; nothing was exported: rename one of each at the source"
        )


def _results(output: ImageStore, choice: Choice, done: Exported) -> Iterator[ImageRow]:
    """The rows of ``choice.asset`` that are wanted."""
    shards = list_shards(output, choice.dataset)
    some = False
    for shard in shards:
        tables = read_standing(output, (choice.asset, QUALITY), choice.dataset, shard)
        judged = tables.get(QUALITY, {})
        some |= choice.asset in tables
        if choice.asset not in tables or (QUALITY not in tables and choice.only != "all"):
            done.unfinished.append(shard)
            continue
        for row in tables[choice.asset].values():
            if row.output_key and _is_wanted(judged.get(row.image_id), choice.only):
                yield row
            else:
                done.left_out += 1
    if not some:
        raise ConfigError(
            f"data set {choice.dataset!r} in {output.url} has no {choice.asset}; "
            f"{_there(output, choice.dataset, shards)}"
        )


def exported_assets() -> dict[str, str]:
    """What can be exported, by its folder's name: all that has a picture of an image."""
    return {row.folder: row.asset for row in CATALOGUE.values() if row.folder and row.asset != QUALITY}


def _there(output: ImageStore, dataset: str, shards: list[str]) -> str:
    """In words, what can be exported."""
    found = (
        name
        for name, asset in exported_assets().items()
        if any(table_exists(output, asset, dataset, shard) for shard in shards)
    )
    named = ", ".join(found)
    return f"--what: {named}" if named else "it has no results: check --dataset, or run first"


def _is_wanted(verdict: ImageRow | None, only: Only) -> bool:
    if only == "all":
        return True
    good = verdict is not None and verdict.status is Status.OK
    return good and (only == "accepted" or verdict is None or verdict_of(verdict) is None)


def _name(row: ImageRow, kind: str) -> str:
    ending = f".{EXTENSIONS[kind]}" if kind else posixpath.splitext(row.output_key)[1]
    return posixpath.splitext(row.source_key)[0] + ending


def _recorded(target: ImageStore) -> list[tuple[str, str, int, str]]:
    try:
        table, _ = from_parquet(target.read(RECORD), target.uri(RECORD))
    except ObjectMissing:
        return []
    return [tuple(row[column] for column in _COLUMNS) for row in table.to_pylist()]


def _keep_record(names: sqlite3.Connection, target: ImageStore) -> None:
    import pyarrow as pa

    rows = names.execute("SELECT name, made_from, size, dataset FROM written ORDER BY name").fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    table = pa.table(dict(zip(_COLUMNS, columns, strict=True)))
    target.write(RECORD, to_parquet(table), overwrite=True)


def _write_new(
    names: sqlite3.Connection, copier: _Copier, done: Exported, on_file: Callable[[int, int], None]
) -> None:
    (total,) = names.execute("SELECT count(*) FROM wanted").fetchone()
    names.execute(
        "CREATE TABLE due AS SELECT wanted.name, source, key, wanted.made_from, "
        # As an export left it: not of others, of another data set, or changed by hand.
        "written.dataset IS ? AND coalesce(there.size = written.size, TRUE) AS ours "
        "FROM wanted LEFT JOIN written USING (name) LEFT JOIN there USING (name) "
        "WHERE NOT ours OR there.name IS NULL OR written.made_from IS NOT wanted.made_from ORDER BY name",
        (copier.choice.dataset,),
    )
    (count,) = names.execute("SELECT count(*) FROM due").fetchone()
    done.unchanged = total - count
    on_file(done.unchanged, total)
    due = names.execute("SELECT * FROM due")
    dataset = copier.choice.dataset
    pool = ThreadPoolExecutor(_THREADS, "imgpipe-export")
    try:
        while chunk := due.fetchmany(_CHUNK):
            for (name, source, _, made_from, _), made in zip(chunk, pool.map(copier, chunk), strict=True):
                if isinstance(made, str):
                    done.failed.append(f"{source}: {made}")
                    continue
                size, notes = made
                done.written += 1
                for note in notes:
                    done.notes[note] = done.notes.get(note, 0) + 1
                names.execute(
                    "INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?)", (name, made_from, size, dataset)
                )
                on_file(done.unchanged + done.written, total)
    finally:  # Ctrl-C and a full disk wait for the files in hand alone.
        pool.shutdown(cancel_futures=True)


def _remove_old(names: sqlite3.Connection, target: ImageStore, choice: Choice, done: Exported) -> None:
    """Files of earlier exports as they were written, or links to nothing, that are not wanted any more."""
    old = names.execute(
        "SELECT written.name FROM written LEFT JOIN wanted USING (name) LEFT JOIN there USING (name) "
        "WHERE wanted.name IS NULL AND coalesce(there.size = written.size, TRUE) AND written.dataset = ?",
        (choice.dataset,),
    ).fetchall()
    if not choice.prune or done.unfinished:
        done.outdated = len(old)
        return
    for (name,) in old:
        target.delete(name)
        names.execute("DELETE FROM written WHERE name = ?", (name,))
        done.removed += 1


@dataclass(frozen=True, slots=True)
class _Copier:
    """Writes one file: its size in bytes and notes, or in words why it was not written."""

    output: ImageStore
    target: ImageStore
    choice: Choice
    limits: LimitSettings

    def __call__(self, due: tuple[str, str, str, str, bool]) -> tuple[int, tuple[str, ...]] | str:
        name, _, key, made_from, ours = due
        try:
            data = self.output.read(key)
            if hashlib.sha256(data).hexdigest() != made_from[:64]:
                raise ObjectDamaged(f"{self.output.uri(key)} is not what its row says; run again")
            notes: tuple[str, ...] = ()
            if self.choice.format:
                data, notes = self._encoded(data)
            try:
                self._place(name, key, data, overwrite=ours)
            except ObjectExists as exc:
                if self.target.read(name) != data:
                    raise ObjectExists(
                        f"{self.target.uri(name)} is not as an export of this data set left it; move it, or "
                        "export elsewhere"
                    ) from exc
            return len(data), notes
        except (ImageError, ObjectMissing, ObjectUnreadable, ObjectExists) as exc:
            return str(exc)

    def _place(self, name: str, key: str, data: bytes, *, overwrite: bool) -> None:
        if self.choice.links == "copy":
            self.target.write(name, data, overwrite=overwrite)
        elif isinstance(self.output, LocalStore) and isinstance(self.target, LocalStore):
            symbolic = self.choice.links == "symbolic"
            self.target.link(name, self.output.path(key), symbolic=symbolic, overwrite=overwrite)

    def _encoded(self, data: bytes) -> tuple[bytes, tuple[str, ...]]:
        from imgpipe.images.decode import decode
        from imgpipe.images.encode import encode_fitting

        picture = decode(data, name="the result", limits=self.limits.for_own_files())
        return encode_fitting(picture, self.choice.format)
