"""Pictures by address: S3, and web servers where that is allowed, but none of a private network."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from imgpipe.config import Settings, load_settings
from imgpipe.errors import ConfigError, LimitExceeded, ObjectMissing, ObjectUnreadable
from imgpipe.jobs import fetch as fetch_module
from imgpipe.jobs.fetch import fetch, is_public
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import open_store
from imgpipe_tests.http_server import served


def settings(*prefixes: str, max_bytes: int = 1000, **more: object) -> Settings:
    return load_settings({"jobs.url_prefixes": list(prefixes), "limits.max_bytes": max_bytes, **more})


@pytest.fixture
def web() -> Iterator[str]:
    """A web server with a file of 900 bytes, one of 1,100, and a redirection."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = {"/a/small": 900, "/a/large": 1100}.get(self.path.partition("?")[0])
            self.send_response(302 if size is None else 200)
            self.send_header("Location", "/a/small")
            self.end_headers()
            self.wfile.write(b"x" * (size or 0))

    with served(Pages) as address:
        yield address


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_addresses_of_private_networks_are_known(address: str, public: bool) -> None:
    assert is_public(address) == public


def test_a_web_server_of_this_machine_is_not_asked(web: str) -> None:
    with pytest.raises(ConfigError, match="no address of the public internet"):
        fetch(f"{web}/a/small", settings("http://"))
    with pytest.raises(ConfigError, match="begins with s3://"):
        fetch(f"{web}/a/small", settings("s3://"))


def test_a_public_web_server_is_asked_for_what_is_allowed(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "is_public", lambda address: True)
    allowed = settings(f"{web}/a/")
    assert fetch(f"{web}/a/small?x=1", allowed) == b"x" * 900
    with pytest.raises(LimitExceeded, match="1,000 bytes"):
        fetch(f"{web}/a/large", allowed)
    with pytest.raises(ObjectUnreadable, match="expected status 200, got 302"):
        fetch(f"{web}/a/other", allowed)
    for elsewhere in (f"{web}/b/small", f"{web}/a/../b", f"{web}/a/%2e%2e/b"):
        with pytest.raises(ConfigError):
            fetch(elsewhere, allowed)


def test_an_object_on_s3(bucket: str, s3: S3Settings) -> None:
    store = open_store(f"s3://{bucket}", s3)
    store.write("in/a.png", b"x" * 900)
    store.write("in/b.png", b"x" * 1100)
    allowed = settings(f"s3://{bucket}/in/", s3=s3.model_dump())
    assert fetch(f"s3://{bucket}/in/a.png", allowed) == b"x" * 900
    with pytest.raises(LimitExceeded):
        fetch(f"s3://{bucket}/in/b.png", allowed)
    with pytest.raises(ObjectMissing):
        fetch(f"s3://{bucket}/in/a", allowed)
    with pytest.raises(ConfigError):
        fetch(f"s3://{bucket}/out/a.png", allowed)


def test_prefixes_end_where_a_name_ends() -> None:
    with pytest.raises(ConfigError, match="ending in /"):
        settings("https://images.example.com")  # would allow images.example.com.evil.net
