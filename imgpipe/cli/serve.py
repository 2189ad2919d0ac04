"""``serve``: jobs over HTTP."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import typer

from imgpipe.cli.common import Assignments, ConfigFile, OutputUrl, dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.errors import ConfigError, PackagesMissing

TOKEN_NAME = "IMGPIPE_SERVE_TOKEN"  # noqa: S105
_TOKEN_CHARACTERS = 16
_SHUTDOWN_SECONDS = 5


@exits
def serve(
    output: OutputUrl = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any that is free.")] = 8080,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Jobs over HTTP: POST a picture to /jobs, follow it at /jobs/ID, fetch its files (docs/serving.md).

    Jobs are kept in the output, as the data set `jobs`, and survive a restart. Any other address than this
    machine's own needs a token of 16 characters or more in IMGPIPE_SERVE_TOKEN, which clients send as
    `Authorization: Bearer TOKEN`.
    """
    settings = dataset_settings({"output": output}, assignments, config)
    token = os.environ.get(TOKEN_NAME, "")
    try:
        import uvicorn

        from imgpipe.jobs.app import LOCAL_HOSTS, build_app
    except ModuleNotFoundError as exc:
        raise PackagesMissing(f"imgpipe serve: {exc}; install imgpipe[serve]") from exc
    from imgpipe.jobs.book import open_book
    from imgpipe.jobs.queue import JobQueue

    if token and len(token) < _TOKEN_CHARACTERS:
        raise ConfigError(f"{TOKEN_NAME}: expected {_TOKEN_CHARACTERS} characters or more, got {len(token)}")
    if not token and host not in LOCAL_HOSTS:
        raise ConfigError(
            f"--host {host}: others could reach it, which needs a token; set {TOKEN_NAME}, or listen on "
            f"{LOCAL_HOSTS[0]}"
        )
    if not settings.output:
        raise ConfigError("output: expected a folder or s3://bucket/prefix for the jobs; give --output URL")
    book = open_book(settings)
    listening = _listen(host, port)
    queue = JobQueue(book)
    app = build_app(book, queue, token)
    shown = f"[{host}]" if ":" in host else host
    out.print(f"jobs on http://{shown}:{listening.getsockname()[1]}, kept in {escape(settings.output)}")
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    )
    queue.on_fault = lambda: setattr(server, "should_exit", True)
    server.run(sockets=[listening])
    if queue.fault is not None:
        raise queue.fault


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as exc:
        raise ConfigError(f"--host {host} --port {port}: cannot listen there: {exc}; choose others") from exc
