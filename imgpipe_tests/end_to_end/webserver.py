"""The real webserver and daemon in a process group of their own, asked through GraphQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgpipe_tests.jobs.client import Client

FINISHED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass
class Server:
    """``ask`` raises where GraphQL answers with errors: what it says is what the UI shows."""

    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        result = Client(self.url, None).json("/graphql", {"query": query, "variables": variables})
        assert "errors" not in result, result["errors"]
        data: dict[str, Any] = result["data"]
        return data

    def launch(self, partition: str, job: str = "shard_job") -> str:
        """Put one partition into the run queue; its run id."""
        repository = self.ask(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
        )["repositoriesOrError"]["nodes"][0]
        answer = self.ask(
            """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
            ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
            ... on RunConfigValidationInvalid { errors { message } } } }""",
            params={
                "selector": {
                    "repositoryName": repository["name"],
                    "repositoryLocationName": repository["location"]["name"],
                    "jobName": job,
                },
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
            },
        )["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def wait_for_run(self, run_id: str, seconds: float = 150) -> str:
        """The status in which it ended, or the one that it had when the time was over."""
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        until = time.monotonic() + seconds
        status = ""
        while time.monotonic() < until:
            status = self.ask(query, id=run_id)["runOrError"]["status"]
            if status in FINISHED:
                break
            time.sleep(0.2)
        return status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], port: int, home: Path, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server in a process group of its own, in ``folder``, ended with all its children."""
    log = home / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "DAGSTER_HOME": str(home),
                "NO_PROXY": "127.0.0.1,localhost",
                **(environment or {}),
            },
            start_new_session=True,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises AssertionError with the end of the log where it ended or did not answer for two minutes."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with opener.open(f"{url}/server_info", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"the UI did not start:\n{log.read_text(errors='replace')[-4000:]}")
