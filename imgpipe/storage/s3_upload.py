"""Writes one object to S3: a single PUT, or in parts that are abandoned where one of them fails.

What was written goes along as the object's metadata ``sha256``, so that a HEAD tells which bytes lie there.
On the way AWS verifies a CRC32, which botocore adds; other servers the older ``Content-MD5``, which all of
them know and which botocore leaves out there.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from imgpipe.storage.s3_errors import REFUSALS

#: From this size on an object goes in parts of this size: what fails is repeated part by part.
PART_BYTES = 64 * 2**20
#: Name of the metadata.
SHA256 = "sha256"
_LOG = logging.getLogger(__name__)


def upload(client: Any, place: Mapping[str, str], data: bytes, *, kind: str, overwrite: bool) -> Any:
    """The server's answer, which has the etag. ``place``: bucket and key; ``kind``: the content type.

    Without ``overwrite`` the server refuses where there is an object (``If-None-Match``). That is always one
    PUT, 5 GB at most: Ceph's server ignores the condition of an upload in parts. Raises what botocore does.
    """
    facts = {"ContentType": kind, "Metadata": {SHA256: hashlib.sha256(data).hexdigest()}}
    if len(data) <= PART_BYTES or not overwrite:
        condition = {} if overwrite else {"IfNoneMatch": "*"}
        return client.put_object(**place, **facts, **condition, **_body(client, data))
    parts = []
    begun = client.create_multipart_upload(**place, **facts)
    upload_id = {"UploadId": begun["UploadId"]}
    try:
        for number, start in enumerate(range(0, len(data), PART_BYTES), 1):
            body = _body(client, data[start : start + PART_BYTES])
            answer = client.upload_part(**place, **upload_id, PartNumber=number, **body)
            checksums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
            parts.append({"PartNumber": number, "ETag": answer.get("ETag", ""), **checksums})
        made = {"MultipartUpload": {"Parts": parts}}
        return client.complete_multipart_upload(**place, **upload_id, **made)
    except BaseException:
        _abandon(client, place, upload_id)
        raise


def _body(client: Any, data: bytes) -> dict[str, Any]:
    if client.meta.config.request_checksum_calculation == "when_supported":
        return {"Body": data}
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"Body": data, "ContentMD5": base64.b64encode(digest).decode()}


def _abandon(client: Any, place: Mapping[str, str], upload_id: Mapping[str, str]) -> None:
    try:
        client.abort_multipart_upload(**place, **upload_id)
    except REFUSALS as exc:
        _LOG.warning(
            "s3://%s/%s: the parts of a failed upload could not be removed (%s); a lifecycle rule "
            "(AbortIncompleteMultipartUpload) does it",
            *(place["Bucket"], place["Key"], exc),
        )
