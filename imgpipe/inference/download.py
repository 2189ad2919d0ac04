"""Fetching registered weights, and checking those that are there.

With urllib of the standard library: requests is no dependency of ours, and one GET with a Range needs none.
urllib follows redirects and honours ``http_proxy``, ``https_proxy`` and ``no_proxy``.
"""

from __future__ import annotations

import fcntl
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from imgpipe.errors import ConfigError, ModelError, WeightsCorrupt, WeightsMissing
from imgpipe.inference.digests import digest_of, sha256_of
from imgpipe.inference.weights import REGISTRY, Weights, check_digest, locate

_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

#: Longest wait for a connection and for each piece of data.
TIMEOUT_SECONDS = 30.0

#: Pauses before a download that was cut off, or refused for the moment, is taken up again.
RETRY_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)

_CHUNK_BYTES = 2**18
_TRY_AGAIN_STATUS = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class WeightsState:
    """What lies in the model folder for one registered name. ``detail``: what it is or what to do."""

    name: str
    path: Path
    state: Literal["ok", "missing", "corrupt"]
    detail: str


class _Interrupted(Exception):
    """The transfer stopped half-way; what has come is kept and it is worth going on."""


def pull(
    weights: Weights, model_dir: Path, *, on_progress: Progress | None = None, url: str | None = None
) -> Path:
    """Fetch a registered file into ``model_dir``; returns its path at once where it is there, or shipped.

    The bytes go to ``<filename>.part``, resumed by ``Range`` after a break (in this call or an earlier one)
    and restarted where the server does not offer that. Size and sha256 are checked before the file gets its
    name. A second ``pull`` of the same file waits for the first.
    ``on_progress(done_bytes, total_bytes)`` is called after every piece; ``url`` is a mirror's address.

    Raises :class:`WeightsMissing` (no network, refused, not found), :class:`WeightsCorrupt` (other bytes
    than registered, there or here), :class:`ModelError` (the folder cannot be written),
    :class:`ConfigError` (no http address).
    """
    if weights.shipped:
        return locate(weights.name, weights.task, model_dir).path
    address = weights.url if url is None else url
    if not address.lower().startswith(("https://", "http://")):
        raise ConfigError(f"url: expected an http or https address, got {address!r}")
    final = model_dir / weights.filename
    if not weights.size_bytes and not final.is_file():
        raise WeightsMissing(
            f"{weights.name}: its size is stated nowhere, so that a download could not be bounded; fetch "
            f"{weights.url} elsewhere and put it at {final}: its sha256 is checked before it is used"
        )
    part = model_dir / f"{weights.filename}.part"
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            if final.is_file():
                check_digest(weights, final, final.stat().st_size, sha256_of(final))
                part.unlink(missing_ok=True)
                return final
            _fetch_all(weights, address, file, part, on_progress or (lambda done, total: None))
            _finish(weights, address, part, final)
    except OSError as exc:
        raise ModelError(
            f"{weights.name}: {final} cannot be written: {exc}; give another IMGPIPE_MODEL_DIR"
        ) from exc
    return final


def verify(model_dir: Path) -> list[WeightsState]:
    """The state of every registered file, in registry order; every byte is hashed."""
    return [_state_of(weights, weights.path(model_dir)) for weights in REGISTRY.values()]


def _state_of(weights: Weights, path: Path) -> WeightsState:
    if not path.is_file():
        pull = f"run `imgpipe models pull {weights.name}`, or " if weights.size_bytes else ""
        detail = f"{pull}put {weights.url} there"
        return WeightsState(weights.name, path, "missing", detail)
    try:
        check_digest(weights, path, path.stat().st_size, sha256_of(path))
    except ModelError as exc:
        return WeightsState(weights.name, path, "corrupt", str(exc))
    where = ", in the package" if weights.shipped else ""
    detail = f"{path.stat().st_size:,} bytes, sha256 {weights.sha256}{where}"
    return WeightsState(weights.name, path, "ok", detail)


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """The part file, open for appending and locked against every other pull until the block ends."""
    while True:
        with part.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _LOG.info("%s: waiting for another pull of this file", part)
                fcntl.flock(file, fcntl.LOCK_EX)
            # While we waited, the other may have given the file its final name or thrown it away.
            if not _is_same_file(file, part):
                continue
            try:
                yield file
            finally:
                if _is_same_file(file, part) and part.stat().st_size == 0:
                    part.unlink()
            return


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _fetch_all(weights: Weights, url: str, file: BinaryIO, part: Path, report: Progress) -> None:
    """Append to ``file`` until it has the registered size."""
    pauses, furthest = iter(RETRY_PAUSES_SECONDS), file.tell()
    while file.tell() != weights.size_bytes:
        try:
            _fetch_rest(weights, url, file, part, report)
        except _Interrupted as exc:
            if file.tell() > furthest:
                pauses, furthest = iter(RETRY_PAUSES_SECONDS), file.tell()
            pause = next(pauses, None)
            if pause is None:
                raise _unreachable(weights, url, part, str(exc)) from exc
            _LOG.warning("%s: %s at %d bytes, going on in %.1f s", url, exc, file.tell(), pause)
            time.sleep(pause)
    file.flush()
    os.fsync(file.fileno())


def _fetch_rest(weights: Weights, url: str, file: BinaryIO, part: Path, report: Progress) -> None:
    """One request: the missing rest where the server agrees, else the whole file from its start."""
    offset = file.tell() if file.tell() < weights.size_bytes else 0
    headers = {"User-Agent": "imgpipe", "Accept-Encoding": "identity"}
    if offset:
        # No If-Range: bytes of another version show in the sha256.
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - pull() let only http(s) through
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 416:
            _restart(file)
            raise _Interrupted("the server has no such range") from exc
        if exc.code in _TRY_AGAIN_STATUS:
            raise _Interrupted(f"the server answered {exc.code} {exc.reason}") from exc
        raise _unreachable(weights, url, part, f"the server answered {exc.code} {exc.reason}") from exc
    except (urllib.error.URLError, OSError, http.client.HTTPException) as exc:
        raise _unreachable(weights, url, part, f"no connection: {getattr(exc, 'reason', exc)}") from exc
    with response:
        resumed = response.status == 206 and _range_start(response) == offset
        _refuse_other_size(weights, url, response, offset if resumed else 0)
        if not resumed:
            _restart(file)
        _copy(response, file, weights, url, report)


def _copy(
    response: http.client.HTTPResponse, file: BinaryIO, weights: Weights, url: str, report: Progress
) -> None:
    report(file.tell(), weights.size_bytes)
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as exc:
            raise _Interrupted(f"the connection broke ({exc})") from exc
        if not chunk:
            break
        file.write(chunk)
        if file.tell() > weights.size_bytes:
            _restart(file)
            raise WeightsCorrupt(
                f"{url}: expected {weights.size_bytes:,} bytes of {weights.name}, it sends more; "
                f"that is another file; fetch {weights.url}"
            )
        report(file.tell(), weights.size_bytes)
    file.flush()
    if file.tell() < weights.size_bytes:
        raise _Interrupted("the connection was closed early")


def _finish(weights: Weights, url: str, part: Path, final: Path) -> None:
    digest = sha256_of(part)
    found = f"sha256 {digest}, md5 {digest_of(part, 'md5')}" if weights.md5 else f"sha256 {digest}"
    if found != weights.digests:
        part.unlink()
        raise WeightsCorrupt(
            f"{url}: not the registered {weights.name}: expected {weights.digests}, got {found}; "
            f"what came was deleted; try again, or fetch {weights.url} elsewhere"
        )
    part.replace(final)


def _refuse_other_size(weights: Weights, url: str, response: http.client.HTTPResponse, offset: int) -> None:
    """A login page or another file is recognised before anything already fetched is thrown away."""
    length = response.headers.get("Content-Length")
    if length is None or not length.isdecimal() or offset + int(length) == weights.size_bytes:
        return
    raise WeightsCorrupt(
        f"{url}: expected {weights.size_bytes:,} bytes of {weights.name}, the server offers "
        f"{offset + int(length):,} ({response.headers.get_content_type()}); "
        "is there a proxy or a login page in between?"
    )


def _unreachable(weights: Weights, url: str, part: Path, reason: str) -> WeightsMissing:
    return WeightsMissing(
        f"{weights.name}: {url} could not be fetched: {reason}; try again (what has come is kept), or fetch "
        f"it elsewhere ({weights.size_bytes:,} bytes), put it at {part.with_name(weights.filename)} and run "
        "`imgpipe models verify`"
    )


def _range_start(response: http.client.HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _restart(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
