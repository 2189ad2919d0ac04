"""A shard on a server whose answers are spoilt: what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.retries.standard import ExponentialBackoff

from imgpipe.records import Status
from imgpipe.settings import S3Settings
from imgpipe.storage import s3_client
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.review.space import Space
from imgpipe_tests.storage.faulty_server import cut, error, faulty_server, flip, stall


@pytest.mark.server
def test_spoilt_answers_cost_at_most_their_own_rows(
    s3: S3Settings, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.storage.s3._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(s3_client, "_READ_SECONDS", 0.3)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    names = ["cut_once.png", "damaged.png", "failing.png", "good.png", "stalled_once.png"]
    with faulty_server(str(s3.endpoint_url)) as server:
        options = {"s3.endpoint_url": server.url, "s3.region": "us-east-1", "shard_size": 5}
        space = Space(f"s3://{bucket}/raw", f"s3://{bucket}/results", options)
        for number, name in enumerate(names):
            space.stores.source.write(name, write_drawing(tmp_path, name, seed=number).read_bytes())
        server.spoil("GET", "cut_once", cut, times=1)
        server.spoil("GET", "stalled_once", stall, times=1)
        server.spoil("GET", "raw/failing", error(500, "InternalError"))
        server.spoil("GET", "raw/damaged", flip)
        for text in ("shards/art/00000", "tables/raw_images", "tables/upscaled_images"):
            server.spoil("GET", text, cut, times=1)
        assert space.run() == 1
        rows = space.rows()
    assert [name for name in names if rows[name].status is Status.ERROR] == ["damaged.png", "failing.png"]
    for name, kind, words in (
        ("damaged.png", "ObjectDamaged", "upload it again"),
        ("failing.png", "ObjectUnreadable", "InternalError"),
    ):
        assert (rows[name].stage_failed, rows[name].error_class) == ("raw_images", kind)
        assert words in rows[name].error_message
    for name in ("cut_once.png", "good.png", "stalled_once.png"):
        assert rows[name].status in (Status.OK, Status.REJECTED), rows[name]
