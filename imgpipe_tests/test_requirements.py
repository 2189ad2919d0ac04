"""docs/requirements.md names what does and what shows every row; all that it names exists."""

from __future__ import annotations

import ast
import functools
import re
import runpy
from pathlib import Path

import pytest

from imgpipe.config import Settings

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "imgpipe_tests"
PAGE = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
WANTED = ROOT.parent / "shared" / "REQUIREMENTS.md"
NOT_BUILT = "not built"
describe_fields = runpy.run_path(str(ROOT / "scripts" / "write_docs.py"))["describe_fields"]


def _rows() -> dict[str, tuple[str, str]]:
    """Row -> (done by, shown by), from the tables."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("|") and not line.startswith(("| row ", "| input ", "|---"))
    ]
    rows = {name: (done, shown) for name, _, done, shown in cells}
    assert len(rows) == len(cells), "a row stands twice"
    return rows


ROWS = _rows()


def _named(text: str) -> list[str]:
    return re.findall("`([^`]+)`", text)


@functools.cache
def _tests_in(path: Path) -> set[str]:
    """Names of the tests, and of the classes of tests, in a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test"):
            found.add(node.name)
    return found


def _is_there(name: str) -> bool:
    path, _, test = name.partition("::")
    if test:
        return (TESTS / path).is_file() and test in _tests_in(TESTS / path)
    settings = {key for key, *_ in describe_fields(Settings)}
    return name in settings or any((base / name).exists() for base in (ROOT, ROOT / "imgpipe"))


def test_every_requirement_has_a_row() -> None:
    if not WANTED.is_file():
        pytest.skip("../shared with REQUIREMENTS.md is not beside this checkout")
    text, _, last = WANTED.read_text(encoding="utf-8").partition("\n## 7. ")
    wanted = re.findall(r"^\| ([A-Z]\d+) \|", text, re.MULTILINE)
    listed = last.partition("\n")[2].partition(":")[0]
    kinds = re.sub(r" \([^)]*\)|`", "", listed).split(", ")
    assert (len(wanted) > 40, len(kinds) > 12) == (True, True), "REQUIREMENTS.md has another form"
    names = {name.casefold() for name in ROWS}
    assert [name for name in (*wanted, *kinds) if name.strip().casefold() not in names] == []


@pytest.mark.parametrize("row", ROWS)
def test_what_a_row_names_is_there(row: str) -> None:
    done, shown = ROWS[row]
    assert [name for name in _named(done) if not _is_there(name)] == []
    if shown != NOT_BUILT:
        assert _named(done), "names nothing that does it"
        assert _named(shown), f"names no test; write {NOT_BUILT!r} where nothing does it"
        assert [name for name in _named(shown) if not ("::" in name or name.startswith("benchmarks/"))] == []
        assert [name for name in _named(shown) if not _is_there(name)] == []


def test_what_its_text_names_is_there() -> None:
    text = "\n".join(line for line in PAGE.splitlines() if not line.startswith("|"))
    assert [name for name in _named(text) if "::" in name and not _is_there(name)] == []
    assert [name for name in re.findall(r"\]\(([^)#]+)", text) if not (ROOT / "docs" / name).exists()] == []
