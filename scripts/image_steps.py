"""Runs the steps of the Dockerfile in a folder; ``check_image.py`` says for what."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("runpod", "serve", "dagster")
#: Folders that the Dockerfile makes: they lie below the temporary root, and nothing else is changed.
FOLDERS = re.compile(r"(?<![\w./$}-])/(?=(opt/imgpipe|models|wheels|build|dagster|output)\b)")
SYSTEM_STEPS = ("apt-get", "useradd")
#: What pip needs to reach the index of this machine.
KEPT = ("PIP_", "SSL_", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LANG")
#: Read by Python at its start: the registry's files become small ones that a server on loopback has.
STAND_INS = """
import contextlib, dataclasses, json, os, types
with contextlib.suppress(ImportError):
    from imgpipe.inference import weights
    known = json.loads(os.environ["STAND_INS"])
    weights.REGISTRY = types.MappingProxyType({
        name: dataclasses.replace(entry, **known.get(name, {})) for name, entry in weights.REGISTRY.items()})
"""


@dataclass
class Stage:
    """What a stage leaves: its files, its environment and how the image would be started."""

    folder: Path
    environment: dict[str, str]
    workdir: str = "/build"
    commands: dict[str, list[str]] = field(default_factory=dict)
    exposed: str = ""


class Builder:
    """Runs stages in one live folder: a virtual environment works only where it was made."""

    def __init__(self, work: Path, arguments: Mapping[str, str]) -> None:
        self.work, self.live, self.arguments = work, work / "root", dict(arguments)
        self.stages: dict[str, Stage] = {}
        self.not_run: list[str] = []
        (work / "home").mkdir()
        shim = work / "shims" / "ldconfig"
        shim.parent.mkdir()
        shim.write_text("#!/bin/sh\n")
        shim.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if key.upper().startswith(KEPT)}
        path = f"{shim.parent}:{sys.base_prefix}/bin:/usr/bin:/bin"
        self.environment = {**kept, "PATH": path, "HOME": str(work / "home"), "TMPDIR": str(work)}
        self.blocks: list[tuple[str, str, list[tuple[str, str]]]] = []
        with (ROOT / "Dockerfile").open("rb") as file:
            for step in DockerfileParser(fileobj=file).structure:
                if step["instruction"] == "FROM":
                    base, _, name = step["value"].partition(" AS ")
                    self.blocks.append((name, base, []))
                elif step["instruction"] != "COMMENT" and self.blocks:
                    self.blocks[-1][2].append((step["instruction"], step["value"]))

    def below(self, text: str) -> str:
        """``text`` with the image's folders where they are here."""
        return FOLDERS.sub(f"{self.live}/", text)

    def build(self, target: str) -> Stage:
        """Every stage before the targets that was not built yet, then ``target``, left in the live folder."""
        for name, base, steps in self.blocks:
            if name in self.stages or (name in TARGETS and name != target):
                continue
            start = self.stages.get(base)
            self.restore(start)
            self.stage = Stage(
                self.work / "stages" / name,
                dict(start.environment if start else self.environment),
                start.workdir if start else "/build",
                dict(start.commands) if start else {},
            )
            if not start:
                self.not_run.append(f"{name}: FROM {base}")
            for instruction, value in steps:
                getattr(self, f"do_{instruction.lower()}")(value)
            link(self.live, self.stage.folder)
            self.stages[name] = self.stage
        return self.stages[target]

    def restore(self, stage: Stage | None) -> None:
        shutil.rmtree(self.live, ignore_errors=True)
        if stage:
            link(stage.folder, self.live)
        else:
            self.live.mkdir()

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """A command with the environment of the stage, in its working folder."""
        folder = Path(self.below(self.stage.workdir))
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**self.stage.environment, **self.arguments, **more}
        return subprocess.run(
            command, cwd=folder, env=environment, text=True, capture_output=True, check=False
        )

    def found(self, program: str) -> str:
        """The path of a program of the stage."""
        return shutil.which(program, path=self.stage.environment["PATH"]) or program

    def do_run(self, value: str) -> None:
        if value.split()[0] in SYSTEM_STEPS:
            self.not_run.append(f"{self.stage.folder.name}: RUN {value}")
            return
        start = time.monotonic()
        done = self.run(["sh", "-ec", self.below(value)], **self.stand_ins(value))
        print(f"{time.monotonic() - start:6.1f} s  {self.stage.folder.name}: RUN {value}")
        if done.returncode:
            raise SystemExit(
                f"exit code {done.returncode}: {value}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
            )

    def do_copy(self, value: str) -> None:
        *sources, target = [word for word in value.split() if not word.startswith("--")]
        origin = re.search(r"--from=(\w+)", value)
        if not FOLDERS.match(target) and target.startswith("/"):
            self.not_run.append(f"{self.stage.folder.name}: COPY {value}")
            return
        to = Path(self.below(str(Path(self.stage.workdir) / target)))
        for source in sources:
            here = ROOT / source
            if origin:
                built = self.stages[origin[1]].folder
                here = built / source.removeprefix("/")
            into = to / here.name if target.endswith("/") else to
            into.parent.mkdir(parents=True, exist_ok=True)
            if here.is_dir() and origin:
                link(here, into)
            elif here.is_dir():
                shutil.copytree(here, into, ignore=shutil.ignore_patterns("__pycache__", "*.nb[ic]"))
            else:
                shutil.copy2(here, into)

    def do_env(self, value: str) -> None:
        for name, text in (word.split("=", 1) for word in shlex.split(value)):
            filled = string.Template(text).safe_substitute(self.stage.environment)
            self.stage.environment[name] = self.below(filled)

    def do_arg(self, value: str) -> None:
        name, _, default = value.partition("=")
        self.arguments.setdefault(name, default.strip('"'))

    def do_workdir(self, value: str) -> None:
        self.stage.workdir = value

    def do_expose(self, value: str) -> None:
        self.stage.exposed = value

    def do_user(self, value: str) -> None:
        self.not_run.append(f"{self.stage.folder.name}: USER {value}")

    def do_entrypoint(self, value: str) -> None:
        self.stage.commands["entrypoint"] = json.loads(value)
        self.stage.commands["cmd"] = []

    def do_cmd(self, value: str) -> None:
        self.stage.commands["cmd"] = json.loads(value)

    def do_healthcheck(self, value: str) -> None:
        self.stage.commands["healthcheck"] = json.loads(value.partition(" CMD ")[2])

    def stand_ins(self, value: str) -> dict[str, str]:
        """The environment in which `models pull` fetches small files from loopback."""
        if "models pull" not in value:
            return {}
        return {
            "PYTHONPATH": str(self.work / "stand-ins"),
            "STAND_INS": self.work.joinpath("known.json").read_text(),
        }


def link(source: Path, target: Path) -> None:
    """A folder's files into another by hard links: what works on them replaces files, and changes none."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", f"{source}/.", str(target)], check=True)


@contextlib.contextmanager
def weights_server(work: Path) -> Iterator[None]:
    """Serves stand-ins for the weights, and writes their sizes, digests and addresses to ``known.json``."""
    served = work / "served"
    served.mkdir()
    handler = functools.partial(QuietHandler, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    known = {}
    for name in ("isnet-anime", "realesrgan-anime-6b"):
        data = hashlib.sha256(name.encode()).digest() * 2**20
        (served / f"{name}.bin").write_bytes(data)
        url = f"http://127.0.0.1:{server.server_port}/{name}.bin"
        known[name] = {"url": url, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (work / "known.json").write_text(json.dumps(known))
    (work / "stand-ins").mkdir()
    (work / "stand-ins" / "sitecustomize.py").write_text(STAND_INS)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Quiet."""
