"""What only S3 has: conditional requests, its errors, one client a process."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

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
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.s3_client import s3_client

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def client(s3: S3Settings) -> Any:
    """A client of this test's own, which may be stubbed."""
    return boto3.client("s3", endpoint_url=s3.endpoint_url, region_name=s3.region)


def calls(store: S3Store) -> list[Callable[[], object]]:
    return [
        lambda: store.read("x.png"),
        lambda: store.write("x.png", b"x"),
        lambda: store.write("x.png", b"x", overwrite=True),
        lambda: store.exists("x.png"),
        lambda: list(store.list()),
        lambda: store.delete("x.png"),
    ]


class TestReal:
    """Against a server, over HTTP."""

    def test_layout_in_the_bucket(self, bucket: str, client: Any) -> None:
        store = S3Store(bucket, "/a/b/", client)
        assert S3Store(bucket, "", client).url == f"s3://{bucket}"
        store.write("c/x.png", b"x")
        (item,) = client.list_objects_v2(Bucket=bucket)["Contents"]
        assert item["Key"] == "a/b/c/x.png"
        assert store.url == f"s3://{bucket}/a/b"
        assert store.uri("c/x.png") == f"s3://{bucket}/a/b/c/x.png"
        head = client.head_object(Bucket=bucket, Key="a/b/c/x.png")
        assert head["ContentType"] == "image/png"
        assert next(store.list()).etag == head["ETag"].strip('"')

    def test_prefix_is_a_folder(self, bucket: str, client: Any) -> None:
        S3Store(bucket, "raw2", client).write("other.png", b"x")
        S3Store(bucket, "raw", client).write("x.png", b"x")
        assert [found.key for found in S3Store(bucket, "raw", client).list()] == ["x.png"]

    def test_keys_that_no_folder_could_hold_can_be_read(self, bucket: str, client: Any) -> None:
        for key in ("a//b.png", "/lead.png", "../up.png"):
            client.put_object(Bucket=bucket, Key=f"raw/{key}", Body=key.encode())
        client.put_object(Bucket=bucket, Key="raw/", Body=b"")
        client.put_object(Bucket=bucket, Key="raw/folder/", Body=b"")
        store = S3Store(bucket, "raw", client)
        found = [item.key for item in store.list()]
        assert found == ["/lead.png", "a//b.png"]  # ../ starts with a dot: hidden
        assert store.read("a//b.png") == b"a//b.png"

    def test_missing_bucket_is_the_stores_fault(self, s3: S3Settings) -> None:
        store = S3Store("no-such-bucket-here", "x", s3_client(s3))
        for call in calls(store):
            with pytest.raises(StoreUnavailable, match=r"'no-such-bucket-here' does not exist; create it"):
                call()

    def test_nobody_answers(self, s3: S3Settings) -> None:
        config = Config(retries={"mode": "standard", "max_attempts": 1}, connect_timeout=1)
        nobody = boto3.client("s3", endpoint_url="http://127.0.0.1:9", region_name="us-east-1", config=config)
        for call in calls(S3Store("bucket", "", nobody)):
            with pytest.raises(StoreUnavailable, match=r"does not answer.*s3\.endpoint_url"):
                call()

    def test_no_credentials(self, s3: S3Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        session = boto3.session.Session()
        nobody = session.client("s3", endpoint_url=s3.endpoint_url, region_name="us-east-1")
        with pytest.raises(StoreUnavailable, match="AWS_ACCESS_KEY_ID"):
            S3Store("bucket", "", nobody).read("x.png")


class TestClient:
    def test_one_per_settings(self, s3: S3Settings) -> None:
        made: list[Any] = []
        threads = [threading.Thread(target=lambda: made.append(s3_client(s3))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(client) for client in made}) == 1
        other = S3Settings(endpoint_url=s3.endpoint_url, region="eu-west-1")
        assert s3_client(other) is not made[0]
        assert s3_client(other).meta.region_name == "eu-west-1"

    def test_setup_that_cannot_work(self, s3: S3Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(StoreUnavailable, match=r"check s3\.endpoint_url"):
            s3_client(S3Settings(endpoint_url="http://-", region="us east"))
        monkeypatch.setenv("AWS_PROFILE", "nobody-has-this-profile")
        with pytest.raises(StoreUnavailable, match="AWS_PROFILE"):
            s3_client(S3Settings(endpoint_url=s3.endpoint_url, region="us-west-1"))


class TestAnswers:
    """Answers that the server in the tests does not give, by botocore's own stubs."""

    @pytest.mark.parametrize(
        ("request_name", "code", "status", "expected", "words"),
        [
            ("get_object", "NoSuchKey", 404, ObjectMissing, "no such object"),
            ("get_object", "NoSuchBucket", 404, StoreUnavailable, "does not exist"),
            ("get_object", "AccessDenied", 403, ObjectUnreadable, "permissions"),
            ("get_object", "InvalidObjectState", 403, ObjectUnreadable, "storage class"),
            ("get_object", "KMS.DisabledException", 400, ObjectUnreadable, "permissions"),
            ("get_object", "InvalidAccessKeyId", 403, StoreUnavailable, "credentials"),
            ("get_object", "SignatureDoesNotMatch", 403, StoreUnavailable, "credentials"),
            ("get_object", "ExpiredToken", 400, StoreUnavailable, "credentials"),
            ("get_object", "PermanentRedirect", 301, StoreUnavailable, "region"),
            ("get_object", "SlowDown", 503, StoreUnavailable, "try again later"),
            ("put_object", "AccessDenied", 403, StoreUnavailable, "s3:PutObject"),
            ("put_object", "NoSuchBucket", 404, StoreUnavailable, "does not exist"),
            ("put_object", "NotImplemented", 501, StoreUnavailable, "conditional writes"),
            ("put_object", "KeyTooLongError", 400, ObjectUnreadable, r"x\.png"),
            ("list_objects_v2", "AccessDenied", 403, StoreUnavailable, "s3:ListBucket"),
        ],
    )
    def test_errors(
        self,
        client: Any,
        request_name: str,
        code: str,
        status: int,
        expected: type[ImgpipeError],
        words: str,
    ) -> None:
        store = S3Store("bucket", "p", client)
        requests: dict[str, Callable[[], object]] = {
            "get_object": lambda: store.read("x.png", etag="abc"),
            "put_object": lambda: store.write("x.png", b"x"),
            "list_objects_v2": lambda: list(store.list()),
        }
        with Stubber(client) as stub:
            stub.add_client_error(request_name, code, "as the server says", status)
            with pytest.raises(expected, match=words) as caught:
                requests[request_name]()
        assert isinstance(caught.value.__cause__, ClientError)

    def test_only_a_write_that_must_not_overwrite_is_conditional(self, client: Any) -> None:
        common: dict[str, Any] = {
            "Bucket": "bucket",
            "Key": "p/x.png",
            "Body": b"x",
            "ContentType": "image/png",
        }
        common |= {"Metadata": ANY}  # a client with AWS's checksums sends no Content-MD5
        with Stubber(client) as stub:
            stub.add_response("put_object", {"ETag": '"e"'}, {**common, "IfNoneMatch": "*"})
            stub.add_response("put_object", {"ETag": '"e"'}, common)
            S3Store("bucket", "p", client).write("x.png", b"x")
            S3Store("bucket", "p", client).write("x.png", b"x", overwrite=True)
            stub.assert_no_pending_responses()

    def test_server_that_ignores_if_match(self, client: Any) -> None:
        with Stubber(client) as stub:
            stub.add_response("get_object", {"ETag": '"other"', "Body": io.BytesIO(b"x")}, ANY_REQUEST)
            with pytest.raises(ObjectChanged, match="expected etag abc, found other"):
                S3Store("bucket", "p", client).read("x.png", etag="abc")

    def test_conflicting_writers_are_tried_again(self, client: Any) -> None:
        store = S3Store("bucket", "p", client)
        with Stubber(client) as stub:
            stub.add_client_error("put_object", "ConditionalRequestConflict", "busy", 409)
            stub.add_response("put_object", {"ETag": '"e"'})
            store.write("x.png", b"x")
            for _ in range(4):
                stub.add_client_error("put_object", "ConditionalRequestConflict", "busy", 409)
            with pytest.raises(StoreUnavailable, match="ConditionalRequestConflict"):
                store.write("x.png", b"x")

    @pytest.mark.parametrize(("found", "ours"), [(b"x", True), (b"another's", False)])
    def test_repeated_write_that_meets_its_own_object(self, client: Any, found: bytes, ours: bool) -> None:
        store = S3Store("bucket", "p", client)
        with Stubber(client) as stub:
            repeated = {"RetryAttempts": 1}
            stub.add_client_error("put_object", "PreconditionFailed", "", 412, response_meta=repeated)
            stub.add_response("get_object", {"ETag": '"e"', "Body": io.BytesIO(found)})
            if ours:
                store.write("x.png", b"x")
            else:
                stub.add_response("head_object", {"ETag": '"e"'})
                with pytest.raises(ObjectExists):
                    store.write("x.png", b"x")

    def test_bucket_that_may_not_be_asked_for(self, client: Any) -> None:
        with Stubber(client) as stub:
            stub.add_client_error("head_object", "404", "", 404)
            stub.add_client_error("list_objects_v2", "AccessDenied", "", 403)
            stub.add_client_error("head_object", "404", "", 404)
            store = S3Store("bucket", "p", client)
            assert not store.exists("x.png")
            assert not store.exists("x.png")  # the bucket is asked for once
            stub.assert_no_pending_responses()


ANY_REQUEST = {"Bucket": ANY, "Key": ANY, "IfMatch": '"abc"'}
