"""Settings: precedence, ranges, aliases, and refusals that name the key."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from types import MappingProxyType

import pytest

from imgpipe.config import Settings, dump_settings, found_file_naming_others, load_settings
from imgpipe.errors import ConfigError
from imgpipe.metrics import LIMITS
from imgpipe.names import dataset_name_from
from imgpipe.settings.given import parse_assignments

pytestmark = pytest.mark.usefixtures("own_folder")


def test_precedence_is_arguments_environment_file_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("imgpipe.yaml").write_text("upscale: {scale: 2, tile_size: 64}\nshard_size: 5\n")
    monkeypatch.setenv("IMGPIPE_UPSCALE__SCALE", "3")
    monkeypatch.setenv("IMGPIPE_SHARD_SIZE", "6")
    settings = load_settings({"shard_size": 7})
    assert (settings.shard_size, settings.upscale.scale, settings.upscale.tile_size) == (7, 3.0, 64)
    assert settings.rembg.foreground_threshold == 240


def test_named_config_file_replaces_the_one_that_is_found(tmp_path: Path) -> None:
    Path("imgpipe.yaml").write_text("shard_size: 5\n")
    other = tmp_path / "other.yaml"
    other.write_text("shard_size: 9\n")
    assert load_settings({}, config=other).shard_size == 9
    assert load_settings({}).shard_size == 5


def test_a_config_file_is_read_without_a_change_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("shard_size: 9\n")
    read_only = MappingProxyType({**os.environ, "IMGPIPE_CONFIG": "/nowhere.yaml"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "environ", read_only)
        assert load_settings({}, config=path).shard_size == 9


@pytest.mark.parametrize(
    ("overrides", "key", "hint"),
    [
        ({"upscale.scal": 2}, "upscale.scal", "did you mean 'scale'"),
        ({"ouput": "x"}, "ouput", "did you mean 'output'"),
        ({"rembg.foreground_threshold": 270}, "rembg.foreground_threshold", "254"),
        ({"rembg.background_threshold": 245}, "rembg", "must be below"),
        ({"upscale.tile_size": 8}, "upscale.tile_size", "at least 32"),
        ({"upscale.scale": 0}, "upscale.scale", "greater than 0"),
        ({"actions": []}, "actions", "at least one"),
        ({"actions": ["rembg", "rembg"]}, "actions", "only once"),
        ({"actions": ["blur"]}, "actions", "'enhance', 'fix_artifacts', 'rembg' or 'upscale'"),
        ({"dataset": "Not Valid"}, "dataset", "as in 'not_valid'"),
        ({"quality.thresholds": {"psnr_y_min": 3}}, "quality.thresholds", "did you mean 'psnr_y_min_db'"),
        ({"quality.thresholds": {"ssim_y_min": 3}}, "ssim_y_min", "0..1"),
        ({"limits.max_pixels": 0}, "limits.max_pixels", "greater than or equal to 1"),
    ],
)
def test_impossible_values_are_refused_by_name(overrides: dict[str, object], key: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides)
    assert key in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:geheim@127.0.0.1:9000",
        "https://geheim@host",
        "http://host:9000/?X-Amz-Security-Token=geheim",
        "http://host/#geheim",
        "me:geheim@host:9000",
        "http://me:geheim@[::1",
        "http://host:geheim",
        "s3://geheim",
        "http:// geheim",
    ],
)
def test_credentials_in_the_endpoint_are_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    expected = r"s3\.endpoint_url: expected an address without user name.*AWS_SECRET_ACCESS_KEY.*AWS_PROFILE"
    with pytest.raises(ConfigError, match=expected) as caught:
        load_settings({"s3.endpoint_url": url})
    assert "geheim" not in str(caught.value)
    monkeypatch.setenv("IMGPIPE_S3__ENDPOINT_URL", url)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_settings()
    assert "geheim" not in str(caught.value)
    assert "geheim" not in str(caught.value.__cause__)  # What a traceback shows.


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000", "https://host", "http://[::1]:9000/", "https://host/storage/v1/s3", ""]
)
def test_endpoints(url: str) -> None:
    assert load_settings({"s3.endpoint_url": url}).s3.endpoint_url == (url or None)


def test_unknown_key_in_the_file_is_refused() -> None:
    Path("imgpipe.yaml").write_text("upscale: {scales: 2}\n")
    with pytest.raises(ConfigError, match=r"upscale\.scales: unknown key; did you mean 'scale'"):
        load_settings({})


def test_an_unreadable_list_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGPIPE_ACTIONS", "rembg,upscale")
    with pytest.raises(ConfigError, match=r'"actions".*JSON'):
        load_settings({})


def test_unknown_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGPIPE_SHARDSIZE", "4")
    with pytest.raises(ConfigError, match=r"IMGPIPE_SHARDSIZE.*did you mean 'IMGPIPE_SHARD_SIZE'"):
        load_settings({})


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "just words"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    Path("imgpipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"imgpipe\.yaml"):
        load_settings({})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "shard_size: 2\nupscale:\n  scale: 2\n  tile_size: 64\n  scale: 4\n",
            "scale: given in lines 3 and 5",
        ),
        ("{shard_size: 1, shard_size: 2}", "shard_size: given in lines 1 and 1"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_both_lines(text: str, said: str) -> None:
    Path("imgpipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_settings({})


def test_a_section_knows_its_own_aliases_only() -> None:
    with pytest.raises(ConfigError, match=r"enhance\.half_precision: unknown key"):
        load_settings({"enhance": {"half_precision": True}})


def test_quality_names_of_the_environment_are_read_below_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("imgpipe.yaml").write_text("enhance: {min_width: 100, min_height: 200}\n")
    monkeypatch.setenv("QUALITY_MIN_WIDTH", "640")
    monkeypatch.setenv("QUALITY_SAVE_FORMAT_PRIORITY", "webp, png")
    monkeypatch.setenv("QUALITY_SSIM_Y_MIN", "0.5")
    monkeypatch.setenv("QUALITY_OF_LIFE", "high")
    settings = load_settings({})
    assert (settings.enhance.min_width, settings.enhance.min_height) == (640, 200)
    assert settings.enhance.save_format_priority == ("WEBP", "PNG")
    assert settings.quality.thresholds == {"ssim_y_min": 0.5}
    monkeypatch.setenv("IMGPIPE_ENHANCE__MIN_WIDTH", "700")
    assert load_settings({}).enhance.min_width == 700
    monkeypatch.setenv("QUALITY_MIN_WIDTH", "wide")
    monkeypatch.delenv("IMGPIPE_ENHANCE__MIN_WIDTH")
    with pytest.raises(ConfigError, match=r"enhance\.min_width"):
        load_settings({})


def test_an_alias_and_its_name_may_not_disagree() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        load_settings({"scale": 2, "upscale.scale": 3})


def test_assignments_are_read_as_yaml() -> None:
    values = parse_assignments(
        ["actions=[upscale]", "upscale.scale=1.5", "quality.thresholds={ssim_y_min: 0.9}"]
    )
    settings = load_settings(values)
    assert settings.actions == ("upscale",)
    assert settings.upscale.scale == 1.5
    assert settings.quality.thresholds == {"ssim_y_min": 0.9}
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignments(["upscale.scale"])


def test_dumped_settings_read_back_the_same(tmp_path: Path) -> None:
    settings = load_settings(
        {"source": "/a", "output": "/b", "scale": 3, "quality.thresholds": {"ssim_y_min": 0.5}}
    )
    path = tmp_path / "dump.yaml"
    path.write_text(dump_settings(settings))
    assert load_settings({}, config=path) == settings


def test_source_and_output_are_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match=r"source: expected a folder.*--source"):
        Settings().require_source_and_output()
    with pytest.raises(ConfigError, match="output: expected"):
        Settings(source="x").require_source_and_output()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/My Art", "my_art"),
        ("s3://bucket/raw/2026-11/", "2026_11"),
        ("/漫画", "漫画"),
        ("s3://b", "b"),
        ("/x/" + "a" * 100, "a" * 63),
    ],
)
def test_dataset_names_are_valid_for_any_source(url: str, name: str) -> None:
    assert dataset_name_from(url) == name
    assert load_settings({"dataset": name}).dataset == name


def test_threshold_ranges_are_ordered() -> None:
    assert all(limit.lowest < limit.highest for limit in LIMITS.values())


def test_a_found_file_that_names_files_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its relative names lead into a folder that somebody else may have filled."""
    assert found_file_naming_others() is None
    for text, said in (
        ("upscale: {scale: 2, model: lanczos}", False),
        ("source: s3://bucket/x\noutput: /results", False),
        ("source: raw", True),
        ("model_dir: models", True),
        ("upscale: {model: network.pth}", False),  # There is no such file: it is refused anyway.
        ("upscale: {model: here.pth}", True),
        ("quality: {profile: here.pth}", True),
    ):
        Path("here.pth").touch()
        Path("imgpipe.yaml").write_text(text)
        assert (found_file_naming_others() is not None) is said, text
    monkeypatch.setenv("IMGPIPE_CONFIG", str(tmp_path / "imgpipe.yaml"))
    assert found_file_naming_others() is None


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in itertools.pairwise("abcdefghi")),
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b} {{<<: [{', '.join(['*' + a] * 10)}]}}\n" for a, b in itertools.pairwise("abcdefghi")
        ),
        "a: &a [*a]",
        "a: " + "[" * 5000,
        "a: " + "9" * 5000,
        "a: 2024-13-45",
        "a: [" + "1, " * 400_000 + "]",
    ],
    ids=["aliases", "merges", "itself", "nested", "digits", "date", "long"],
)
def test_yaml_made_to_take_memory_is_refused_quickly(text: str) -> None:
    Path("imgpipe.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError, match="readable YAML"):
        load_settings({})
    assert time.process_time() - start < 2.0
    with pytest.raises(ConfigError, match="valid YAML"):
        parse_assignments(
            ["actions=" + text.partition(": ")[2] if text.count("\n") == 0 else f"a={{{text}}}"]
        )


def test_aliases_that_are_meant_are_read() -> None:
    Path("imgpipe.yaml").write_text(
        "upscale: &both {fallback: classical}\nrembg: {<<: *both, erode_size: 3}\n"
    )
    assert load_settings({}).rembg.erode_size == 3


def test_relative_paths_are_taken_from_the_named_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "elsewhere"
    (folder / "nets").mkdir(parents=True)
    (folder / "nets" / "a.pth").touch()
    (folder / "calm.yaml").write_text("quality: {profile: classical}\n")
    Path("imgpipe.yaml").write_text(
        "source: raw\noutput: s3://bucket/x\nmodel_dir: ~/m\nupscale: {model: nets/a.pth}\n"
        "rembg: {model: isnet-anime}\nquality: {profile: calm.yaml}\n"
    )
    with pytest.raises(ConfigError, match=r"quality.*calm\.yaml"):
        load_settings({})
    monkeypatch.setenv("IMGPIPE_FOLDER", str(folder))
    monkeypatch.setenv("IMGPIPE_OUTPUT", "results")
    settings = load_settings({})
    assert (settings.source, settings.output) == (str(folder / "raw"), str(folder / "results"))
    assert settings.model_dir == Path("~/m").expanduser()
    assert (settings.upscale.model, settings.rembg.model) == (str(folder / "nets/a.pth"), "isnet-anime")
    assert settings.quality.profile_name == "calm"


@pytest.mark.parametrize(
    ("written", "means"),
    [("true", "auto"), ("1", "auto"), ("False", "off"), ("off", "off"), ("closed_form", "closed_form")],
)
def test_alpha_matting_may_be_a_switch_in_the_environment(
    written: str, means: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGPIPE_REMBG__ALPHA_MATTING", written)
    assert load_settings().rembg.alpha_matting == means


def test_rays_runtime_environment_holds_no_credentials() -> None:
    secret = {"env_vars": {"AWS_SECRET_ACCESS_KEY": "canary"}}
    with pytest.raises(ConfigError, match=r"ray\.runtime_env: AWS_SECRET_ACCESS_KEY looks like") as refused:
        load_settings({"ray.runtime_env": secret})
    assert "canary" not in str(refused.value)


def test_the_cluster_is_the_named_one_the_environments_or_one_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().ray.cluster == "local"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert load_settings().ray.cluster == "head:6379"
    assert load_settings({"ray.address": "other:1"}).ray.cluster == "other:1"
