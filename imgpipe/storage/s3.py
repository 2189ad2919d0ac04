"""S3 and S3-compatible servers as an object store.

One PUT, or one completed upload in parts, is one object, complete or absent. Writing without overwriting
sends ``If-None-Match: *``, which AWS, MinIO and other current servers answer with 412 where the key is
taken; a server that ignores the header overwrites (``imgpipe doctor`` tells). Etags are S3's own, without
quotes. Stored checksums are verified as bodies are read.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from botocore.parsers import ResponseParserError

from imgpipe.errors import ObjectChanged, ObjectExists, ObjectMissing, StorageError, StoreUnavailable
from imgpipe.records import SourceObject
from imgpipe.storage.s3_errors import (
    DENIED,
    MISSING,
    NO_UPLOAD,
    PRECONDITION,
    REFUSALS,
    REPEATED_WRITE,
    code_of,
    is_fault_of_the_server,
    not_s3,
    translated,
)
from imgpipe.storage.s3_listing import in_key_order, lists_by_key
from imgpipe.storage.s3_upload import SHA256, upload
from imgpipe.storage.store import LeftOut, check_key, content_type, is_hidden, without_hidden

# For what botocore does not repeat itself: broken bodies, pages without sense, conflicts between writers.
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.1
#: So many objects in a row that the server fails to deliver are the store's fault, not theirs.
_FAILURES_IN_A_ROW = 20
#: Buckets with this ending are S3 Express One Zone's: they list by hash.
_DIRECTORY_BUCKET = "--x-s3"


class S3Store:
    """An :class:`~imgpipe.storage.store.ImageStore` over ``s3://bucket/prefix``.

    ``client`` is a boto3 S3 client, as :func:`~imgpipe.storage.s3_client.s3_client` makes it;
    ``listing_order`` the setting of that name.
    """

    def __init__(self, bucket: str, prefix: str, client: Any, *, listing_order: str = "auto") -> None:
        self._bucket = bucket
        inner = prefix.strip("/")
        self._prefix = f"{inner}/" if inner else ""
        self._client = client
        directory = listing_order == "auto" and bucket.endswith(_DIRECTORY_BUCKET)
        self._order = "unsorted" if directory else listing_order
        self._place = f"{client.meta.endpoint_url}/{bucket}"
        self._bucket_seen = False
        self._failures = 0

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def read(self, key: str, *, etag: str | None = None) -> bytes:
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}
        doubted = False
        for attempt in itertools.count(1):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **condition)
            except REFUSALS as exc:
                failed, last = code_of(exc) in PRECONDITION, attempt == _ATTEMPTS
                if failed and etag is not None and (doubted or last):
                    raise self._changed(key, etag, "another") from exc
                if last or not failed:
                    raise self._not_read(exc, key) from exc
                doubted = True  # A condition that failed is believed the second time.
                _pause(attempt)
                continue
            with closing(answer["Body"]) as body:
                found = self._etag(answer)
                if etag is not None and found != etag:  # a server that ignores If-Match
                    raise self._changed(key, etag, found)
                try:
                    # Not ``with body``: that gives the stream below, which verifies and translates nothing.
                    data = bytes(body.read())
                except REFUSALS as exc:
                    if attempt == _ATTEMPTS:
                        raise self._not_read(exc, key) from exc
                else:
                    self._failures = 0
                    return data
            _pause(attempt)
        raise AssertionError  # Not reached.

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        check_key(key)
        place = {"Bucket": self._bucket, "Key": self._prefix + key}
        kind = content_type(key)
        for attempt in itertools.count(1):
            try:
                self._etag(upload(self._client, place, data, kind=kind, overwrite=overwrite))
                return
            except REFUSALS as exc:
                code = code_of(exc)
                if code in (*PRECONDITION, *NO_UPLOAD) and self._was_ours(exc, key, data):
                    return
                if code in PRECONDITION and not overwrite and self._is_there(key):
                    message = f"{self.uri(key)}: exists already; overwriting was not asked for"
                    raise ObjectExists(message) from exc
                # Another writer of this key is under way, bytes were spoilt on their way, or a condition
                # failed without cause: the next attempt shows.
                if code not in REPEATED_WRITE or attempt == _ATTEMPTS:
                    raise self._refused(exc, key) from exc
            _pause(attempt)

    def stored_sha256(self, key: str) -> str | None:
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except REFUSALS as exc:
            if code_of(exc) in MISSING:
                raise ObjectMissing(f"{self.uri(key)}: no such object") from exc
            raise self._refused(exc, key) from exc
        digest: str | None = answer.get("Metadata", {}).get(SHA256)
        return digest

    def exists(self, key: str) -> bool:
        if is_hidden(key) or key.endswith("/"):
            return False
        try:
            self._etag(self._client.head_object(Bucket=self._bucket, Key=self._prefix + key))
        except REFUSALS as exc:
            missing = code_of(exc) in MISSING
            if missing and self._bucket_seen:
                return False
            # A HEAD is refused with a bare status, also for a missing bucket and by a web server.
            refusal = self._probe()
            if missing and (refusal is None or code_of(refusal) in DENIED):  # It may not be listed.
                self._bucket_seen = True
                return False
            raise self._refused(refusal or exc, key) from exc
        return True

    def list(
        self, prefix: str = "", *, start_after: str | None = None, left_out: LeftOut | None = None
    ) -> Iterator[SourceObject]:
        """As the protocol says; keys that end with ``/`` (folder marks of S3 browsers) are left out."""
        listing = in_key_order(
            self._list, self._place, self._order, prefix, start_after, self._beginning_with
        )
        yield from without_hidden(listing, left_out)

    @property
    def seen_unsorted(self) -> bool:
        """Whether the server was seen to list in another order than by key, which no setting says."""
        return self._order == "auto" and not lists_by_key(self._place, self._order)

    def any_key(self) -> str | None:
        return next((found.key for found in without_hidden(self._list("", None))), None)

    def delete(self, key: str) -> None:
        check_key(key)
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except REFUSALS as exc:
            raise self._refused(exc, key) from exc

    def _list(self, prefix: str, start_after: str | None) -> Iterator[SourceObject]:
        """In the server's order, hidden keys too."""
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if start_after is not None:
            request["StartAfter"] = self._prefix + start_after
        while True:
            page = self._page(request)
            for item in page.get("Contents", ()):
                key = str(self._field(item, "Key")).removeprefix(self._prefix)
                if not key.endswith("/") and key:
                    yield SourceObject(key, int(self._field(item, "Size")), self._etag(item))
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == request.get("ContinuationToken"):
                raise StoreUnavailable(
                    f"{self.url}: the server says that its listing goes on, but not where (expected "
                    "ListObjectsV2 with continuation tokens); upgrade it"
                )
            request["ContinuationToken"] = token

    def _beginning_with(self, start: str) -> Iterator[str]:
        """The first names that begin with ``start``, each up to its next slash; one request."""
        page = self._page({"Bucket": self._bucket, "Prefix": self._prefix + start, "Delimiter": "/"})
        files = [self._field(item, "Key") for item in page.get("Contents", ())]
        folders = [self._field(item, "Prefix") for item in page.get("CommonPrefixes", ())]
        return (str(name).removeprefix(self._prefix) for name in (*files, *folders))

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        for attempt in itertools.count(1):
            try:
                page: dict[str, Any] = self._client.list_objects_v2(**request)
            except REFUSALS as exc:
                if not isinstance(exc, ResponseParserError) or attempt == _ATTEMPTS:
                    raise self._refused(exc, "") from exc
                _pause(attempt)
                continue
            if not page.keys() & {"IsTruncated", "KeyCount", "Name"}:
                raise not_s3(self.url, "a listing without any of S3's fields")
            self._bucket_seen = True
            return page
        raise AssertionError  # Not reached.

    def _probe(self) -> Exception | None:
        """What a cheap request that S3 answers with a body is refused with."""
        try:
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        except REFUSALS as exc:
            return exc
        return None

    def _not_read(self, exc: Exception, key: str) -> StorageError:
        """The object's fault where the server answers other requests; the store's after many in a row."""
        own = True
        if is_fault_of_the_server(exc):
            self._failures += code_of(exc) not in MISSING
            own = self._failures < _FAILURES_IN_A_ROW and self._answers()
        return translated(exc, self.url, self.uri(key), of_object=own)

    def _answers(self) -> bool:
        refusal = self._probe()
        return refusal is None or (bool(code_of(refusal)) and not is_fault_of_the_server(refusal))

    def _etag(self, answer: Mapping[str, Any]) -> str:
        return str(self._field(answer, "ETag")).strip('"')

    def _field(self, answer: Mapping[str, Any], name: str) -> Any:
        """Of an answer or a listed object."""
        if name not in answer:
            raise not_s3(self.url, f"success without {name}")
        return answer[name]

    def _is_there(self, key: str) -> bool:
        """Hidden keys too."""
        try:
            self.stored_sha256(key)
        except ObjectMissing:
            return False
        return True

    def _was_ours(self, exc: Exception, key: str, data: bytes) -> bool:
        """Whether the existing object was written by this call.

        A PUT whose answer got lost is repeated by botocore, and the repetition meets its own object.
        """
        metadata: Any = getattr(exc, "response", {}).get("ResponseMetadata", {})
        if not metadata.get("RetryAttempts", 0):
            return False
        try:
            return self.read(key) == data
        except ObjectMissing:
            return False

    def _changed(self, key: str, expected: str | None, found: str) -> ObjectChanged:
        return ObjectChanged(f"{self.uri(key)}: expected etag {expected}, found {found}; plan again")

    def _refused(self, exc: Exception, key: str) -> StorageError:
        return translated(exc, self.url, self.uri(key))


def _pause(attempt: int) -> None:
    """Full jitter: clients that failed together do not come back together."""
    time.sleep(random.uniform(0, _PAUSE_SECONDS * 2**attempt))  # noqa: S311
