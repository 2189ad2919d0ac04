"""Opens the store at an address, and the two of a data set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from imgpipe.config import Settings
from imgpipe.errors import ConfigError, StoreUnavailable
from imgpipe.settings import S3Settings
from imgpipe.storage.links import FollowLinks
from imgpipe.storage.local import LocalStore
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.source_record import require_source
from imgpipe.storage.store import ImageStore

_ACCEPTED = "expected a folder, file:///absolute/folder or s3://bucket/prefix"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Stores:
    """Where images come from and where everything goes."""

    source: ImageStore
    output: ImageStore


def open_stores(
    settings: Settings, *, client: Any = None, source_moved: bool = False, create: bool = True
) -> Stores:
    """Source and output of a data set; raises as :func:`open_store`, whose ``client`` it takes.

    Without ``create`` an output folder that is not there is not made: an empty store stands for it. Raises
    :class:`ConfigError` too where one of them is not set, and, unless ``source_moved``, where the data set
    was made from another source.
    """
    settings.require_source_and_output()
    links = settings.intake.follow_links
    source = open_store(settings.source, settings.s3, client=client, follow_links=links)
    if create or "://" in settings.output or Path(settings.output).expanduser().exists():
        output = open_store(settings.output, settings.s3, create=create, client=client)
    else:
        output = MemoryStore()
    stores = Stores(source, output)
    if not source_moved:
        require_source(stores.output, settings.dataset, stores.source.url)
    return stores


def open_store(
    url: str,
    s3: S3Settings,
    *,
    create: bool = False,
    client: Any = None,
    follow_links: FollowLinks = "inside",
) -> ImageStore:
    """The store at ``url``: a folder (``~`` allowed), ``file://...`` or ``s3://bucket/prefix``.

    ``client``: a boto3 S3 client to use in place of the one that is made from ``s3`` and the environment.

    ``follow_links``: which links in a folder are followed (:mod:`imgpipe.storage.links`).
    ``create`` makes a folder that is not there; buckets are never made. Whether a bucket can be reached
    shows with the first use, as StoreUnavailable. Raises :class:`ConfigError` for any other address and
    for a folder that does not exist, StoreUnavailable where a folder cannot be made.
    """
    if not url.strip():
        raise ConfigError(f"{_ACCEPTED}, got nothing; give --output URL, or set output in imgpipe.yaml")
    scheme, separator, rest = url.partition("://")
    if separator and "@" in rest.partition("/")[0]:
        raise ConfigError(
            f"{scheme}://…: {_ACCEPTED}, got one with @ before the first slash (not shown here); put "
            "credentials into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an AWS profile (AWS_PROFILE)"
        )
    if not separator:
        return LocalStore(_open_folder(Path(url), create=create), follow_links)
    if scheme.lower() == "file":
        return LocalStore(_open_folder(_file_url_path(url), create=create), follow_links)
    if scheme.lower() == "s3":
        return _open_s3(url, rest, s3, client)
    raise ConfigError(f"{url}: {_ACCEPTED}; {scheme}:// is not supported")


def _file_url_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ConfigError(f"{url}: {_ACCEPTED}; a file:// address needs three slashes before the folder")
    return Path(unquote(parts.path, errors="surrogateescape"))


def _open_folder(path: Path, *, create: bool) -> Path:
    try:
        folder = path.expanduser().absolute()
    except RuntimeError as exc:
        raise ConfigError(f"{path}: ~ cannot be resolved: {exc}") from exc
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        is_folder = folder.is_dir()
        exists = folder.exists()
    except (FileExistsError, NotADirectoryError) as exc:
        raise ConfigError(f"{folder}: expected a folder, but there is a file in its place") from exc
    except (OSError, ValueError) as exc:
        raise StoreUnavailable(f"{folder}: cannot be opened: {exc}; check its permissions and disk") from exc
    if not is_folder:
        found = "is a file" if exists else "does not exist; check its spelling"
        raise ConfigError(f"{folder}: expected a folder, it {found}")
    return folder


def _open_s3(url: str, rest: str, s3: S3Settings, client: Any) -> ImageStore:
    from imgpipe.storage.s3 import S3Store
    from imgpipe.storage.s3_client import s3_client

    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"{url}: expected s3://bucket/prefix, {bucket!r} is no bucket name")
    made = s3_client(s3) if client is None else client
    return S3Store(bucket, prefix, made, listing_order=s3.listing_order)
