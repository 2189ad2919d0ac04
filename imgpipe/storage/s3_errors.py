"""Translates botocore's exceptions into imgpipe's error tree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from imgpipe.errors import ObjectDamaged, ObjectMissing, ObjectUnreadable, StorageError, StoreUnavailable

#: Everything that a request to S3 may raise; ValueError: a date or number in the answer that is none.
REFUSALS = (ClientError, BotoCoreError, ResponseParserError, HTTPError, ValueError)
MISSING = {"NoSuchKey", "NotFound", "404"}
PRECONDITION = {"PreconditionFailed", "412"}
#: A write that may succeed as it is: another one is under way, its bytes were spoilt, or a condition failed
#: that does not hold.
REPEATED_WRITE = {"ConditionalRequestConflict", "OperationAborted", "409", "BadDigest", *PRECONDITION}
#: An upload in parts is over.
NO_UPLOAD = {"NoSuchUpload"}
DENIED = {"AccessDenied", "Forbidden", "403", "InvalidObjectState", "AllAccessDisabled"}
_ONE_NAME = {"KeyTooLongError", "EntityTooLarge", "InvalidURI"}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidClientTokenId",
}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
#: S3's own tolerance.
_MOST_SKEW = timedelta(minutes=15)
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_CREDENTIAL_ERRORS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
)
#: The connection broke or fell silent, before an answer or within a body; HTTPError: TLS within a body.
_BROKEN = (
    boto.ConnectionClosedError,
    boto.IncompleteReadError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
    HTTPError,
)
_CREDENTIAL_HELP = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give this machine a role; "
    "`aws sts get-caller-identity` tells whether it works; s3.anonymous=true reads a public bucket without"
)


def translated(exc: Exception, url: str, uri: str, *, of_object: bool = False) -> StorageError:
    """The error to raise instead of one of :data:`REFUSALS`. ``url`` names the store, ``uri`` the object.

    ``of_object``: one object was read, so that a refusal is taken as this object's own; a refused write
    or listing is the store's.
    """
    if isinstance(exc, boto.FlexibleChecksumError):
        return ObjectDamaged(f"{uri}: its bytes are not what its checksum says ({exc}); upload it again")
    if isinstance(exc, ClientError) and (refused := _about_one_object(exc, uri, of_object=of_object)):
        return refused
    if of_object and is_fault_of_the_server(exc):
        return ObjectUnreadable(
            f"{uri}: the server does not deliver this object ({exc}), but answers other requests; "
            "run again, or upload the object again"
        )
    if isinstance(exc, ClientError):
        return _from_answer(exc, url, uri)
    if isinstance(exc, (ResponseParserError, ValueError)):
        return not_s3(url, str(exc))
    return _from_transport(exc, url)


def is_fault_of_the_server(exc: Exception) -> bool:
    """Whether the server broke off, fell silent, failed (status 5xx, but not throttling) or is no S3's."""
    if isinstance(exc, ClientError):
        failed = _status(exc) >= 500 and code_of(exc) not in _THROTTLED
        return failed or bool(_foreign_answer(exc))
    return isinstance(exc, _BROKEN)


def code_of(exc: Exception) -> str:
    """The server's error code, ``""`` without an answer; a HEAD request's is the bare HTTP status."""
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def not_s3(url: str, said: str) -> StoreUnavailable:
    """Something else than an S3 server answers."""
    return StoreUnavailable(
        f"{url}: expected an answer of S3, got {said[:300]}; check that s3.endpoint_url is the address of "
        "the API, not of a web page or console, and that no proxy or login page answers in its place"
    )


def _status(exc: ClientError) -> int:
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _header(exc: ClientError, name: str) -> str:
    return str(exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(name, ""))


def _clock_difference(exc: ClientError) -> str:
    """Both clocks in words where a request was refused for its time, else ``""``."""
    here = datetime.now(UTC)
    try:
        there = parsedate_to_datetime(_header(exc, "date"))
        apart = abs(here - there) > _MOST_SKEW
    except (ValueError, TypeError):  # No date, or one without a zone.
        return "by more than the server allows" if code_of(exc) in _SKEWED else ""
    if code_of(exc) in _SKEWED or (_status(exc) == 403 and apart):
        return f"{here:%Y-%m-%d %H:%M:%S} UTC here, {there:%Y-%m-%d %H:%M:%S} UTC there"
    return ""


def _foreign_answer(exc: ClientError) -> str:
    """What was answered, in words, where it is a web page or another program's error, else ``""``."""
    kind = _header(exc, "content-type").partition(";")[0].strip().lower()
    plain_status = code_of(exc) in ("", str(_status(exc)))  # No error of S3 was found in it.
    head = exc.operation_name.startswith("Head")  # No answer to these has one in it.
    foreign = plain_status and not head and ("html" in kind or "json" in kind)
    return f"HTTP status {_status(exc)} with {kind}" if foreign else ""


def _said(exc: ClientError) -> str:
    return f"{code_of(exc)}: {exc.response.get('Error', {}).get('Message', '') or exc}"


def _about_one_object(exc: ClientError, uri: str, *, of_object: bool) -> StorageError | None:
    code = code_of(exc)
    if of_object and code in MISSING:
        return ObjectMissing(f"{uri}: no such object")
    denied = of_object and code in DENIED and not _clock_difference(exc)
    if denied or code in _ONE_NAME or code.startswith("KMS."):
        return ObjectUnreadable(f"{uri}: {_said(exc)}; check this object's permissions and storage class")
    return None


def _from_answer(exc: ClientError, url: str, uri: str) -> StoreUnavailable:
    code, said = code_of(exc), _said(exc)
    if clocks := _clock_difference(exc):
        return StoreUnavailable(
            f"{url}: this machine's clock and the server's differ too much: {clocks} ({said}); "
            "set this machine's clock, as by `timedatectl set-ntp true`"
        )
    if foreign := _foreign_answer(exc):
        return not_s3(url, foreign)
    if code == "NoSuchBucket":
        bucket = url.removeprefix("s3://").partition("/")[0]
        return StoreUnavailable(
            f"{url}: bucket {bucket!r} does not exist; create it, or check its name and s3.endpoint_url"
        )
    if code in _CREDENTIALS:
        return StoreUnavailable(f"{url}: credentials refused ({said}); {_CREDENTIAL_HELP}")
    if code in _REGION:
        return StoreUnavailable(f"{url}: the bucket is in another region ({said}); set s3.region to it")
    if code in DENIED:
        needed = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"
        return StoreUnavailable(
            f"{uri}: access denied ({said}); allow {needed} here, or set s3.requester_pays=true where the "
            "bucket's owner asks for it"
        )
    if code == "NotImplemented":
        return StoreUnavailable(f"{uri}: the server lacks conditional writes ({said}); upgrade it")
    hint = "try again later" if _status(exc) >= 500 else "check s3.endpoint_url and s3.region"
    return StoreUnavailable(f"{uri}: the server answered {said}; {hint}")


def _from_transport(exc: Exception, url: str) -> StoreUnavailable:
    """Errors without an answer of the server: credentials, region, network."""
    if isinstance(exc, _CREDENTIAL_ERRORS):
        return StoreUnavailable(f"{url}: no usable AWS credentials ({exc}); {_CREDENTIAL_HELP}")
    if isinstance(exc, boto.NoRegionError):
        return StoreUnavailable(f"{url}: no region is known; set s3.region or AWS_REGION")
    if isinstance(exc, boto.SSLError):
        return StoreUnavailable(
            f"{url}: the server's TLS certificate is not accepted ({exc}); give its authority's file in "
            "AWS_CA_BUNDLE, and check this machine's clock"
        )
    if isinstance(exc, (boto.ConnectionError, boto.HTTPClientError, *_BROKEN)):
        return StoreUnavailable(
            f"{url}: the server does not answer ({exc}); check s3.endpoint_url, network and proxy"
        )
    return StoreUnavailable(f"{url}: {type(exc).__name__}: {exc}")
