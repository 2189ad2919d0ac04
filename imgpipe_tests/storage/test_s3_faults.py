"""Servers, networks and proxies that go wrong, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import SSLError
from botocore.retries.standard import ExponentialBackoff

from imgpipe.errors import (
    ImgpipeError,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectUnreadable,
    StoreUnavailable,
)
from imgpipe.settings import S3Settings
from imgpipe.storage import s3 as module
from imgpipe.storage import s3_client as clients
from imgpipe.storage import s3_upload as uploads
from imgpipe.storage.manifests import plan, read_manifest, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.s3_client import s3_client
from imgpipe.storage.s3_errors import translated
from imgpipe.storage.tables import read_rows, write_table
from imgpipe_tests.storage.faulty_server import (
    Fault,
    FaultyServer,
    bare,
    cut,
    error,
    faulty_server,
    flip,
    flip_byte,
    page,
    reset,
    silence,
    stall,
    stored_checksum,
)

pytestmark = pytest.mark.server

DATA = bytes(range(256)) * 300
#: In three parts of 6 MiB.
BIG = DATA * 190


#: The client of the server that nothing spoils: making one takes longer than most tests.
_CLEAN: dict[S3Settings, Any] = {}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, s3: S3Settings) -> None:
    monkeypatch.setattr(clients, "_clients", _CLEAN)
    s3_client(s3)
    monkeypatch.setattr(clients, "_clients", dict(_CLEAN))
    monkeypatch.setattr(clients, "_READ_SECONDS", 0.15)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine's answer is waited for: a second request would be counted."""
    monkeypatch.setattr(clients, "_READ_SECONDS", 10.0)


@pytest.fixture
def server(s3: S3Settings) -> Iterator[FaultyServer]:
    with faulty_server(str(s3.endpoint_url)) as started:
        yield started


@pytest.fixture
def settings(server: FaultyServer) -> S3Settings:
    return S3Settings(endpoint_url=server.url, region="us-east-1")


@pytest.fixture
def store(bucket: str, settings: S3Settings) -> S3Store:
    return S3Store(bucket, "p", s3_client(settings))


class TestBodies:
    @pytest.mark.parametrize("fault", [cut, stall, flip, reset])
    def test_spoilt_once(self, store: S3Store, server: FaultyServer, fault: Fault) -> None:
        store.write("x.png", DATA)
        server.spoil("GET", "x.png", fault, times=1)
        assert store.read("x.png") == DATA
        assert server.count("GET", "x.png") == 2

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            (cut, "does not deliver this object"),
            (stall, "does not deliver this object"),
            (silence, "does not deliver this object"),
            (flip, "not what its checksum says.*upload it again"),
            (error(500, "InternalError"), "InternalError.*does not deliver|does not deliver.*InternalError"),
            (error(503, "SlowDownRead"), "does not deliver"),
            (bare(502), "502.*answers other requests"),
            (bare(500, **{"x-amz-checksum-crc32": "AAAAAA=="}), "500.*answers other requests"),
            (page(504), "answers other requests"),
            (page(403, "<html><body>Blocked by the virus scanner"), "403.*check this object's permissions"),
        ],
    )
    def test_one_object_spoilt_for_ever_costs_a_row(
        self, store: S3Store, server: FaultyServer, fault: Fault, words: str
    ) -> None:
        store.write("x.png", DATA)
        store.write("y.png", b"y")
        server.spoil("GET", "x.png", fault)
        with pytest.raises(ObjectUnreadable, match=rf"p/x\.png: .*({words})"):
            store.read("x.png")
        assert store.read("y.png") == b"y"

    @pytest.mark.parametrize("fault", [silence, error(500, "InternalError"), bare(503), page(502)])
    def test_a_server_that_fails_at_everything_is_the_stores_fault(
        self, store: S3Store, server: FaultyServer, fault: Fault
    ) -> None:
        server.spoil("GET", "", fault)
        with pytest.raises(StoreUnavailable):
            store.read("x.png")

    def test_a_server_that_became_another_one(self, store: S3Store, server: FaultyServer) -> None:
        server.spoil("GET", "x.png", bare(500))
        server.spoil("GET", "list-type=2", page(200))
        with pytest.raises(StoreUnavailable, match="500"):
            store.read("x.png")

    def test_many_failures_in_a_row_are_the_stores_fault(
        self, store: S3Store, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_FAILURES_IN_A_ROW", 3)
        store.write("good.png", b"x")
        server.spoil("GET", "bad", bare(500))
        for key in ("bad1.png", "bad2.png", "good.png", "bad3.png", "bad4.png"):
            if key == "good.png":
                assert store.read(key) == b"x"
                continue
            with pytest.raises(ObjectUnreadable):
                store.read(key)
        with pytest.raises(StoreUnavailable, match="500"):
            store.read("bad5.png")

    @pytest.mark.parametrize("fault", [cut, stall])
    def test_a_manifest_table_or_listing_spoilt_once(
        self, store: S3Store, server: FaultyServer, fault: Fault
    ) -> None:
        source = MemoryStore()
        source.write("a.png", b"x")
        for text in ("shards", "tables", "list-type=2"):
            server.spoil("GET", text, fault, times=1)
        seal(plan(source, store, dataset="art", shard_size=2), store)
        assert len(read_manifest(store, "art", "00000").entries) == 1
        write_table(store, "raw_images", "art", "00000", [], meta={})
        assert read_rows(store, "raw_images", "art", "00000") == {}


@pytest.mark.parametrize(
    "fault",
    [error(429, "TooManyRequests"), bare(429), error(503, "SlowDown"), error(412, "PreconditionFailed")],
)
def test_throttling_is_waited_out(store: S3Store, server: FaultyServer, fault: Fault) -> None:
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        server.refuse(method, "x.png", fault, times=1 if method == "GET" else 3)
    store.write("x.png", b"x")
    assert (store.read("x.png"), store.exists("x.png")) == (b"x", True)
    store.delete("x.png")
    assert server.count("PUT", "x.png") == 4


class TestUploads:
    """In parts of a few bytes."""

    @pytest.fixture(autouse=True)
    def _small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploads, "PART_BYTES", 6 * 2**20)  # S3 takes 5 MiB at least
        monkeypatch.setattr(clients, "_READ_SECONDS", 1.0)

    def test_in_parts_it_is_one_object_with_its_digest(self, store: S3Store, server: FaultyServer) -> None:
        server.spoil("PUT", "partNumber=2", error(503, "SlowDown"), times=2)
        store.write("x.png", BIG, overwrite=True)
        assert store.read("x.png") == BIG
        assert store.stored_sha256("x.png") == hashlib.sha256(BIG).hexdigest()
        assert server.count("PUT", "x.png") == 3 + 2

    def test_one_with_a_condition_is_not_cut(self, store: S3Store, server: FaultyServer) -> None:
        """Ceph's server ignores the condition of an upload in parts."""
        store.write("x.png", BIG)
        with pytest.raises(ObjectExists):
            store.write("x.png", BIG)
        assert server.count("POST", "x.png") == 0

    @pytest.mark.parametrize(
        ("method", "place"), [("PUT", "partNumber=2"), ("POST", "uploadId="), ("POST", "?uploads")]
    )
    def test_one_that_fails_leaves_nothing(
        self, store: S3Store, server: FaultyServer, bucket: str, s3: S3Settings, method: str, place: str
    ) -> None:
        store.write("x.png", b"before")
        server.refuse(method, place, error(500, "InternalError"))
        with pytest.raises(StoreUnavailable, match="InternalError"):
            store.write("x.png", BIG, overwrite=True)
        assert store.read("x.png") == b"before"
        assert "Uploads" not in s3_client(s3).list_multipart_uploads(Bucket=bucket)

    def test_a_completion_whose_answer_was_lost_is_found_done(
        self, store: S3Store, server: FaultyServer
    ) -> None:
        server.spoil("POST", "uploadId=", silence, times=1)
        store.write("x.png", BIG, overwrite=True)
        assert store.read("x.png") == BIG

    def test_spoilt_bytes_are_sent_again(self, store: S3Store, server: FaultyServer) -> None:
        server.refuse("PUT", "x.png", error(400, "BadDigest"), times=3)
        store.write("x.png", DATA)
        assert store.read("x.png") == DATA
        md5 = base64.b64encode(hashlib.md5(DATA, usedforsecurity=False).digest()).decode()
        assert [headers["content-md5"] for headers in server.headers[:4]] == [md5] * 4


class TestConditions:
    """412, true and not."""

    def test_one_that_is_not_true_is_asked_again(self, store: S3Store, server: FaultyServer) -> None:
        for method in ("PUT", "GET"):
            server.refuse(method, "x.png", error(412, "PreconditionFailed"), times=1)
        store.write("x.png", b"x")
        assert store.read("x.png") == b"x"
        server.refuse("PUT", "x.png", error(412, "PreconditionFailed"), times=1)
        store.write("x.png", b"y", overwrite=True)
        server.spoil("GET", "x.png", error(412, "PreconditionFailed"), times=1)
        (found,) = store.list()
        assert store.read("x.png", etag=found.etag) == b"y"

    def test_one_that_follows_a_refusal(self, store: S3Store, server: FaultyServer) -> None:
        server.refuse("PUT", "x.png", error(412, "PreconditionFailed"), times=2)
        server.refuse("PUT", "x.png", error(503, "SlowDown"), times=1)
        store.write("x.png", b"x")
        assert store.read("x.png") == b"x"

    def test_for_ever_it_is_the_servers_word(self, store: S3Store, server: FaultyServer) -> None:
        store.write("x.png", b"x")
        server.spoil("GET", "x.png", error(412, "PreconditionFailed"))
        server.refuse("PUT", "y.png", error(412, "PreconditionFailed"))
        with pytest.raises(StoreUnavailable, match="PreconditionFailed"):
            store.write("y.png", b"y")
        with pytest.raises(ObjectChanged, match="expected etag"):
            store.read("x.png", etag="0" * 32)


def test_pauses_are_drawn_from_nothing_to_a_bound_that_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: those that fail together come back apart. botocore's own are drawn alike."""
    slept: list[float] = []
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("imgpipe.storage.s3.time.sleep", slept.append)
    for attempt in (1, 2, 3):
        for _ in range(200):
            module._pause(attempt)
    for number, bound in enumerate((0.2, 0.4, 0.8)):
        drawn = slept[200 * number : 200 * (number + 1)]
        assert 0 <= min(drawn) < 0.1 * bound
        assert 0.9 * bound < max(drawn) <= bound


class TestOtherAnswers:
    @pytest.mark.parametrize(
        "fault",
        [
            page(200),
            page(200, "<html><head/><body>well-formed</body></html>", "application/xhtml+xml"),
            page(200, "{}", "application/json"),
            page(404),
            page(403, "<html><body/></html>"),
            page(302),
            page(404, '{"detail": "Not Found"}', "application/json"),
        ],
    )
    def test_a_web_page_is_called_that(self, store: S3Store, server: FaultyServer, fault: Fault) -> None:
        for method in ("GET", "HEAD", "PUT"):
            server.spoil(method, "", fault)
        calls: list[Callable[[], Any]] = [
            lambda: list(store.list()),
            lambda: store.exists("x.png"),
            lambda: store.write("x.png", b"x"),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"expected an answer of S3, got .*s3\.endpoint_url"):
                call()

    def test_a_page_with_an_objects_status(self, store: S3Store, server: FaultyServer) -> None:
        server.spoil("GET", "x.png", page(200))
        with pytest.raises(StoreUnavailable, match="expected an answer of S3"):
            store.read("x.png")

    def test_a_proxys_own_404(self, store: S3Store, server: FaultyServer) -> None:
        """The object is missing: the server behind answers listings."""
        server.spoil("GET", "x.png", page(404))
        with pytest.raises(ObjectMissing):
            store.read("x.png")

    def test_a_listing_that_cannot_be_parsed_once(self, store: S3Store, server: FaultyServer) -> None:
        store.write("x.png", b"x")
        server.spoil("GET", "list-type=2", page(200, "<?xml version='1.0'?><ListBu"), times=1)
        assert [found.key for found in store.list()] == ["x.png"]

    @pytest.mark.parametrize(
        "fields",
        [
            "<Size>1</Size><ETag>e</ETag>",
            "<Key>p/a</Key><ETag>e</ETag>",
            "<Key>p/a</Key><Size>1</Size>",
            "<Key>p/a</Key><Size>big</Size><ETag>e</ETag>",
            "<Key>p/a</Key><Size>1</Size><ETag>e</ETag><LastModified>gestern</LastModified>",
        ],
    )
    def test_a_listing_with_missing_or_senseless_fields(
        self, store: S3Store, server: FaultyServer, fields: str
    ) -> None:
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>{fields}</Contents>"
        server.spoil("GET", "list-type=2", page(200, f"{text}</ListBucketResult>", "application/xml"))
        with pytest.raises(StoreUnavailable, match="expected an answer of S3"):
            list(store.list())

    @pytest.mark.parametrize("token", ["", "<NextContinuationToken>same</NextContinuationToken>"])
    def test_a_listing_that_cannot_be_continued(
        self, store: S3Store, server: FaultyServer, token: str
    ) -> None:
        """Never taken for a complete one, after which the rest would look deleted."""
        text = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>"
        server.spoil("GET", "list-type=2", page(200, text, "application/xml"))
        with pytest.raises(StoreUnavailable, match="listing goes on, but not where"):
            list(store.list())

    @pytest.mark.parametrize(
        "fault",
        [
            error(
                403, "RequestTimeTooSkewed", "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>"
            ),
            error(403, "RequestTimeTooSkewed", date="Sat, 01 Jan 2000 00:00:00 GMT"),
            error(403, "AccessDenied", date="Sat, 01 Jan 2000 00:00:00 GMT"),
            bare(403, Date="Sat, 01 Jan 2000 00:00:00 GMT"),
        ],
    )
    def test_a_wrong_clock_is_called_that(self, store: S3Store, server: FaultyServer, fault: Fault) -> None:
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            server.spoil(method, "", fault)
        calls: list[Callable[[], Any]] = [
            lambda: store.read("x.png"),
            lambda: store.exists("x.png"),
            lambda: list(store.list()),
            lambda: store.write("x.png", b"x"),
            lambda: store.delete("x.png"),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"clock and the server's differ.*timedatectl"):
                call()

    def test_refused_with_a_right_clock(self, store: S3Store, server: FaultyServer) -> None:
        server.spoil("HEAD", "", bare(403))
        with pytest.raises(StoreUnavailable, match="access denied"):
            store.exists("x.png")


class TestSettings:
    def test_anonymous_requests_are_not_signed(
        self,
        bucket: str,
        settings: S3Settings,
        server: FaultyServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        S3Store(bucket, "", s3_client(settings)).write("x.png", b"x")
        assert "authorization" in server.headers[-1]
        s3_client(settings).put_bucket_acl(Bucket=bucket, ACL="public-read")
        s3_client(settings).put_object_acl(Bucket=bucket, Key="x.png", ACL="public-read")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        anonymous = settings.model_copy(update={"anonymous": True})
        server.headers.clear()
        store = S3Store(bucket, "", s3_client(anonymous))
        assert store.read("x.png") == b"x"
        assert [found.key for found in store.list()] == ["x.png"]
        assert not any("authorization" in headers for headers in server.headers)

    def test_requester_pays_is_said_with_every_request(
        self, bucket: str, settings: S3Settings, server: FaultyServer
    ) -> None:
        store = S3Store(bucket, "", s3_client(settings.model_copy(update={"requester_pays": True})))
        store.write("x.png", b"x")
        assert store.read("x.png") == b"x"
        assert store.exists("x.png")
        assert len(list(store.list())) == 1
        store.delete("x.png")
        assert len(server.headers) == 5
        assert all(headers["x-amz-request-payer"] == "requester" for headers in server.headers)
        assert all("x-amz-request-payer" in headers["authorization"] for headers in server.headers)

    def test_credentials_in_the_environments_endpoint(
        self, s3: S3Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://me:geheim@127.0.0.1:9")
        with pytest.raises(ImgpipeError, match=r"AWS_ENDPOINT_URL.*AWS_ACCESS_KEY_ID") as caught:
            s3_client(S3Settings(region="us-east-1"))
        assert "geheim" not in str(caught.value)


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("algorithm", ["crc32", "sha1", "sha256", "crc32c", "crc64nvme"])
def test_every_stored_checksum_is_verified(store: S3Store, server: FaultyServer, algorithm: str) -> None:
    """CRC64NVME is what AWS stores with objects that come without a checksum; it needs botocore[crt]."""
    big = DATA * 100

    def digest(data: bytes) -> bytes:
        if algorithm == "crc32":
            return zlib.crc32(data).to_bytes(4, "big")
        if algorithm.startswith("sha"):
            return hashlib.new(algorithm, data).digest()
        checksums = pytest.importorskip("awscrt.checksums", reason="botocore[crt] is not installed")
        value: int = getattr(checksums, algorithm)(data)
        return value.to_bytes(4 if algorithm == "crc32c" else 8, "big")

    expected = digest(big)
    store.write("big.png", big)
    server.spoil("GET", "big.png", lambda answer: stored_checksum(answer, algorithm, expected))
    server.spoil("GET", "big.png", flip_byte, times=3)
    assert store.read("big.png") == big
    assert server.count("GET", "big.png") == 4


def test_a_checksum_of_parts_is_not_mistaken_for_the_whole(store: S3Store, server: FaultyServer) -> None:
    store.write("x.png", DATA)
    server.spoil("GET", "x.png", lambda answer: answer.headers.update({"x-amz-checksum-crc32": "AAAAAA==-2"}))
    assert store.read("x.png") == DATA


def test_a_certificate_that_is_not_accepted() -> None:
    exc = SSLError(endpoint_url="https://host", error=OSError("certificate is not yet valid"))
    found = translated(exc, "s3://bucket", "s3://bucket/x.png")
    assert isinstance(found, StoreUnavailable)
    assert re.search(r"not yet valid.*AWS_CA_BUNDLE.*clock", str(found))
