"""Runs the Dockerfile without a container engine: every Python step, then each target's processes.

    python scripts/check_image.py [--target serve] [--device cpu]

Stages are folders in a temporary one; absolute paths of the image lie below it. Steps of the system (packages
of the distribution, users) and the base images are not run; the last lines name them. Weights are stand-ins
from a server on loopback. Needs Linux, Python 3.11, a package index and 15 GB of disk. Exit code 1 where a
step or a process did not do what it should.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import yaml
from image_steps import ROOT, TARGETS, Builder, Stage, weights_server

COMPOSE = ROOT / "deploy" / "postgres" / "compose.yaml"
NO_WEIGHTS = {"IMGPIPE_REMBG__MODEL": "classical", "IMGPIPE_UPSCALE__MODEL": "lanczos"}
TOKEN = "a token of the check"  # noqa: S105


class Server:
    """A process of an image on a port of its own, ended with everything that it started."""

    def __init__(self, builder: Builder, command: list[str], ports: Mapping[str, int], **more: str) -> None:
        self.builder, self.ports = builder, ports
        self.log = builder.work / f"{command[0]}-{next(iter(ports.values()))}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.here(command),
                cwd=builder.live,
                env={**builder.stage.environment, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def here(self, command: list[str]) -> list[str]:
        """The command with its ports and folders as they are here, on loopback."""
        words = [self.builder.below(word).replace("0.0.0.0", "127.0.0.1") for word in command]  # noqa: S104
        for port, free in self.ports.items():
            words = [re.sub(rf"\b{port}\b", str(free), word) for word in words]
        return [self.builder.found(words[0]), *words[1:]]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            print(self.log.read_text()[-4000:])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            print(f"{self.log.name}: did not end within 30 s of SIGTERM; killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def ask(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body; waits at most two minutes until the port is listened on."""
        (port,) = list(self.ports.values())[:1]
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, names)
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                    return answer.status, answer.read()
            except urllib.error.HTTPError as exc:
                return exc.code, exc.read()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def healthy(self, command: list[str], more: Mapping[str, str], seconds: float = 0) -> int:
        """The exit code of a health check; tried again for ``seconds`` until it is 0."""
        start = time.monotonic()
        while True:
            done = self.builder.run(self.here(command), **more)
            took = time.monotonic() - start
            if done.returncode == 0 or took > seconds:
                print(f"{took:6.1f} s  exit code {done.returncode}: {' '.join(command)}")
                return done.returncode
            time.sleep(2)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def expect(what: str, got: object, wanted: object) -> None:
    print(f"         {what}: {got}")
    if got != wanted:
        raise SystemExit(f"{what}: expected {wanted}, got {got}")


def picture() -> bytes:
    """A PNG of 64x64 pixels."""
    import cv2
    import numpy as np

    flat = np.full((64, 64, 3), 240, np.uint8)
    cv2.circle(flat, (32, 32), 20, (40, 80, 200), -1, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", flat)[1])


def check_runpod(builder: Builder, stage: Stage) -> None:
    port = free_port()
    command = [
        *stage.commands["entrypoint"],
        "--rp_serve_api",
        "--rp_api_port",
        "8000",
        "--rp_api_host",
        "127.0.0.1",
    ]
    with Server(builder, command, {"8000": port}, **NO_WEIGHTS) as server:
        expect("the SDK's test server", server.ask("/docs")[0], 200)
        job = {"input": {"image_base64": base64.b64encode(picture()).decode(), "config": {"scale": 2}}}
        answer = json.loads(
            server.ask("/runsync", json.dumps(job).encode(), Content_Type="application/json")[1]
        )
        expect("a job", (answer["status"], "image_base64" in answer["output"]), ("COMPLETED", True))
        expect("health", server.healthy(stage.commands["healthcheck"], NO_WEIGHTS), 0)
        expect("health without weights", server.healthy(stage.commands["healthcheck"], {}), 1)


def check_serve(builder: Builder, stage: Stage) -> None:
    port = {stage.exposed: free_port()}
    health = stage.commands["healthcheck"]
    refused = builder.run([builder.found("imgpipe"), *stage.commands["entrypoint"][1:]])
    expect("without a token", (refused.returncode, "IMGPIPE_SERVE_TOKEN" in refused.stderr), (2, True))
    with Server(
        builder, stage.commands["entrypoint"], port, IMGPIPE_SERVE_TOKEN=TOKEN, **NO_WEIGHTS
    ) as server:
        expect("GET /health", server.ask("/health")[0], 200)
        expect(
            "POST /jobs without the token", server.ask("/jobs", picture(), Content_Type="image/png")[0], 401
        )
        key = f"Bearer {TOKEN}"
        status, body = server.ask("/jobs", picture(), Content_Type="image/png", Authorization=key)
        expect("POST /jobs", status, 202)
        job = json.loads(server.ask(f"/jobs/{json.loads(body)['job_id']}?wait=60", Authorization=key)[1])
        expect("the job", (job["state"], "error" in job), ("finished", False))
        before = sorted(Path(builder.below("/output")).rglob("*"))
        expect("health", server.healthy(health, {"IMGPIPE_SERVE_TOKEN": TOKEN, **NO_WEIGHTS}), 0)
        expect("files that it wrote", len(set(Path(builder.below("/output")).rglob("*")) - set(before)), 0)
    expect("health of a server that is gone", server.healthy(health, NO_WEIGHTS), 1)


def check_dagster(builder: Builder, stage: Stage) -> None:
    """The command of the image, then the services of the compose file on the image's own instance."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    home = Path(builder.below("/dagster"))
    for name in ("source", "out"):
        (home / name).mkdir()
    more = {**NO_WEIGHTS, "DAGSTER_CODE_HOST": "127.0.0.1", "IMGPIPE_SOURCE": str(home / "source")}
    more["IMGPIPE_OUTPUT"] = str(home / "out")
    with Server(builder, stage.commands["cmd"], {stage.exposed: free_port()}, **more) as server:
        expect("the image's own webserver", server.ask("/server_info")[0], 200)
    ports = {"3000": free_port(), "4000": free_port()}
    workspace = (COMPOSE.parent / "workspace.yaml").read_text().replace("4000", str(ports["4000"]))
    (home / "workspace.yaml").write_text(workspace)
    with contextlib.ExitStack() as running:
        for name in ("code", "webserver", "daemon"):
            server = running.enter_context(Server(builder, services[name]["command"], ports, **more))
            test = services[name]["healthcheck"]["test"][1:]
            expect(f"health of {name}", server.healthy(test, more, seconds=120), 0)
    expect("health of the image", server.healthy(stage.commands["healthcheck"], more), 0)
    (home / "source" / "disc.png").write_bytes(picture())
    expect("a run", builder.run([builder.found("imgpipe"), "run"], **more).returncode, 0)
    launched = builder.run([builder.found("dagster"), "api", "execute_run", "--help"])
    expect("what launchers call", launched.returncode, 0)


def check_weights(builder: Builder) -> None:
    """Stand-ins were pulled; spoilt ones are refused."""
    folder = builder.stages["built"].folder / "models"
    expect("weights", {path.stem for path in folder.iterdir()}, set(builder.arguments["WEIGHTS"].split()))
    builder.stage = builder.stages["built"]
    (command,) = [value for name, _, steps in builder.blocks if name == "built"
                  for kind, value in steps if kind == "RUN" and "models pull" in value]  # fmt: skip
    for path in (builder.work / "served").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    builder.restore(builder.stages["built"])
    shutil.rmtree(builder.live / "models")
    spoiled = builder.run(["sh", "-ec", builder.below(command)], **builder.stand_ins(command))
    expect(
        "a step that gets other bytes",
        (spoiled.returncode, list((builder.live / "models").glob("*.bin"))),
        (2, []),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all three")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu", help="the build argument DEVICE")
    arguments = parser.parse_args()
    checks = {"runpod": check_runpod, "serve": check_serve, "dagster": check_dagster}
    with tempfile.TemporaryDirectory(prefix="imgpipe-image-") as folder, weights_server(Path(folder)):
        builder = Builder(Path(folder), {"DEVICE": arguments.device})
        for target in arguments.target or TARGETS:
            stage = builder.build(target)
            # The stand-ins are no networks: the processes run without weights.
            for path in (builder.live / "models").iterdir():
                path.unlink()
            checks[target](builder, stage)
            print(f"{target}: ok")
        check_weights(builder)
        print("not run here:", *builder.not_run, sep="\n  ")


if __name__ == "__main__":
    main()
