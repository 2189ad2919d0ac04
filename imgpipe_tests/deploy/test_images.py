"""The Dockerfile, its locks and the compose files, as they stand; scripts/check_image.py runs them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgpipe.config import load_settings

TARGETS = ("runpod", "serve", "dagster")
LOCK_LINE = re.compile(r"[\w.-]+==[\w.!+-]+ --hash=sha256:[0-9a-f]{64}")
SECRETS = {"POSTGRES_PASSWORD": "p", "MINIO_ROOT_USER": "u", "MINIO_ROOT_PASSWORD": "s"}


@dataclass
class Stage:
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str | None:
        found = [value for name, value in self.steps if name == instruction]
        return found[-1] if found else None


@pytest.fixture(scope="module")
def root(profiles: Path) -> Path:
    return profiles.parent


@pytest.fixture(scope="module")
def stages(root: Path) -> dict[str, Stage]:
    """Stages by name, with the steps of the stages that they are made from before their own."""
    parse = pytest.importorskip("dockerfile_parse", reason="needs the extra `dev`")
    found: dict[str, Stage] = {}
    current = Stage("")
    with (root / "Dockerfile").open("rb") as file:
        for step in parse.DockerfileParser(fileobj=file).structure:
            if step["instruction"] == "FROM":
                base, _, name = step["value"].partition(" AS ")
                current = found[name] = Stage(base, list(found[base].steps) if base in found else [])
            elif step["instruction"] != "COMMENT":
                current.steps.append((step["instruction"], step["value"]))
    return found


def words(value: str | None) -> list[str]:
    return list(json.loads(value)) if value else []


def has_program(name: str) -> bool:
    """Whether one of the installed packages brings the command, or it is Python itself."""
    scripts = importlib.metadata.entry_points(group="console_scripts")
    return name in ("python", "sh") or name in scripts.names


def check_command(command: list[str]) -> None:
    assert has_program(command[0]), command
    if command[0] == "python" and "-m" in command:
        assert importlib.util.find_spec(command[command.index("-m") + 1]) is not None
    for module in (command[i + 1] for i, word in enumerate(command) if word in ("-m", "--module-name")):
        assert importlib.util.find_spec(module) is not None, command


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_what_is_installed_as_nobody_special(stages: dict[str, Stage], target: str) -> None:
    stage = stages[target]
    user = stage.last("USER")
    assert user is not None
    uid, gid = user.split(":")  # Numbers: Kubernetes' runAsNonRoot knows no names.
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    assert not any(
        name in ("RUN", "COPY", "ADD") for name, _ in stage.steps[stage.steps.index(("USER", user)) :]
    )
    check_command([*words(stage.last("ENTRYPOINT")), *words(stage.last("CMD"))])
    health = words((stage.last("HEALTHCHECK") or "").partition(" CMD ")[2])
    assert health[:2] == ["sh", "-c"]
    # Docker knows 0 and 1; `imgpipe doctor` has 2 as well.
    assert health[2].endswith("imgpipe doctor --read-only || exit 1")
    assert "pip check" in (stage.last("RUN") or "")


def test_other_addresses_are_served_with_a_token_alone(stages: dict[str, Stage]) -> None:
    command = words(stages["serve"].last("ENTRYPOINT"))
    assert command[command.index("--host") + 1] == "0.0.0.0"  # noqa: S104
    assert command[command.index("--port") + 1] == stages["serve"].last("EXPOSE")
    for stage in stages.values():  # None is baked.
        assert not any(
            "TOKEN" in value or "PASSWORD" in value for name, value in stage.steps if name == "ENV"
        )


def excluded(path: str, patterns: list[str]) -> bool:
    """.dockerignore's rule: the last line that fits the path, or a folder above it, decides."""
    out = False
    above = [path, *(str(folder) for folder in Path(path).parents if folder != Path())]
    for pattern in patterns:
        rule = pattern.removeprefix("!").removesuffix("/**")
        names = [*above, *(part for part in Path(path).parts if rule.startswith("**/"))]
        if any(fnmatch(name, rule.removeprefix("**/")) for name in names):
            out = not pattern.startswith("!")
    return out


def test_what_is_copied_is_there_and_sent(stages: dict[str, Stage], root: Path) -> None:
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    copied = set()
    for stage in stages.values():
        for value in (value for name, value in stage.steps if name in ("COPY", "ADD")):
            origin = re.search(r"--from=(\w+)", value)
            sources = [word for word in value.split() if not word.startswith("--")][:-1]
            if origin:
                assert origin[1] in stages
            else:
                copied.update(sources)
    assert {"requirements.lock", "requirements-networks.lock", "imgpipe", "deploy/locks/gpu.lock"} <= copied
    for source in copied:
        assert (root / source).exists(), source
        inside = "imgpipe/cli/serve.py" if source == "imgpipe" else source
        assert not excluded(inside, patterns), source
    for path in (
        ".git/config",
        ".env",
        "deploy/postgres/.env",
        "demo-output/index.html",
        "imgpipe/__pycache__/a.pyc",
    ):
        assert excluded(path, patterns), path


def test_packages_come_from_locks_with_hashes(stages: dict[str, Stage], root: Path) -> None:
    used: set[str] = set()
    for stage in stages.values():
        for value in (value for name, value in stage.steps if name == "RUN"):
            for install in re.findall(r"pip (?:install|wheel)[^&;]*", value):
                files = re.findall(r"--requirement (\S+)", install)
                used.update(Path(file).name for file in files)
                assert "--no-deps" in install
                assert (
                    "--require-hashes" in install
                    if files
                    else "--no-build-isolation" in install or ("--no-index" in install)
                )
    runtime = [root / "requirements.lock", root / "requirements-networks.lock"]
    locks = [*runtime, *sorted((root / "deploy" / "locks").glob("*.lock"))]
    assert used == {lock.name for lock in locks}
    versions: dict[str, str] = {}
    for lock in [*locks, root / "requirements-dev.lock"]:
        entries = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
        assert entries
        for entry in entries:
            assert LOCK_LINE.fullmatch(entry), f"{lock.name}: {entry}"
            name, version = entry.split()[0].split("==")
            assert versions.setdefault(name.lower().replace("_", "-"), version) == version, name


def test_the_cuda_libraries_are_of_one_major_version(root: Path) -> None:
    text = "".join(
        (root / name).read_text() for name in ("requirements-networks.lock", "deploy/locks/gpu.lock")
    )
    major = re.search(r"^cuda-toolkit==(\d+)\.", text, re.MULTILINE)
    assert major
    assert set(re.findall(r"^nvidia-\w+-cu(\d+)==", text, re.MULTILINE)) == {major[1]}
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "cuda-bindings"):
        assert f"\n{name}=={major[1]}." in text
    base = re.search(
        r"^ARG BASE=nvidia/cuda:(\d+)\.\d+\.\d+-", (root / "Dockerfile").read_text(), re.MULTILINE
    )
    assert base
    assert base[1] == major[1]
    # What onnxruntime loads beside torch's.
    assert re.search(r"^nvidia-curand==\d+", text, re.MULTILINE)


def test_bases_are_pinned(root: Path, stages: dict[str, Stage]) -> None:
    text = (root / "Dockerfile").read_text()
    pinned = dict(re.findall(r"^ARG (\w+)=([\w/.-]+:[\w.-]+)$", text, re.MULTILINE))
    outside = {stage.base for stage in stages.values() if stage.base not in stages}
    assert {f"${{{name}}}" for name in pinned} == outside
    images = {service["image"] for service in compose(root)["services"].values() if "build" not in service}
    assert len(images) == 2
    for image in (*pinned.values(), *images):
        assert re.search(r":\D*\d+[.-]\d+", image), f"{image}: expected a version"


def test_the_linter_has_nothing_to_say(root: Path) -> None:
    program = Path(sys.executable).parent / "hadolint"
    found = str(program) if program.exists() else shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint is not installed; needs the extra `dev`")
    done = subprocess.run([found, str(root / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def compose(root: Path, name: str = "compose.yaml") -> dict[str, Any]:
    value = yaml.safe_load((root / "deploy" / "postgres" / name).read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def filled(value: str) -> str:
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: SECRETS[found[1]], value)


def test_compose_starts_nothing_without_passwords(root: Path) -> None:
    text = (root / "deploy" / "postgres" / "compose.yaml").read_text(encoding="utf-8")
    # Each variable is demanded: `:?` refuses an unset and an empty one. `$$` is the container's own.
    assert set(re.findall(r"(?<!\$)\$\{(\w+):\?", text)) == set(SECRETS)
    assert "$" not in re.sub(r"(?<!\$)\$\{\w+:\?[^}]*\}|\$\$", "", text)
    example = (root / "deploy" / "postgres" / "env.example").read_text(encoding="utf-8")
    assert re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE) == [(name, "") for name in SECRETS]
    assert ".env" in (root / ".gitignore").read_text(encoding="utf-8").split()


def test_compose_waits_for_what_it_needs(root: Path) -> None:
    services = compose(root)["services"]
    assert set(services) == {"database", "objects", "bucket", "code", "webserver", "daemon"}
    for name, service in services.items():
        if name != "bucket":  # It ends.
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert service["restart"] == "unless-stopped"
        for needed, condition in service.get("depends_on", {}).items():
            ends = "restart" not in services[needed]
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert condition == {"condition": wanted}, (name, needed)
        # On this machine alone: none of them asks who comes.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    named = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {volume for volume in named if not volume.startswith("./")} == set(compose(root)["volumes"])
    for file in (volume for volume in named if volume.startswith("./")):
        assert (root / "deploy" / "postgres" / file).is_file()


@pytest.mark.parametrize("name", ["code", "webserver", "daemon"])
def test_compose_s_services_are_of_the_image(
    root: Path, stages: dict[str, Stage], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = compose(root)["services"][name]
    build = service["build"]
    assert (root / "deploy" / "postgres" / build["context"]).resolve() == root
    assert build["target"] in stages
    arguments = {
        value.split("=")[0] for stage in stages.values() for kind, value in stage.steps if kind == "ARG"
    }
    assert set(build["args"]) <= {*arguments, "BASE", "PYTHON"}
    check_command(service["command"])
    check_command(service["healthcheck"]["test"][1:])
    environment: Mapping[str, str] = service["environment"]
    profile = (root / "deploy" / "postgres" / "dagster.yaml").read_text(encoding="utf-8")
    workspace = (root / "deploy" / "postgres" / "workspace.yaml").read_text(encoding="utf-8")
    read = set(re.findall(r"env: (\w+)", profile + workspace))
    given = {key for key in environment if key.startswith("DAGSTER_")}
    assert given == read
    # Unknown IMGPIPE_ names are refused by load_settings.
    for key, value in environment.items():
        if key.startswith("IMGPIPE_"):
            monkeypatch.setenv(key, filled(value))
    settings = load_settings()
    objects = compose(root)["services"]["objects"]
    assert settings.s3.endpoint_url == "http://objects:9000"
    assert objects["command"][0] == "server"
    made = re.search(
        r"mc mb --ignore-existing objects/(\w+)", compose(root)["services"]["bucket"]["command"][0]
    )
    assert made
    assert settings.source.startswith(f"s3://{made[1]}/")
    assert settings.output.startswith(f"s3://{made[1]}/")
    assert filled(environment["AWS_ACCESS_KEY_ID"]) == filled(objects["environment"]["MINIO_ROOT_USER"])
    assert filled(environment["AWS_SECRET_ACCESS_KEY"]) == filled(
        objects["environment"]["MINIO_ROOT_PASSWORD"]
    )


def test_the_gpu_file_changes_services_that_there_are(root: Path) -> None:
    services, gpu = compose(root)["services"], compose(root, "compose.gpu.yaml")["services"]
    assert set(gpu) == {name for name in services if "build" in services[name]}
    base = re.search(r"^ARG BASE=(\S+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    for service in gpu.values():
        assert service["build"]["args"] == {"BASE": base[1], "DEVICE": "gpu"}
    (device,) = gpu["code"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
