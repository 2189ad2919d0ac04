"""File names and data sets in any script go through planning, Dagster, storage, report and review."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from dagster import DagsterInstance

from imgpipe.records import Status
from imgpipe.storage.opening import open_store
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing
from imgpipe_tests.review.space import Space

#: Source key -> readable part of its id.
NAMES = {
    "名前.png": "名前",
    "Кот и Пёс.png": "Кот_и_Пёс",
    "صورة.png": "صورة",
    "प्रतिमा.png": "प्रतिमा",
    "👍🏽.png": "image",
    "\u00e9.png": "\u00e9",
    "e\u0301.png": "\u00e9",
    'a "b" <c>%2F#?&\'`.png': "a_b_c_2F",
    "x\u202egnp.png": "x_gnp",
    "絵" * 80 + ".png": "絵" * 40,
}


def test_every_name_through_dagster_report_and_review(workspace: Workspace) -> None:
    workspace.dataset = "アニメ"
    for seed, name in enumerate(NAMES):
        write_drawing(workspace.source, name, seed=seed)
    code, text = workspace.cli("run", *CLASSICAL)
    assert code == 0, text
    rows = workspace.rows()
    assert {key: row.image_id[:-21] for key, row in rows.items()} == NAMES
    assert len({row.image_id for row in rows.values()}) == len(NAMES)
    assert {row.status for row in rows.values()} == {Status.OK}
    with DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("shards_アニメ") == ["アニメ-00000"]
    folder = Path(workspace.output, "reports", "アニメ")
    page = (folder / "index.html").read_text(encoding="utf-8")
    thumbs = {path.name for path in (folder / "thumbs").iterdir()}
    for row in rows.values():
        assert row.image_id in page
        assert f"{row.image_id}.source." in " ".join(thumbs)
        document = json.loads(Path(workspace.output, row.output_key).read_text())
        assert document["status"] == "ok"
        code, listed = imgpipe("files", "--output", workspace.output, row.image_id, columns=500)
        assert code == 0
        places = [line.split(maxsplit=2)[2] for line in listed.splitlines() if "/アニメ/" in line]
        assert len(places) == 4
        assert all(Path(place).is_file() for place in places)
    # Nothing in an id needs escaping in the path of an <img>: no reserved character of RFC 3986.
    assert not [name for name in thumbs if re.search(r"[:/?#\[\]@!$&'()*+,;=%\s\"<>\\^`{|}]", name)]
    name = rows["名前.png"].image_id
    decided = ("--output", workspace.output, "--dataset", "アニメ", "--set", "review.user=ann")
    assert imgpipe("review", "reject", *decided, name, "--note", "вот")[0] == 0
    assert workspace.cli("run", *CLASSICAL)[0] == 1
    assert Path(workspace.output, "rejected", "upscaled", "アニメ", "00000", f"{name}.png").is_file()
    assert workspace.cli("status", *CLASSICAL)[0] == 1


@pytest.mark.server
def test_every_name_on_s3(tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, output = f"{s3_url}/入力", f"{s3_url}/結果"
    (tmp_path / "local").mkdir()
    space = Space(source, output, {"dataset": "art", "shard_size": 100})
    for seed, name in enumerate(NAMES):
        write_drawing(str(tmp_path / "local"), name, seed=seed)
        open_store(source, space.settings().s3).write(name, (tmp_path / "local" / name).read_bytes())
    space.run()
    assert {key: (row.status, row.image_id[:-21]) for key, row in space.rows().items()} == {
        key: (Status.OK, stem) for key, stem in NAMES.items()
    }
    assert space.run() == 0
