"""Jobs over HTTP beside `imgpipe run`: the same pictures and actions, in turns.

    python benchmarks/serving.py --quick            12 pictures of 96x96, 4 clients, one turn
    python benchmarks/serving.py                    200 pictures of 512x512, 16 clients, three turns

Each turn: `imgpipe serve` as a process of its own gets every picture from clients that post one, wait for its
end and post the next; then `imgpipe run` makes the same of the same files, as one shard. Both write the same
files and tables into a folder (Lanczos, twice the size, scored, with diff.png).

The server's time runs from the first request to the last answer, its start is left out. So is that of
`imgpipe run`: what the command takes on a single picture is subtracted; its whole time is given too. The
goal: the server's throughput is at most 15% below. Medians over the turns; latencies over all jobs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
import numpy as np
from overhead import _picture as picture

from imgpipe.images.encode import encode

TARGET_LOSS = 0.15
_SETTINGS = ("upscale.model=lanczos", "upscale.scale=2", "actions=[upscale]")
_OPTIONS = [part for setting in _SETTINGS for part in ("--set", setting)]
_HEADERS = {"Content-Type": "image/png"}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = _pictures(folder, options)
        start = _run(folder, folder / "one", "start")
        served, runs, latencies = [], [], []
        for turn in range(options.repeat):
            seconds, waited = _serve(folder / f"served{turn}", pictures, options.clients)
            served.append(seconds)
            latencies += waited
            runs.append(_run(folder, folder / "all", f"run{turn}"))
    results = _results(options, served, runs, start, latencies)
    _print(results)
    where = machine.slug(machine.cpu_name(), os.cpu_count(), "threads")
    machine.keep(results, "serving", where, options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="pictures")
    parser.add_argument("--size", type=int, default=512, help="edge of every picture, px")
    parser.add_argument("--clients", type=int, default=16, help="clients at the same time")
    parser.add_argument("--repeat", type=int, default=3, help="turns; the median counts")
    parser.add_argument("--quick", action="store_true", help="12 pictures of 96x96, 4 clients, one turn")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    if options.quick:
        options.count, options.size, options.clients, options.repeat = 12, 96, 4, 1
    return options


def _pictures(folder: Path, options: argparse.Namespace) -> list[bytes]:
    """The files; also written to ``all``, and the first of them to ``one``."""
    files = [encode(picture(options.size, number)) for number in range(options.count)]
    for name, chosen in (("all", files), ("one", files[:1])):
        (folder / name).mkdir()
        for number, data in enumerate(chosen):
            (folder / name / f"{number:04d}.png").write_bytes(data)
    return files


def _run(folder: Path, source: Path, name: str) -> float:
    """Seconds of the whole command."""
    command = [
        sys.executable,
        "-m",
        "imgpipe",
        "run",
        "--source",
        str(source),
        "--output",
        str(folder / name),
    ]
    environment = {**os.environ, "DAGSTER_HOME": str(folder / f"{name}-dagster")}
    begin = time.perf_counter()
    subprocess.run([*command, *_OPTIONS], check=True, capture_output=True, env=environment, cwd=folder)
    return time.perf_counter() - begin


def _serve(output: Path, pictures: list[bytes], clients: int) -> tuple[float, list[float]]:
    """Seconds for all pictures, and of each from its request to its answer."""
    todo: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    waited: list[float] = []
    with _server(output) as port:
        _ask(port, pictures[0])  # Decoder processes have started.
        for data in pictures:
            todo.put(data)
        threads = [threading.Thread(target=_client, args=(port, todo, waited)) for _ in range(clients)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
    assert len(waited) == len(pictures), "a client failed"
    return seconds, waited


@contextmanager
def _server(output: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "imgpipe", "serve", "--output", str(output), "--port", "0", *_OPTIONS]
    environment = {**os.environ, "COLUMNS": "300"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split(",")[0].rpartition(":")[2])
        finally:
            process.terminate()


def _client(port: int, todo: queue.SimpleQueue[bytes], waited: list[float]) -> None:
    while True:
        try:
            data = todo.get_nowait()
        except queue.Empty:
            return
        waited.append(_ask(port, data))


def _ask(port: int, data: bytes) -> float:
    """Seconds from a request to its job's end."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/jobs", data, _HEADERS)
    job = json.load(connection.getresponse())["job_id"]
    connection.request("GET", f"/jobs/{job}?wait=60")
    end = json.load(connection.getresponse())
    connection.close()
    assert end["status"] == "ok", end
    return time.perf_counter() - begin


def _results(
    options: argparse.Namespace,
    served: list[float],
    runs: list[float],
    start: float,
    latencies: list[float],
) -> dict[str, Any]:
    serving, whole = statistics.median(served), statistics.median(runs)
    loss = 1 - (whole - start) / serving
    p50, p95 = np.percentile(latencies, [50, 95])
    return {
        "machine": machine.describe(),
        "pictures": {"count": options.count, "size": f"{options.size}x{options.size}", "scale": 2},
        "clients": options.clients,
        "turns": {"serve_seconds": served, "run_seconds": runs},
        "images_per_second": {
            "serve": options.count / serving,
            "run": options.count / (whole - start),
            "run with its start": options.count / whole,
        },
        "run_start_seconds": start,
        "latency_seconds": {"p50": float(p50), "p95": float(p95)},
        "loss": loss,
        "target_loss": TARGET_LOSS,
        "fast_enough": loss <= TARGET_LOSS,
    }


def _print(results: dict[str, Any]) -> None:
    pictures = results["pictures"]
    print(f"{pictures['count']} pictures of {pictures['size']}, {results['clients']} clients")
    for name, value in results["images_per_second"].items():
        print(f"  {name:<24}{value:8.2f} images/s")
    latency = results["latency_seconds"]
    print(f"  latency: p50 {latency['p50']:.2f} s, p95 {latency['p95']:.2f} s")
    print(f"  {1 - results['loss']:.1%} of the throughput of the run (goal: at least {1 - TARGET_LOSS:.0%})")


if __name__ == "__main__":
    sys.exit(main())
