"""``imgpipe ui`` in a folder that somebody else filled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgpipe.cli import app


def test_nothing_in_the_working_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules and an ``.env`` there are not read, and its settings mean what they meant there."""
    trace = tmp_path / "was-run"
    for name in ("yaml", "dagster", "imgpipe/__init__", "json", "sitecustomize", "usercustomize"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(trace)!r}, 'a').write(__name__)\n")
    (tmp_path / ".env").write_text("FROM_ENV_FILE=1\n")
    (tmp_path / "model.pth").touch()
    text = "source: raw\noutput: results\nupscale: {model: model.pth}\nrembg: {model: classical}\n"
    (tmp_path / "imgpipe.yaml").write_text(text)
    for name in [name for name in os.environ if name.startswith("IMGPIPE_")] + ["DAGSTER_HOME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        started: list[list[str]] = []
        patched.setattr(os, "environ", dict(os.environ))
        patched.setattr(os, "execv", lambda _, arguments: started.append(arguments))
        assert CliRunner().invoke(app, ["ui", "--port", "3999"]).exit_code == 0
        environment, folder = dict(os.environ), Path.cwd()
    ((python, *arguments),) = started
    assert python == sys.executable
    flags = arguments[: arguments.index("imgpipe.webserver") + 1]
    # What the UI's processes import, and the settings that they read; `dagster dev` itself takes much longer.
    for command in (
        [*flags, "--version"],
        ["-m", "dagster", "--version"],
        [
            "-c",
            "import imgpipe.definitions; from imgpipe.config import load_settings as load; "
            "s = load(); print(s.source, s.output, s.upscale.model)",
        ],
    ):
        done = subprocess.run(
            [python, *command], env=environment, cwd=folder, capture_output=True, text=True, check=True
        )
    assert not trace.exists(), trace.read_text()
    assert done.stdout.split() == [str(tmp_path / name) for name in ("raw", "results", "model.pth")]
    assert not (folder / ".env").exists()
