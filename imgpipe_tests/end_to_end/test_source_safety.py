"""The whole command where the source or the output is not what it was: nothing is lost or made twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from imgpipe.records import Status
from imgpipe.storage import keys
from imgpipe_tests.end_to_end.conftest import Workspace, write_drawing

QUICK = (
    *("--set", "actions=[upscale]", "--set", "upscale.model=lanczos", "--set", "upscale.scale=2"),
    *("--set", "isolation.mode=none", "--set", "quality.diff=false", "--set", "workers=1"),
)


def pictures(workspace: Workspace) -> dict[str, int]:
    """Time of writing, ns, by path of every picture and score."""
    root = Path(workspace.output)
    found = [path for path in root.rglob("*") if path.suffix in (".png", ".json") and path.is_file()]
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns
        for path in found
        if path.relative_to(root).parts[0] in ("upscaled", "quality")
    }


def test_a_source_that_is_away_another_one_and_lost_outputs(workspace: Workspace, tmp_path: Path) -> None:
    source = Path(workspace.source)
    for number in range(4):
        write_drawing(source, f"{number}.png", seed=number)

    def imgpipe(command: str, *arguments: str, source: Path = source) -> tuple[int, str]:
        return replace(workspace, source=str(source)).cli(command, *arguments, *QUICK)

    empty = tmp_path / "nothing"
    empty.mkdir()
    (empty / "read.me").write_text("no image")
    code, text = imgpipe("run", source=empty)
    assert code == 2, text
    assert str(empty) in text
    assert ".png" in text
    assert "files not named like images (1): read.me" in text
    assert "report:" not in text

    code, text = imgpipe("run")
    assert code == 0, text
    before = pictures(workspace)
    assert len(before) == 8

    # A lost output is seen by listing.
    lost = workspace.stores.output
    victim = next(name for name in before if name.startswith("upscaled") and "/2-" in name)
    lost.delete(victim)
    code, text = imgpipe("status")
    assert "upscaled_images stale (1 file gone or cut)" in " ".join(text.split()), text
    code, text = imgpipe("run")
    assert (code, "1 of 1 shard to do" in text) == (0, True), text
    remade = pictures(workspace)
    assert {name for name in before if remade[name] != before[name]} == {victim}
    before = remade

    # The folder is not mounted: refused, and prune removes nothing.
    away = source.rename(tmp_path / "away")
    source.mkdir()
    code, text = imgpipe("run")
    assert code == 2, text
    assert "4 of 4" in text
    assert "--allow-deletions" in text
    code, text = imgpipe("prune", "--yes")
    assert "0 files" in text, text
    assert pictures(workspace) == before

    # With the word they are marked as deleted; prune asks for it again.
    code, text = imgpipe("run", "--allow-deletions")
    assert (code, "4 deleted" in text) == (0, True), text
    rows = workspace.rows("upscaled_images").values()
    assert {(row.status, bool(row.stage_hash), bool(row.output_sha256)) for row in rows} == {
        (Status.SKIPPED, True, True)
    }
    code, text = imgpipe("prune", "--yes")
    assert (code, "4 of 4" in text) == (2, True), text
    assert pictures(workspace) == before

    # Back as a copy at another address, with new times: taken when told, and nothing is made again.
    moved = tmp_path / "moved" / "images"
    shutil.copytree(away, moved, copy_function=shutil.copyfile)
    code, text = imgpipe("run", "--source-moved", source=moved)
    assert (code, "4 returned" in text) == (0, True), text
    assert pictures(workspace) == before

    # Another source of the same name is refused.
    other = tmp_path / "charB" / "images"
    write_drawing(other, "0.png", seed=77)
    code, text = imgpipe("run", source=other)
    assert code == 2, text
    for said in (str(moved), str(other), "--dataset", "--source-moved"):
        assert said in text
    assert pictures(workspace) == before


def test_damage_is_made_again_and_stops_no_other_shard(workspace: Workspace) -> None:
    for number in range(4):
        write_drawing(workspace.source, f"{number}.png", seed=number)
    lenient = ("--shard-size", "2", *QUICK, "--set", "quality.thresholds={psnr_y_min_db: 1}")
    assert workspace.cli("run", "--shard-size", "2", *QUICK)[0] == 0
    output = workspace.stores.output

    # An upscaled picture is damaged, its size is the same: scoring finds it, the next run makes it again.
    row = workspace.rows("upscaled_images")["1.png"]
    good = output.read(row.output_key)
    damaged = bytearray(good)
    damaged[len(damaged) // 2] ^= 0xFF
    output.write(row.output_key, bytes(damaged), overwrite=True)
    code, text = workspace.cli("run", *lenient)
    assert code == 1, text
    assert "was deleted, the next run makes it again" in text

    # An empty manifest stops its shard, and the planning, alone; an empty journal is nothing.
    manifest = keys.manifest_key("art", "00001")
    sealed = output.read(manifest)
    output.write(manifest, b"", overwrite=True)
    output.write(keys.table_key("unfinished_upscaled_images", "art", "00000"), b"", overwrite=True)
    write_drawing(workspace.source, "late.png", seed=6)
    code, text = workspace.cli("run", *lenient)
    assert code == 3, text
    # Its source is read again too: it could have been the one that is not what it was.
    chain = ("raw_images", "upscaled_images", "quality_reports")
    assert workspace.computed == [(asset, "1.png") for asset in chain]
    assert output.read(row.output_key) == good
    assert manifest in text
    assert "restored from a copy" in text
    code, text = workspace.cli("status", *lenient)
    assert (code, "stopped: " in text) == (3, True), text

    # An empty table's rows are made again; nothing else is.
    Path(workspace.source, "late.png").unlink()
    output.write(manifest, sealed, overwrite=True)
    output.write(keys.table_key("upscaled_images", "art", "00001"), b"", overwrite=True)
    code, text = workspace.cli("run", *lenient)
    assert (code, "1 of 2 shards to do" in text) == (0, True), text
    assert "its rows are made again: " in text
    assert sorted(workspace.computed) == [("upscaled_images", "2.png"), ("upscaled_images", "3.png")]


def test_report_and_prune_name_a_damaged_manifest_and_go_on(workspace: Workspace) -> None:
    for number in range(6):
        write_drawing(workspace.source, f"{number}.png", seed=number)
    assert workspace.cli("run", "--shard-size", "2", *QUICK)[0] == 0
    for number in (0, 2, 4):
        Path(workspace.source, f"{number}.png").unlink()
    assert workspace.cli("plan", "--shard-size", "2", "--allow-deletions", *QUICK)[0] == 0
    output = workspace.stores.output
    empty, cut = (keys.manifest_key("art", shard) for shard in ("00001", "00002"))
    output.write(empty, b"", overwrite=True)
    data = bytearray(output.read(cut))
    data[4:60] = bytes(56)  # The rows; its footer is whole.
    output.write(cut, bytes(data), overwrite=True)

    code, text = workspace.cli("report", *QUICK)
    assert (code, empty in text) == (3, True), text
    assert empty in output.read(keys.report_key("art", "index.html")).decode()
    code, text = workspace.cli("prune", "--yes", "--allow-deletions", *QUICK)
    assert (code, empty in text, cut in text) == (3, True, True), text
    left = {path.parent.name for path in Path(workspace.output, "upscaled").rglob("*.png")}
    assert left == {"00000", "00001", "00002"}
    assert [len(list(Path(workspace.output, "upscaled/art", shard).glob("*"))) for shard in sorted(left)] == [
        *(1, 2, 2)
    ]
