"""A run through a proxy that spoils a third of all requests to S3: nothing lost, nothing half, true rows."""

from __future__ import annotations

import pytest

from imgpipe.images.encode import encode
from imgpipe.records import Status
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import open_store
from imgpipe_tests.chaos.outcome import faults_of, pictures_of, rows_of
from imgpipe_tests.end_to_end.conftest import (  # noqa: F401
    Workspace,
    flat_drawing,
    instance_home,
)
from imgpipe_tests.storage.faulty_server import STORM, faulty_server

pytestmark = [pytest.mark.chaos, pytest.mark.server, pytest.mark.timeout(1800)]

OBJECTS, SHARE, MOST_RUNS = 1000, 0.05, 12
ARGUMENTS = [
    *("--shard-size", "250", "--set", "actions=[rembg]", "--set", "rembg.model=classical"),
    *("--set", "isolation.mode=none", "--set", "quality.diff=false", "--set", "workers=8"),
]


@pytest.mark.usefixtures("instance_home")
def test_a_thousand_objects_in_a_storm(s3: S3Settings, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_store(f"s3://{bucket}/source", s3)
    data = [encode(flat_drawing(seed, 40, 32)) for seed in range(20)]
    for number in range(OBJECTS):
        source.write(f"{number:04}.png", data[number % len(data)])
    monkeypatch.setenv("IMGPIPE_S3__REGION", str(s3.region))

    monkeypatch.setenv("IMGPIPE_S3__ENDPOINT_URL", str(s3.endpoint_url))
    calm = Workspace(f"s3://{bucket}/source", f"s3://{bucket}/calm", {})
    code, text = calm.cli("run", *ARGUMENTS)
    assert code in (0, 1), text

    codes: list[int] = []
    errors: list[int] = []
    said: list[str] = []
    with faulty_server(str(s3.endpoint_url)) as server:
        monkeypatch.setenv("IMGPIPE_S3__ENDPOINT_URL", server.url)
        stormy = Workspace(f"s3://{bucket}/source", f"s3://{bucket}/stormy", {})
        output = open_store(stormy.output, s3)
        server.storm(seed=3, share=SHARE)
        while not codes or codes[-1] == 3 or errors[-1]:
            assert len(codes) < MOST_RUNS, "\n".join([str(codes), str(errors), *said])
            code, text = stormy.cli("run", *ARGUMENTS)
            codes.append(code)
            said.append(text.splitlines()[-1] if code == 3 else "")
            rows = rows_of(output)
            errors.append(sum(status is Status.ERROR for _, status, *_ in rows.values()))
        met, seen = dict(server.met), len(server.seen)
    print(f"\n{seen} requests, faults {met}, exit codes {codes}, error rows after each run {errors}")

    assert set(met) == {name for name, *_ in STORM}
    assert rows == rows_of(open_store(calm.output, s3))
    assert len(rows) == 3 * OBJECTS
    assert list(pictures_of(output).values()) == list(pictures_of(open_store(calm.output, s3)).values())
    assert faults_of(output) == []
