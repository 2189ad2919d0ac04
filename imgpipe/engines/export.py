"""Results under the names of their sources: a folder tree for people and for training.

What was written is on record in the target (:data:`RECORD`), so that the next export writes only what is new
or changed, and never replaces a file of somebody else's. All names are known before the first file is
written; they lie in a temporary database.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imgpipe.errors import ConfigError, ImageError, ObjectDamaged, ObjectExists, ObjectMissing, StorageError
from imgpipe.images.encode import EXTENSIONS
from imgpipe.records import ImageRow, Status
from imgpipe.review.decisions import verdict_of
from imgpipe.settings import LimitSettings
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.parquet import from_parquet, to_parquet
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_standing

#: In the target: name, sha256 of the result that a file was made from, and its size in bytes.
RECORD = ".imgpipe-export.parquet"
Only = Literal["ok", "accepted", "all"]
Links = Literal["copy", "hard", "symbolic"]
_TABLES = """
CREATE TABLE wanted (name TEXT PRIMARY KEY, source TEXT, key TEXT, made_from TEXT) WITHOUT ROWID;
CREATE TABLE written (name TEXT PRIMARY KEY, made_from TEXT, size INTEGER) WITHOUT ROWID;
CREATE TABLE there (name TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID;
"""
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
    """Counts of files, and in words what was not exported (``failed``) or changed on the way (``notes``)."""

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    outdated: int = 0
    left_out: int = 0
    failed: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)


def export(
    output: ImageStore,
    target: ImageStore,
    choice: Choice,
    limits: LimitSettings,
    on_file: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """Bring ``target`` up to date; ``on_file`` hears how many of how many files are done.

    Raises :class:`ConfigError`, before anything is written, where two results would have one name or links
    are asked for between stores that have none.
    """
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
        names.executemany("INSERT INTO written VALUES (?, ?, ?)", rows)
        names.executemany(
            "INSERT INTO there VALUES (?, ?)", ((found.key, found.size_bytes) for found in target.list())
        )
        try:
            _write_new(names, _Copier(output, target, choice, limits), done, on_file)
            _remove_old(names, target, choice, done)
        finally:  # What was written is on record, however it ends.
            _keep_record(names, target)
    return done


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
    for shard in list_shards(output, choice.dataset):
        tables = read_standing(output, (choice.asset, QUALITY), choice.dataset, shard)
        judged = tables.get(QUALITY, {})
        for row in tables.get(choice.asset, {}).values():
            if row.output_key and _is_wanted(judged.get(row.image_id), choice.only):
                yield row
            else:
                done.left_out += 1


def _is_wanted(verdict: ImageRow | None, only: Only) -> bool:
    if only == "all":
        return True
    good = verdict is not None and verdict.status is Status.OK
    return good and (only == "accepted" or verdict is None or verdict_of(verdict) is None)


def _name(row: ImageRow, kind: str) -> str:
    ending = f".{EXTENSIONS[kind]}" if kind else posixpath.splitext(row.output_key)[1]
    return posixpath.splitext(row.source_key)[0] + ending


def _recorded(target: ImageStore) -> list[tuple[str, str, int]]:
    try:
        table, _ = from_parquet(target.read(RECORD), target.uri(RECORD))
    except ObjectMissing:
        return []
    return [(row["name"], row["made_from"], row["size"]) for row in table.to_pylist()]


def _keep_record(names: sqlite3.Connection, target: ImageStore) -> None:
    import pyarrow as pa

    rows = names.execute("SELECT name, made_from, size FROM written ORDER BY name").fetchall()
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(dict(zip(("name", "made_from", "size"), columns, strict=True)))
    target.write(RECORD, to_parquet(table), overwrite=True)


def _write_new(
    names: sqlite3.Connection, copier: _Copier, done: Exported, on_file: Callable[[int, int], None]
) -> None:
    (total,) = names.execute("SELECT count(*) FROM wanted").fetchone()
    names.execute(
        "CREATE TABLE due AS SELECT wanted.name, source, key, wanted.made_from, "
        "written.name IS NOT NULL, there.name IS NOT NULL "
        "FROM wanted LEFT JOIN written USING (name) LEFT JOIN there USING (name) "
        "WHERE written.made_from IS NOT wanted.made_from OR there.size IS NOT written.size ORDER BY name"
    )
    (count,) = names.execute("SELECT count(*) FROM due").fetchone()
    done.unchanged = total - count
    on_file(done.unchanged, total)
    due = names.execute("SELECT * FROM due")
    with ThreadPoolExecutor(_THREADS, "imgpipe-export") as pool:
        while chunk := due.fetchmany(_CHUNK):
            for (name, source, _, made_from, *_), made in zip(chunk, pool.map(copier, chunk), strict=True):
                if isinstance(made, str):
                    done.failed.append(f"{source}: {made}")
                    continue
                size, notes = made
                done.written += 1
                for note in notes:
                    done.notes[note] = done.notes.get(note, 0) + 1
                names.execute("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", (name, made_from, size))
                on_file(done.unchanged + done.written, total)


def _remove_old(names: sqlite3.Connection, target: ImageStore, choice: Choice, done: Exported) -> None:
    """Files of earlier exports that are as they were written and not wanted any more."""
    old = names.execute(
        "SELECT written.name FROM written LEFT JOIN wanted USING (name) JOIN there USING (name) "
        "WHERE wanted.name IS NULL AND there.size = written.size"
    ).fetchall()
    if not choice.prune:
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

    def __call__(self, due: tuple[str, str, str, str, bool, bool]) -> tuple[int, tuple[str, ...]] | str:
        name, _, key, made_from, ours, there = due
        try:
            data = self.output.read(key)
            if hashlib.sha256(data).hexdigest() != made_from[:64]:
                raise ObjectDamaged(f"{self.output.uri(key)} is not what its row says; run again")
            notes: tuple[str, ...] = ()
            if self.choice.format:
                data, notes = self._encoded(data)
            if there and not ours and self.target.read(name) != data:
                raise ObjectExists(
                    f"{self.target.uri(name)} exists and is no export's; move it, or export elsewhere"
                )
            if self.choice.links == "copy":
                self.target.write(name, data, overwrite=True)
            else:
                _link(Path(self.output.uri(key)), Path(self.target.uri(name)), self.choice.links)
            return len(data), notes
        except (ImageError, ObjectMissing, ObjectDamaged, ObjectExists) as exc:
            return str(exc)

    def _encoded(self, data: bytes) -> tuple[bytes, tuple[str, ...]]:
        from imgpipe.images.decode import decode
        from imgpipe.images.encode import encode_fitting

        picture = decode(data, name="the result", limits=self.limits.for_own_files())
        return encode_fitting(picture, self.choice.format)


def _link(file: Path, place: Path, kind: Links) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{uuid.uuid4().hex}")
    try:
        (os.link if kind == "hard" else os.symlink)(file, temporary)
        temporary.replace(place)
    except OSError as exc:
        raise StorageError(f"{place}: no {kind} link to {file}: {exc.strerror}; take copies") from exc
    finally:
        temporary.unlink(missing_ok=True)
