"""The options of commands over a data set, and the settings that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from imgpipe import __version__
from imgpipe.cli.dataset import over_dataset
from imgpipe.config import Settings
from imgpipe_tests.command_line import imgpipe


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))


def read(*arguments: str, of_last_run: bool = False) -> tuple[int, str, Settings | None]:
    """Exit code, what was said, and the settings that a command with these arguments gets."""
    got: list[Settings] = []

    def keep(settings: Settings) -> int:
        """Nothing else."""
        got.append(settings)
        return 0

    own = typer.Typer()
    own.command()(over_dataset(keep, of_last_run=of_last_run))
    result = CliRunner().invoke(own, list(arguments), env={"COLUMNS": "300"}, catch_exceptions=False)
    return result.exit_code, result.output, got[0] if got else None


def settings_of(*arguments: str, of_last_run: bool = False) -> Settings:
    code, text, settings = read(*arguments, of_last_run=of_last_run)
    assert settings is not None, (code, text)
    return settings


@pytest.mark.parametrize("place", [("in", "out"), ("-i", "in", "-o", "out"), ("in", "--output", "out")])
def test_source_and_output_are_given_in_any_way(place: tuple[str, ...], tmp_path: Path) -> None:
    settings = settings_of(*place)
    assert (settings.source, settings.output) == (str(tmp_path / "in"), str(tmp_path / "out"))
    assert settings.dataset == "in"


@pytest.mark.parametrize(
    ("arguments", "section"),
    [
        (("--actions", "rembg"), "rembg"),
        (("--actions", "upscale"), "upscale"),
        (("--actions", "enhance, rembg,upscale"), "upscale"),
        (("--set", "actions=rembg"), "rembg"),
    ],
)
def test_the_model_is_that_of_the_only_action_or_of_upscale(arguments: tuple[str, ...], section: str) -> None:
    settings = settings_of("in", "out", *arguments, "--model", "some-name")
    models = {name: getattr(settings, name).model for name in ("rembg", "upscale", "enhance")}
    default = {name: getattr(Settings(), name).model for name in models}
    assert models == default | {section: "some-name"}


@pytest.mark.parametrize("text", ["rembg,upscale", "rembg, upscale", "[rembg, upscale]"])
def test_actions_are_read_as_a_list(text: str) -> None:
    assert settings_of("--set", f"actions={text}").actions == ("rembg", "upscale")
    assert settings_of("--set", "actions=upscale", "--scale", "3").upscale.scale == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("a", "b", "--source", "c"),
            "ConfigError: SOURCE and --source: given twice with different values ('a' and 'c'); keep one",
        ),
        (
            ("--dataset", "a", "--set", "dataset=b"),
            "ConfigError: dataset and --set dataset: given twice with different values ('a' and 'b'); "
            "keep one",
        ),
        (
            ("--scale", "2", "--set", "upscale.scale=3"),
            "ConfigError: upscale.scale: given twice with different values (2.0 and 3); keep one",
        ),
        (
            ("--scale", "2", "--actions", "rembg"),
            "ConfigError: --scale: expected upscale among the actions, which are rembg",
        ),
        (
            ("--model", "x", "--actions", "enhance,rembg"),
            "ConfigError: --model: of enhance or rembg? expected one action, or upscale among them; "
            "say which, as in --set enhance.model=…",
        ),
    ],
)
def test_what_is_given_twice_or_means_nothing_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert read(*arguments) == (2, said + "\n", None)


def test_image_points_from_a_folder_to_run() -> None:
    Path("my art").mkdir()
    found = imgpipe("image", "my art", "out", columns=300)
    said = (
        "ConfigError: my art: expected a picture, it is a folder; for all in it: imgpipe run 'my art' out\n"
    )
    assert found == (2, said)


def test_the_version_is_printed() -> None:
    assert imgpipe("--version") == (0, f"imgpipe {__version__}\n")
