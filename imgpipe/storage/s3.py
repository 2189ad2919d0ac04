"""S3 and S3-compatible servers as an object store.

One PUT is one object, complete or absent. Writing without overwriting sends ``If-None-Match: *``, which AWS,
MinIO and other current servers answer with 412 where the key is taken; a server that ignores the header
overwrites. Etags are S3's own, without quotes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from imgpipe.errors import ObjectChanged, ObjectExists, StoreUnavailable
from imgpipe.records import SourceObject
from imgpipe.settings import S3Settings
from imgpipe.storage.s3_errors import (
    CONFLICT,
    DENIED,
    MISSING,
    PRECONDITION,
    code_of,
    no_bucket,
    translated,
)
from imgpipe.storage.store import LeftOut, check_key, is_hidden, why_hidden

# For what botocore does not repeat itself: broken bodies and conflicts between writers.
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.1
_BROKEN_BODY = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, FlexibleChecksumError)
#: Content types of the files that imgpipe writes, for browsers.
_CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "jxl": "image/jxl",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class S3Store:
    """An :class:`~imgpipe.storage.store.ImageStore` over ``s3://bucket/prefix``.

    ``client`` is a boto3 S3 client: :func:`s3_client`, or one made elsewhere, as by dagster-aws'
    ``S3Resource.get_client()`` (make it once: each costs a fifth of a second).
    """

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self._bucket = bucket
        inner = prefix.strip("/")
        self._prefix = f"{inner}/" if inner else ""
        self._client = client
        self._bucket_seen = False

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def read(self, key: str, *, etag: str | None = None) -> bytes:
        attempt = 0
        while True:
            try:
                return self._read_once(key, etag)
            except _BROKEN_BODY as exc:
                attempt += 1
                if attempt == _ATTEMPTS:
                    self._raise(exc, key, of_object=True)
            except ClientError as exc:
                if code_of(exc) in PRECONDITION:
                    raise self._changed(key, etag, "another") from exc
                self._raise(exc, key, of_object=True)
            except BotoCoreError as exc:
                self._raise(exc, key)
            time.sleep(_PAUSE_SECONDS * 2**attempt)

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        check_key(key)
        request = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "Body": data,
            "ContentType": _CONTENT_TYPES.get(key.rpartition(".")[2].lower(), "application/octet-stream"),
        }
        if not overwrite:
            request["IfNoneMatch"] = "*"
        attempt = 0
        while True:
            try:
                self._client.put_object(**request)
                return
            except ClientError as exc:
                if code_of(exc) in PRECONDITION:
                    if self._was_ours(exc, key, data):
                        return
                    message = f"{self.uri(key)}: exists already; overwriting was not asked for"
                    raise ObjectExists(message) from exc
                # Another writer of this key is under way: which of the two wins shows when it is done.
                attempt += 1
                if code_of(exc) not in CONFLICT or attempt == _ATTEMPTS:
                    self._raise(exc, key)
            except BotoCoreError as exc:
                self._raise(exc, key)
            time.sleep(_PAUSE_SECONDS * 2**attempt)

    def exists(self, key: str) -> bool:
        if is_hidden(key) or key.endswith("/"):
            return False
        try:
            self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except ClientError as exc:
            if code_of(exc) not in MISSING:
                self._raise(exc, key)
            self._require_bucket()
            return False
        except BotoCoreError as exc:
            self._raise(exc, key)
        return True

    def list(
        self, prefix: str = "", *, start_after: str | None = None, left_out: LeftOut | None = None
    ) -> Iterator[SourceObject]:
        """As the protocol says; keys that end with ``/`` (folder marks of S3 browsers) are left out."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if start_after is not None:
            request["StartAfter"] = self._prefix + start_after
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(**request))
        while True:
            try:
                page = next(pages, None)
            except (ClientError, BotoCoreError) as exc:
                self._raise(exc, prefix)
            if page is None:
                return
            self._bucket_seen = True
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self._prefix)
                if is_hidden(key):
                    if left_out is not None:
                        left_out.add(why_hidden(key), key)
                elif not key.endswith("/") and key:
                    yield SourceObject(key, int(item["Size"]), str(item["ETag"]).strip('"'))

    def delete(self, key: str) -> None:
        check_key(key)
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except (ClientError, BotoCoreError) as exc:
            self._raise(exc, key)

    def _require_bucket(self) -> None:
        """Tell a missing key from a missing bucket: a HEAD answers both with a bare 404."""
        if self._bucket_seen:
            return
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as exc:
            if code_of(exc) in MISSING:
                raise no_bucket(self.url) from exc
            if code_of(exc) not in DENIED:  # it exists, asking for it is not allowed
                self._raise(exc, "")
        except BotoCoreError as exc:
            self._raise(exc, "")
        self._bucket_seen = True

    def _read_once(self, key: str, etag: str | None) -> bytes:
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **condition)
        with answer["Body"] as body:
            found = str(answer["ETag"]).strip('"')
            if etag is not None and found != etag:  # a server that ignores If-Match
                raise self._changed(key, etag, found)
            return bytes(body.read())

    def _was_ours(self, exc: ClientError, key: str, data: bytes) -> bool:
        """Whether the existing object was written by this call.

        A PUT whose answer got lost is repeated by botocore, and the repetition meets its own object.
        """
        metadata: Any = exc.response.get("ResponseMetadata", {})
        return metadata.get("RetryAttempts", 0) > 0 and self.read(key) == data

    def _changed(self, key: str, expected: str | None, found: str) -> ObjectChanged:
        return ObjectChanged(f"{self.uri(key)}: expected etag {expected}, found {found}; plan again")

    def _raise(self, exc: ClientError | BotoCoreError, key: str, *, of_object: bool = False) -> NoReturn:
        raise translated(exc, self.url, self.uri(key), of_object=of_object) from exc


_clients: dict[tuple[str | None, str | None], Any] = {}
_clients_lock = threading.Lock()


def s3_client(s3: S3Settings) -> Any:
    """The process's one boto3 S3 client for these settings; clients are safe to share among threads.

    Credentials come from the usual AWS places at the first call. Raises :class:`StoreUnavailable` where
    boto3 refuses the set-up (an unknown profile, an endpoint that is no address).
    """
    key = (s3.endpoint_url, s3.region)
    with _clients_lock:
        if key not in _clients:
            _clients[key] = _new_client(s3)
        return _clients[key]


def _new_client(s3: S3Settings) -> Any:
    import boto3
    from botocore.config import Config

    # Servers that only resemble S3 often refuse the checksums that AWS takes by default.
    checksums: Any = "when_required" if s3.endpoint_url else "when_supported"
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=64,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
    )
    try:
        session = boto3.session.Session(region_name=s3.region)
        return session.client("s3", endpoint_url=s3.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as exc:
        raise StoreUnavailable(
            f"S3 cannot be set up: {exc}; check s3.endpoint_url, s3.region and AWS_PROFILE"
        ) from exc


def _forget_clients() -> None:
    """After a fork: connections are the parent's."""
    global _clients_lock
    _clients.clear()
    _clients_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_clients)
