"""Results under their sources' names: `imgpipe export`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from imgpipe.storage.source_record import record_source
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.review.space import Space

NAMES = ("絵/夏 休み/少女 1.png", "comic/b.jpg", "Обложка.webp")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good pictures in nested folders, and one that the matting rejects."""
    tmp_path = tmp_path_factory.mktemp("first")
    made = Space(str(tmp_path / "in"), str(tmp_path / "out"))
    for seed, name in enumerate(NAMES):
        path = write_drawing(tmp_path / "in", name, seed)
        if path.suffix != ".png":
            PIL.Image.open(path).save(path, quality=97)
    PIL.Image.new("RGB", (128, 112), "grey").save(tmp_path / "in" / "blank.png")
    made.run()
    assert {key: row.status for key, row in made.rows().items()} == {
        **dict.fromkeys(NAMES, "ok"),
        "blank.png": "rejected",
    }
    return tmp_path


@pytest.fixture
def space(first: Path, tmp_path: Path) -> Space:
    """A copy of the first one."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return Space(str(tmp_path / "in"), str(tmp_path / "out"))


def export(space: Space, target: Path, *arguments: str) -> tuple[int, str]:
    return imgpipe("export", space.output, target, *arguments, columns=200)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_the_sources_tree_with_what_is_good_and_only_what_is_new(space: Space, tmp_path: Path) -> None:
    target = tmp_path / "target"
    code, said = export(space, target)
    assert (code, "3 written, 0 unchanged, 1 left out" in said) == (0, True), said
    upscaled = {row.source_key: row for row in space.rows("upscaled_images").values()}
    expected = {
        str(Path(name).with_suffix(".png")): space.stores.output.read(upscaled[name].output_key)
        for name in NAMES
    }
    assert tree(target) == expected
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*.png")}
    assert "0 written, 3 unchanged" in export(space, target)[1]
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.png")} == times

    write_drawing(tmp_path / "in", NAMES[0], seed=9)
    (tmp_path / "in" / NAMES[1]).unlink()
    space.run()
    (target / "Обложка.png").unlink()  # what somebody removed comes back
    code, said = export(space, target)
    assert "2 written" in said
    assert "1 file of earlier exports" in said
    assert (target / "comic" / "b.png").is_file()
    assert "1 removed" in export(space, target, "--prune")[1]
    assert set(tree(target)) == {"絵/夏 休み/少女 1.png", "Обложка.png"}


def test_results_of_one_name_are_refused_before_anything_is_written(space: Space, tmp_path: Path) -> None:
    write_drawing(tmp_path / "in", "comic/b.png", seed=5)
    space.run()
    code, said = export(space, tmp_path / "target")
    assert code == 2
    assert "comic/b.jpg and comic/b.png would both be comic/b.png" in said.replace("\n", " ")
    assert not list((tmp_path / "target").iterdir())


def test_files_of_others_stay(space: Space, tmp_path: Path) -> None:
    mine = tmp_path / "target" / "Обложка.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    code, said = export(space, tmp_path / "target")
    assert code == 1
    assert "is not as an export of this data set left it" in said
    assert mine.read_bytes() == b"mine"
    assert len(tree(tmp_path / "target")) == 3
    edited = tmp_path / "target" / "comic" / "b.png"
    edited.write_bytes(b"edited by hand")
    assert "is not as an export of this data set left it" in export(space, tmp_path / "target")[1]
    assert edited.read_bytes() == b"edited by hand"


def test_a_target_among_the_sources_or_results_is_refused(space: Space, tmp_path: Path) -> None:
    record_source(space.stores.output, "art", space.stores.source.url)
    before = tree(tmp_path / "in")
    for place in (tmp_path / "in", tmp_path / "in" / "made", tmp_path / "out", tmp_path / "out" / "made"):
        code, said = export(space, place)
        assert (code, "expected a target outside of" in said) == (2, True), said
    assert tree(tmp_path / "in") == before


def test_nothing_is_pruned_for_what_cannot_be_told(space: Space, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert export(space, target)[0] == 0
    before = tree(target)
    code, said = export(space, target, "--prune", "--what", "fixed")
    assert (code, "--what: matted, upscaled" in said) == (2, True), said
    code, said = export(space, target, "--prune", "--dataset", "typo")
    assert (code, "check --dataset" in said) == (2, True), said
    next((tmp_path / "out" / "tables" / "quality_reports").rglob("*.parquet")).unlink()
    code, said = export(space, target, "--prune")
    assert (code, "1 shard without finished results" in said) == (1, True), said
    assert tree(target) == before


def test_data_sets_in_one_target_leave_each_others_files(space: Space, tmp_path: Path) -> None:
    write_drawing(tmp_path / "in2", "comic/b.png", 5)
    write_drawing(tmp_path / "in2", "mine.png", 6)
    other = Space(str(tmp_path / "in2"), str(tmp_path / "out2"), {"dataset": "other"})
    other.run()
    target = tmp_path / "target"
    assert export(space, target)[0] == 0
    before = tree(target)
    assert "comic/b.png is not as an export of this data set" in export(other, target, "--prune")[1]
    assert {name: data for name, data in tree(target).items() if name != "mine.png"} == before
    assert "0 removed" in export(space, target, "--prune")[1]
    assert "mine.png" in tree(target)


def test_another_format_and_stage(space: Space, tmp_path: Path) -> None:
    code, said = export(space, tmp_path / "webp", "--what", "matted", "--format", "webp")
    assert code == 0, said
    with PIL.Image.open(tmp_path / "webp" / "Обложка.webp") as made:
        row = space.rows("matted_images")["Обложка.webp"]
        with PIL.Image.open(Path(space.output) / row.output_key) as result:
            assert np.array_equal(np.asarray(made), np.asarray(result))
    code, said = export(space, tmp_path / "jpeg", "--format", "jpg")
    assert code == 1
    assert said.count("not exported") == 3
    assert tree(tmp_path / "jpeg") == {}
    assert export(space, tmp_path / "x", "--format", "gif")[0] == 2


def test_what_a_step_before_the_last_made(tmp_path: Path) -> None:
    write_drawing(tmp_path / "in", "夏/a.png", 0)
    space = Space(str(tmp_path / "in"), str(tmp_path / "out"))
    space.run(actions=["enhance"], **{"enhance.min_width": 128, "enhance.min_height": 112})
    code, said = export(space, tmp_path / "to", "--what", "enhanced", "--only", "all")
    assert code == 0, said
    row = space.rows("enhanced_images")["夏/a.png"]
    assert tree(tmp_path / "to") == {"夏/a.png": (Path(space.output) / row.output_key).read_bytes()}
    assert export(space, tmp_path / "to", "--what", "quality")[0] == 2


def test_symbolic_links_are_seen_and_others_links_stay(space: Space, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "Обложка.png").symlink_to("nowhere")
    assert "2 written" in export(space, target, "--links", "symbolic")[1]
    assert (target / "Обложка.png").readlink() == Path("nowhere")
    (target / "Обложка.png").unlink()
    assert "1 written, 2 unchanged" in export(space, target, "--links", "symbolic")[1]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    broken = target / "comic" / "b.png"
    broken.unlink()
    broken.symlink_to("gone")  # as where the result has moved
    assert "1 written, 2 unchanged" in export(space, target, "--links", "symbolic")[1]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")} == times


def test_a_folder_in_a_files_place_costs_that_file(space: Space, tmp_path: Path) -> None:
    (tmp_path / "target" / "Обложка.png").mkdir(parents=True)
    (tmp_path / "target" / "comic").write_bytes(b"")
    code, said = export(space, tmp_path / "target")
    assert (code, said.count("not exported"), "1 written" in said) == (1, 2, True), said


def test_links_are_the_results_themselves(space: Space, tmp_path: Path) -> None:
    assert export(space, tmp_path / "hard", "--links", "hard")[0] == 0
    row = space.rows("upscaled_images")["Обложка.webp"]
    assert (tmp_path / "hard" / "Обложка.png").samefile(Path(space.output) / row.output_key)
    assert export(space, tmp_path / "x", "--links", "hard", "--format", "webp")[0] == 2


def test_a_persons_word_counts_by_default(space: Space, tmp_path: Path) -> None:
    place = ("--output", space.output, "--dataset", "art")
    item = space.rows("matted_images")["blank.png"].image_id
    for _ in range(2):  # the matte, and then the verdict on the enlarged nothing
        code, said = imgpipe("review", "accept", *place, item)
        assert code == 0, said
        space.run()
    assert "4 written" in export(space, tmp_path / "accepted")[1]
    assert "3 written" in export(space, tmp_path / "ok", "--only", "ok")[1]
