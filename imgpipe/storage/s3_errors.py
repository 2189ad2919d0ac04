"""Translates botocore's exceptions into imgpipe's error tree."""

from __future__ import annotations

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from imgpipe.errors import ObjectMissing, ObjectUnreadable, StorageError, StoreUnavailable

MISSING = {"NoSuchKey", "NotFound", "404"}
PRECONDITION = {"PreconditionFailed", "412"}
CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
DENIED = {"AccessDenied", "Forbidden", "403", "InvalidObjectState", "AllAccessDisabled"}
_ONE_NAME = {"KeyTooLongError", "EntityTooLarge", "InvalidURI"}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidClientTokenId",
    "RequestTimeTooSkewed",
}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_CREDENTIAL_ERRORS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
)
_CREDENTIAL_HELP = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give this machine a role; "
    "`aws sts get-caller-identity` tells whether it works"
)


def translated(
    exc: ClientError | BotoCoreError, url: str, uri: str, *, of_object: bool = False
) -> StorageError:
    """The error to raise instead. ``url`` names the store, ``uri`` the object.

    ``of_object``: one object was read, so that a refusal is taken as this object's own; a refused write
    or listing is the store's.
    """
    if isinstance(exc, ClientError):
        return _from_answer(exc, url, uri, of_object=of_object)
    if isinstance(exc, boto.FlexibleChecksumError):
        return ObjectUnreadable(f"{uri}: its bytes are not what its checksum says ({exc}); upload it again")
    return _from_transport(exc, url)


def code_of(exc: ClientError) -> str:
    """The server's error code; a HEAD request's is the bare HTTP status."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def no_bucket(url: str) -> StoreUnavailable:
    """The bucket of a store is not there."""
    bucket = url.removeprefix("s3://").partition("/")[0]
    return StoreUnavailable(
        f"{url}: bucket {bucket!r} does not exist; create it, or check its name and s3.endpoint_url"
    )


def _from_answer(exc: ClientError, url: str, uri: str, *, of_object: bool) -> StorageError:
    code = code_of(exc)
    said = f"{code}: {exc.response.get('Error', {}).get('Message', '') or exc}"
    if code == "NoSuchBucket":
        return no_bucket(url)
    if code in MISSING:
        return ObjectMissing(f"{uri}: no such object")
    if code in _ONE_NAME or code.startswith("KMS.") or (of_object and code in DENIED):
        return ObjectUnreadable(f"{uri}: {said}; check this object's permissions and storage class")
    if code in _CREDENTIALS:
        return StoreUnavailable(f"{url}: credentials refused ({said}); {_CREDENTIAL_HELP}")
    if code in _REGION:
        return StoreUnavailable(f"{url}: the bucket is in another region ({said}); set s3.region to it")
    if code in DENIED:
        needed = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"
        return StoreUnavailable(f"{uri}: access denied ({said}); allow {needed} here")
    if code == "NotImplemented":
        return StoreUnavailable(f"{uri}: the server lacks conditional writes ({said}); upgrade it")
    return StoreUnavailable(f"{uri}: the server answered {said}; try again later")


def _from_transport(exc: BotoCoreError, url: str) -> StoreUnavailable:
    """Errors without an answer of the server: credentials, region, network."""
    if isinstance(exc, _CREDENTIAL_ERRORS):
        return StoreUnavailable(f"{url}: no usable AWS credentials ({exc}); {_CREDENTIAL_HELP}")
    if isinstance(exc, boto.NoRegionError):
        return StoreUnavailable(f"{url}: no region is known; set s3.region or AWS_REGION")
    if isinstance(exc, (boto.ConnectionError, boto.HTTPClientError)):
        return StoreUnavailable(
            f"{url}: the server does not answer ({exc}); check s3.endpoint_url, network and proxy"
        )
    return StoreUnavailable(f"{url}: {type(exc).__name__}: {exc}")
