"""The engine `ray` on clusters of this machine: its rows and files are the local engine's, whatever dies."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgpipe.config import Settings
from imgpipe.engines.shard import ShardResult, ignore_row, run_shard
from imgpipe.engines.stop import STOP, Stopped
from imgpipe.errors import ClusterUnavailable
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow
from imgpipe.settings import IsolationSettings, RaySettings, RembgSettings
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import open_stores
from imgpipe.storage.tables import read_table
from imgpipe_tests.end_to_end.webserver import free_port
from imgpipe_tests.engines.test_rounds import facts, pictures
from imgpipe_tests.matting.graphs import slow, write_graph

# Clusters listen on this machine only, which must be known before Ray is imported.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COUNT = 200
_NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "source"
    folder.mkdir()
    drawn = np.random.default_rng(0)
    for number in range(COUNT):
        picture = Image(drawn.integers(0, 256, (48, 48, 3), dtype=np.uint8))
        (folder / f"{number:03}.png").write_bytes(encode(picture))
    return folder


@pytest.fixture(scope="module")
def local(source: Path) -> Settings:
    """Matting by a network that takes some 60 ms for a picture."""
    network = write_graph(source.parent / "slow.onnx", slow(3), 256)
    return sealed(
        Settings(
            source=str(source),
            output=str(source.parent / "local"),
            dataset="art",
            actions=("rembg",),
            rembg=RembgSettings(model=str(network), alpha_matting=False),
            isolation=IsolationSettings(mode="none"),
        )
    )


@pytest.fixture
def settings(local: Settings, tmp_path: Path) -> Settings:
    cluster = RaySettings(chunk=8, num_cpus=1, runtime_env={})
    return sealed(local.model_copy(update={"output": str(tmp_path / "ray"), "engine": "ray", "ray": cluster}))


def sealed(settings: Settings, shard_size: int = 1000) -> Settings:
    stores = open_stores(settings)
    seal(plan(stores.source, stores.output, dataset="art", shard_size=shard_size), stores.output)
    return settings


@pytest.fixture(scope="module")
def expected(local: Settings) -> tuple[list[ImageRow], dict[str, str]]:
    """Rows and pictures of the local engine."""
    return facts(run(local)), pictures(local.output)


def run(
    settings: Settings, shard: str = "00000", on_row: Callable[..., None] = ignore_row
) -> list[ShardResult]:
    stores = open_stores(settings)
    return [
        run_shard(step, build_stage(step, settings), settings, stores, shard, on_row=on_row)
        for step in steps(settings)
    ]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes of one core each."""
    with headed() as made:
        for _ in range(2):
            made.add_node(**_NODE)
        yield made


@contextmanager
def headed(cores: int = 1) -> Iterator[Any]:
    """A cluster of one node."""
    from ray.cluster_utils import Cluster

    head = {**_NODE, "num_cpus": cores, "include_dashboard": False}
    made: Any = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


def on(cluster: Any, settings: Settings, **given: Any) -> Settings:
    at = settings.ray.model_copy(update={"address": cluster.address, **given})
    return settings.model_copy(update={"ray": at})


def after(count: int, act: Callable[[], object]) -> Callable[..., None]:
    """A listener that acts once, when so many mattes were computed."""
    heard = []

    def listen(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
        if asset == "matted_images" and computed:
            heard.append(row)
            if len(heard) == count:
                act()

    return listen


def test_a_node_killed_in_the_middle_changes_nothing(
    cluster: Any,
    settings: Settings,
    expected: tuple[list[ImageRow], dict[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = next(iter(cluster.worker_nodes))
    kill = after(1, lambda: cluster.remove_node(node, allow_graceful=False))
    with caplog.at_level(logging.INFO, "imgpipe.engines"):
        results = run(on(cluster, settings), on_row=kill)
    assert "up to 3 workers" in caplog.text
    assert "workers were lost with" in caplog.text
    assert [result.counts["n"] for result in results] == [COUNT] * 3
    rows, files = expected
    assert facts(results) == rows
    assert pictures(settings.output) == files


def test_nodes_that_come_later_are_worked_on(
    settings: Settings,
    expected: tuple[list[ImageRow], dict[str, str]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an autoscaler brings them: none is there at first, one is taken away at work, another one joins."""
    monkeypatch.setattr("imgpipe.engines.ray_pool._TOLD_SECONDS", 0.5)
    with headed(0) as cluster, caplog.at_level(logging.INFO, "imgpipe.engines"):

        def replace() -> None:
            cluster.remove_node(first.pop(), allow_graceful=False)
            cluster.add_node(**_NODE)

        first: list[Any] = []
        at = Awaited("up to 2 workers", lambda: first.append(cluster.add_node(**_NODE)))
        caplog.handler.addFilter(at)
        try:
            results = run(on(cluster, settings, max_workers=2), on_row=after(1, replace))
        finally:
            caplog.handler.removeFilter(at)
    assert "up to 2 workers with 1 cores each, on a cluster of 1 nodes" in caplog.text
    assert f"raw_images 00000: 0 of {COUNT} images are done" in caplog.text
    assert "workers were lost with" in caplog.text
    rows, files = expected
    assert facts(results) == rows
    assert pictures(settings.output) == files


@pytest.fixture
def autoscaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a head without cores, whose autoscaler starts nodes of one core on this machine. It asks for
    Ray's token, as `ray start` does by itself."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    address = f"127.0.0.1:{free_port()}"
    config, log = tmp_path / "autoscaling.json", tmp_path / "head.log"
    config.write_text(json.dumps(_autoscaling(address)))
    with log.open("wb") as file:
        head = subprocess.Popen(
            [
                *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head"),
                *("--port", address.rpartition(":")[2], "--num-cpus", "0", "--include-dashboard", "false"),
                *("--object-store-memory", str(_NODE["object_store_memory"])),
                *("--autoscaling-config", str(config), "--block"),
            ],
            env={**os.environ, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while "--block" not in log.read_text():
            assert head.poll() is None, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        head.terminate()
        head.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)  # The nodes' log monitors end with nobody.


def _autoscaling(address: str) -> dict[str, Any]:
    """What Ray's provider of nodes on this machine is told; most fields are there since they must be."""
    commands = ["initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"]
    lists = [*(f"{name}_commands" for name in commands), "cluster_synced_files", "rsync_exclude"]
    node = {"CPU": 1, "object_store_memory": _NODE["object_store_memory"]}
    return {
        "cluster_name": "nodes of one core",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "one_core": {"resources": node, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        **{name: [] for name in [*lists, "rsync_filter"]},
        **{name: {} for name in ("auth", "docker", "file_mounts")},
    }


def test_an_autoscaler_brings_the_nodes(
    autoscaled: str,
    settings: Settings,
    expected: tuple[list[ImageRow], dict[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = settings.ray.model_copy(update={"address": autoscaled, "max_workers": 2})
    with caplog.at_level(logging.INFO, "imgpipe.engines"):
        results = run(settings.model_copy(update={"ray": at}))
    assert "up to 2 workers with 1 cores each, on a cluster of 1 nodes" in caplog.text
    rows, files = expected
    assert facts(results) == rows
    assert pictures(settings.output) == files


class Awaited(logging.Filter):
    """Acts once, at the first line that holds a text."""

    def __init__(self, text: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._text, self._act = text, [act]

    def filter(self, record: logging.LogRecord) -> bool:
        if self._act and self._text in record.getMessage():
            self._act.pop()()
        return True


@pytest.fixture
def bare_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose only node with a core has another Python: with Ray and all packages but imgpipe."""
    python = bare_python(tmp_path)
    with headed(0) as cluster:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", python)  # What Ray starts a node's workers with.
            cluster.add_node(**_NODE)
        yield cluster


def bare_python(folder: Path) -> str:
    """The packages of this one, but imgpipe only as it is sent to a node: a worker also looks in folders of
    the driver, which on another machine are not there."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "python")], check=True)
    (site,) = (folder / "python").glob("lib/python*/site-packages")
    for path in Path(ray.__file__).parents[1].iterdir():
        if not path.name.startswith("imgpipe") and path.suffix != ".pth":
            (site / path.name).symlink_to(path)
    (site / "sitecustomize.py").write_text(_SENT_ONLY)
    python = str(folder / "python" / "bin" / "python")
    found = subprocess.run([python, "-c", "import ray, imgpipe"], capture_output=True, text=True, check=False)
    assert found.stderr.endswith("No module named 'imgpipe'\n"), found.stderr
    return python


_SENT_ONLY = """
import sys
from importlib.machinery import PathFinder

class Sent:
    def find_spec(self, name, path=None, target=None):
        if name != "imgpipe":
            return None
        found = PathFinder.find_spec(name, [folder for folder in sys.path if "py_modules" in folder])
        if found is None:
            raise ModuleNotFoundError("No module named 'imgpipe'", name=name)
        return found

sys.meta_path.insert(0, Sent())
"""


def test_code_is_sent_to_a_node_that_has_none(
    bare_node: Any, settings: Settings, expected: tuple[list[ImageRow], dict[str, str]]
) -> None:
    rows, files = expected
    assert facts(run(on(bare_node, settings, max_workers=1, runtime_env=None))) == rows
    assert pictures(settings.output) == files


def test_a_node_without_the_code_is_told(bare_node: Any, settings: Settings) -> None:
    with pytest.raises(ClusterUnavailable, match="No module named 'imgpipe'"):
        run(on(bare_node, settings, max_workers=1))


def test_two_shards_at_once(cluster: Any, settings: Settings, source: Path, tmp_path: Path) -> None:
    two = sealed(on(cluster, settings).model_copy(update={"output": str(tmp_path / "two")}), COUNT // 2)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda shard: run(two, shard), ("00000", "00001")))
    assert [[one.counts["n"] for one in results] for results in found] == [[COUNT // 2] * 3] * 2
    assert len(pictures(two.output)) >= COUNT


def test_two_runs_at_once_on_one_output(cluster: Any, settings: Settings, tmp_path: Path) -> None:
    both = [
        subprocess.Popen(
            command(
                settings,
                tmp_path / "two",
                **{"ray.address": cluster.address, "ray.num_cpus": "1", "shard_size": "50"},
            ),
            env={**os.environ, "DAGSTER_HOME": str(tmp_path / f"dagster {number}")},
        )
        for number in range(2)
    ]
    assert {process.wait(300) for process in both} <= {0, 1}
    output = open_stores(settings.model_copy(update={"output": str(tmp_path / "two")})).output
    for asset in (step.asset for step in steps(settings)):
        rows = [row for shard in range(4) for row in read_table(output, asset, "art", f"{shard:05}")[0]]
        assert [row.attempts for row in rows] == [1] * COUNT


def test_a_stop_keeps_what_is_done(cluster: Any, settings: Settings) -> None:
    there = on(cluster, settings)
    try:
        with pytest.raises(Stopped):
            run(there, on_row=after(30, STOP.request))
    finally:
        STOP.clear()
    matted = run(there)[1]
    assert matted.kept >= 30
    assert matted.computed == COUNT - matted.kept


def test_a_head_that_is_gone_fails_the_run_and_the_next_one_goes_on(
    cluster: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")  # A minute without it.
    with pytest.raises(ClusterUnavailable, match="its head has not answered"):
        run(on(cluster, settings), on_row=after(30, cluster.head_node.kill_gcs_server))
    alone = settings.ray.model_copy(update={"address": "local"})  # As if the head had been started again.
    matted = run(settings.model_copy(update={"ray": alone}))[1]
    assert matted.kept >= 30
    assert matted.counts["ok"] == COUNT


def test_no_cluster_at_the_address(settings: Settings) -> None:
    nowhere = settings.ray.model_copy(update={"address": "127.0.0.1:9"})
    with pytest.raises(ClusterUnavailable, match=r"ConnectionRefusedError.*check ray\.address"):
        run(settings.model_copy(update={"ray": nowhere}))


def test_the_command_ends_with_what_it_started_and_no_credential_is_written_down(
    settings: Settings, tmp_path: Path
) -> None:
    logs = Path(tempfile.mkdtemp(prefix="ray"))  # Its sockets have no long names.
    secret = "canary" * 5
    environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": secret, "RAY_TMPDIR": str(logs), "COLUMNS": "200"}
    ended = subprocess.run(
        command(settings, tmp_path / "output"),
        env={**environment, "DAGSTER_HOME": str(tmp_path / "dagster")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stderr
    assert f"{COUNT} images" in ended.stdout
    written = [path for path in logs.rglob("*") if path.is_file()]
    assert any("raylet" in path.name for path in written), written
    assert not [path for path in written if path.name in {"dashboard.log", "monitor.log", "log_monitor.log"}]
    assert len([path for path in written if path.match("worker-*.out")]) == 1  # For all steps, begun ahead.
    assert not [path for path in written if secret.encode() in path.read_bytes()]
    deadline = time.monotonic() + 20
    while any(str(logs).encode() in line for line in processes()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shutil.rmtree(logs)


def command(settings: Settings, output: Path, **given: str) -> list[str]:
    """A run of the classical mattes."""
    given = {"engine": "ray", "actions": "[rembg]", "rembg.model": "classical", "ray.chunk": "32", **given}
    return [
        *(sys.executable, "-m", "imgpipe", "run", "--source", settings.source, "--dataset", "art"),
        *("--output", str(output)),
        *(word for name, value in given.items() for word in ("--set", f"{name}={value}")),
    ]


def processes() -> list[bytes]:
    """Command lines and open files of what runs on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            opened = [bytes(file.readlink()) for file in path.with_name("fd").iterdir()]
            found.append(b"\n".join([path.read_bytes(), *opened]))
        except OSError:  # It has ended meanwhile.
            continue
    return found
