"""The process's boto3 clients, one for each set of S3 settings."""

from __future__ import annotations

import os
import threading
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError

from imgpipe.errors import ConfigError, StoreUnavailable
from imgpipe.settings import S3Settings
from imgpipe.settings.sources import check_endpoint

_ATTEMPTS = 5
_CONNECT_SECONDS = 10.0
#: Longest silence of the server, before an answer and within a body.
_READ_SECONDS = 60.0
#: botocore takes the address of another server from these too.
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

#: Operations that are sent with a condition: 412 answers no other one.
_CONDITIONAL = {"GetObject", "PutObject", "CompleteMultipartUpload"}

_clients: dict[S3Settings, Any] = {}
_clients_lock = threading.Lock()


def s3_client(s3: S3Settings) -> Any:
    """The process's one boto3 S3 client for these settings; clients are safe to share among threads.

    Credentials come from the usual AWS places at the first call. Raises :class:`StoreUnavailable` where
    boto3 refuses the set-up (an unknown profile, an endpoint that is no address), and :class:`ConfigError`
    where an endpoint from the environment holds credentials.
    """
    with _clients_lock:
        if s3 not in _clients:
            _clients[s3] = _new_client(s3)
        return _clients[s3]


def _new_client(s3: S3Settings) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    # Servers that only resemble S3 often refuse the checksums that AWS takes by default. Asking for stored
    # ones with an answer does no harm: a server that has none ignores it.
    elsewhere = s3.endpoint_url or any(os.environ.get(name) for name in _ENDPOINT_VARIABLES)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=64,
        signature_version=UNSIGNED if s3.anonymous else None,
        request_checksum_calculation="when_required" if elsewhere else "when_supported",
        response_checksum_validation="when_supported",
    )
    try:
        session = boto3.session.Session(region_name=s3.region)
        client = session.client("s3", endpoint_url=s3.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as exc:
        raise StoreUnavailable(
            f"S3 cannot be set up: {exc}; check s3.endpoint_url, s3.region and AWS_PROFILE"
        ) from exc
    try:
        check_endpoint(client.meta.endpoint_url)
    except ValueError as exc:
        raise ConfigError(f"AWS_ENDPOINT_URL, or endpoint_url of the AWS profile: {exc}") from exc
    client.meta.events.register("before-parse.s3", _repair)
    if s3.requester_pays:
        client.meta.events.register("before-call.s3", _pay)
    return client


def _repair(response_dict: dict[str, Any], operation_model: Any = None, **_: Any) -> None:
    """Answers that botocore fails at by itself."""
    status, headers = response_dict["status_code"], response_dict["headers"]
    if status < 300:
        return
    unasked = status == 412 and getattr(operation_model, "name", "") not in _CONDITIONAL
    if status == 429 or unasked:  # It repeats a request by some codes, and by 503 whatever the code.
        response_dict["status_code"] = 503
    if not isinstance(response_dict["body"], bytes):  # An error with a checksum was taken for an object.
        response_dict["body"] = b""
    # Redirected to another site, it asks for the bucket's region, without end where that is redirected too.
    if status < 400 and "x-amz-bucket-region" not in headers and b"<Error>" not in response_dict["body"]:
        raise ResponseParserError(f"HTTP status {status}, a redirection to {headers.get('Location')}")


def _pay(params: dict[str, Any], **_: Any) -> None:
    params["headers"]["x-amz-request-payer"] = "requester"


def _forget_clients() -> None:
    """After a fork: connections are the parent's."""
    global _clients_lock
    _clients.clear()
    _clients_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_clients)
