"""Pictures by their address: what a setting allows, bounded, and never from a private network."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from urllib.parse import unquote, urlsplit

from imgpipe.config import Settings
from imgpipe.errors import ConfigError, LimitExceeded, ObjectMissing, ObjectUnreadable
from imgpipe.storage.opening import open_store

#: For each answer of the server, and for the whole file.
_TIMEOUT_SECONDS, _WHOLE_SECONDS = 20.0, 120.0
_CLIENTS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


def fetch(url: str, settings: Settings) -> bytes:
    """The file at ``url``, at most ``limits.max_bytes``.

    Raises :class:`ConfigError` for an address that ``jobs.url_prefixes`` does not allow or that leads into a
    private network, :class:`LimitExceeded` for a larger file, and the :class:`StorageError` family where it
    cannot be read.
    """
    prefixes = settings.jobs.url_prefixes
    if not url.startswith(prefixes):
        raise ConfigError(
            f"image_url: expected an address that begins with {' or '.join(prefixes)} (jobs.url_prefixes), "
            f"got {url[:100]!r}"
        )
    read = _from_s3 if url.startswith("s3://") else _from_web
    return read(url, settings)


def _from_s3(url: str, settings: Settings) -> bytes:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    store = open_store(f"s3://{bucket}", settings.s3)
    found = next((item for item in store.list(key) if item.key == key), None) if key else None
    if found is None:
        raise ObjectMissing(f"{url}: no such object; expected s3://bucket/key")
    if found.size_bytes > settings.limits.max_bytes:
        raise too_large(url, "more", settings.limits.max_bytes)
    return store.read(key, etag=found.etag)


def _from_web(url: str, settings: Settings) -> bytes:
    """Redirects are not followed and no proxy is asked: both lead elsewhere than what was checked."""
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc or ".." in unquote(parts.path).split("/"):
            raise ConfigError(f"image_url: expected an address without user name and '..', got {url[:100]!r}")
        client = _CLIENTS[parts.scheme](parts.netloc, timeout=_TIMEOUT_SECONDS)
        client._create_connection = _connect
        client.request("GET", parts._replace(scheme="", netloc="", fragment="").geturl() or "/")
        answer = client.getresponse()
        if answer.status != http.client.OK:
            raise ObjectUnreadable(f"{url}: expected status 200, got {answer.status}; give its final address")
        return _bounded(answer, url, settings)
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise ObjectUnreadable(f"{url}: cannot be fetched: {exc}; check the address") from exc


def _bounded(answer: http.client.HTTPResponse, url: str, settings: Settings) -> bytes:
    data, end = bytearray(), time.monotonic() + _WHOLE_SECONDS
    with answer:
        while part := answer.read1(2**20):
            data += part
            if len(data) > settings.limits.max_bytes:
                raise too_large(url, "more", settings.limits.max_bytes)
            if time.monotonic() > end:
                raise TimeoutError(f"not complete after {_WHOLE_SECONDS:g} s")
    return bytes(data)


def _connect(address: tuple[str, int], timeout: float, source: object = None) -> socket.socket:
    """As :func:`socket.create_connection`, to a public address only: the very one that was looked at."""
    host, port = address
    for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not is_public(str(found[0])):
            raise ConfigError(f"image_url: {host} is {found[0]}, which is no address of the public internet")
        return socket.create_connection((str(found[0]), port), timeout)
    raise OSError(f"{host} has no address")


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet and does not stand for another one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_IPV6 or address.sixtofour or address.teredo
    ):
        return False
    return address.is_global and not address.is_multicast


def too_large(name: str, size: str, max_bytes: int) -> LimitExceeded:
    """The refusal of a file of this size."""
    return LimitExceeded(
        f"{name}: expected at most {max_bytes:,} bytes (limits.max_bytes), got {size}; send a smaller file"
    )
