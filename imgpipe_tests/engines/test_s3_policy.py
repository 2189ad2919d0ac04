"""The policies in docs/stores.md allow what a run asks of S3, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from imgpipe.engines.fsck import check
from imgpipe.settings import S3Settings
from imgpipe.storage import s3_upload
from imgpipe.storage.opening import open_store
from imgpipe_tests.conftest import ROOT
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.review.space import Space

#: Operation -> the action that AWS's authorization reference asks for.
ACTIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
}


def policies() -> dict[str, set[str]]:
    """Bucket -> actions, of the page's policy."""
    text = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(\{.*?\})\n```", text, re.DOTALL)
    allowed: dict[str, set[str]] = {}
    for statement in json.loads(block)["Statement"]:
        assert statement["Effect"] == "Allow"
        resource = statement["Resource"].removeprefix("arn:aws:s3:::")
        # Keys are below the prefix; only the listing is of the bucket, and its condition names the prefix.
        of_keys = resource.endswith("/*")
        assert of_keys == ("s3:ListBucket" not in statement["Action"])
        assert of_keys or statement["Condition"]["StringLike"]["s3:prefix"]
        allowed.setdefault(resource.partition("/")[0], set()).update(statement["Action"])
    return allowed


@pytest.mark.server
def test_the_policies_are_what_is_needed(
    s3: S3Settings, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/raw"
    open_store(url, s3).write("a.png", write_drawing(tmp_path, "a.png", seed=1).read_bytes())
    asked: dict[str, set[str]] = {"raw": set(), "results": set()}
    call: Any = BaseClient._make_api_call  # type: ignore[attr-defined]

    def recording(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        place = request.get("Key", request.get("Prefix", ""))
        asked["raw" if place.startswith("raw") else "results"].add(ACTIONS[operation])
        return call(client, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", recording)
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 * 2**20)
    options = {"s3.endpoint_url": s3.endpoint_url, "s3.region": s3.region}
    space = Space(url, f"s3://{bucket}/results", options)
    assert space.run() in (0, 1)
    assert [one.findings for one in check(space.stores.output)] == [[]]
    space.stores.output.write("large.bin", bytes(6 * 2**20), overwrite=True)
    monkeypatch.delattr(s3_upload, "_body")  # The first part fails.
    with pytest.raises(NameError):
        space.stores.output.write("large.bin", bytes(6 * 2**20), overwrite=True)
    allowed = policies()
    assert asked == {"raw": allowed["SOURCE"], "results": allowed["OUTPUT"]}
