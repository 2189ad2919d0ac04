"""Every profile is read by its parsers: Dagster's, imgpipe's, and YAML's."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.config_schema import process_workspace_config

from imgpipe.assets.images import GPU_POOL
from imgpipe.automation.tags import run_tags
from imgpipe.config import load_settings

PROFILES = ("one-machine", "postgres", "kubernetes")
ADDRESS = {
    "DAGSTER_PG_HOST": "db.example",
    "DAGSTER_PG_PORT": "6543",
    "DAGSTER_PG_USER": "imgpipe",
    "DAGSTER_PG_PASSWORD": "p@ss/word",
    "DAGSTER_PG_DB": "runs",
}


def read(path: Path) -> dict[str, Any]:
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("profile", PROFILES)
def test_dagster_accepts_the_instance_file(profiles: Path, profile: str) -> None:
    config, custom = dagster_instance_config(str(profiles / profile))
    assert custom is None
    assert config["telemetry"]["enabled"] is False
    # Without it a run that was killed before it worked, or that was cancelled, can hold its place for ever.
    monitoring = config["run_monitoring"]
    assert monitoring["enabled"] is True
    assert 60 <= monitoring["start_timeout_seconds"] <= 900
    assert 60 <= monitoring["cancel_timeout_seconds"] <= 900
    assert 1 <= monitoring["poll_interval_seconds"] <= 60
    assert 1 <= monitoring["free_slots_after_run_end_seconds"] <= 60
    assert config["concurrency"]["pools"]["granularity"] == "op"
    assert config["concurrency"]["pools"]["default_limit"] >= 1
    assert config["concurrency"]["runs"]["max_concurrent_runs"] >= 2


@pytest.mark.parametrize("profile", ["postgres", "kubernetes"])
def test_backfills_leave_a_place_free(profiles: Path, profile: str) -> None:
    config, _ = dagster_instance_config(str(profiles / profile))
    runs = config["concurrency"]["runs"]
    (limit,) = runs["tag_concurrency_limits"]
    settings = load_settings({"source": "art", "output": "results"})
    assert run_tags(settings, trigger="backfill", why="missing")[limit["key"]] == limit["value"]
    assert 1 <= limit["limit"] < runs["max_concurrent_runs"]


@pytest.mark.parametrize("profile", ["postgres", "kubernetes"])
def test_a_run_that_failed_by_itself_is_not_run_again(profiles: Path, profile: str) -> None:
    config, _ = dagster_instance_config(str(profiles / profile))
    assert config["run_retries"] == {
        "enabled": True,
        "max_retries": 2,
        "retry_on_asset_or_op_failure": False,
    }


def test_the_one_machine_profile_is_the_installed_one(profiles: Path, tmp_path: Path) -> None:
    shipped = profiles.parent / "imgpipe" / "resources" / "dagster.yaml"
    ours = profiles / "one-machine" / "dagster.yaml"
    assert ours.read_bytes() == shipped.read_bytes()
    (tmp_path / "dagster.yaml").write_bytes(ours.read_bytes())
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_storage).__name__ == "SqliteRunStorage"
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


@pytest.mark.parametrize("profile", ["postgres", "kubernetes"])
def test_the_database_is_reached_through_psycopg2(
    profiles: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ADDRESS.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("dagster_postgres", reason="needs the extra `postgres`")
    from dagster_postgres import DagsterPostgresStorage
    from dagster_postgres.utils import pg_url_from_config

    config = read(profiles / profile / "dagster.yaml")["storage"]["postgres"]
    checked = process_config(resolve_to_config_type(DagsterPostgresStorage.config_type()), config)
    assert checked.success, checked.errors
    assert checked.value is not None
    assert pg_url_from_config(checked.value) == (
        "postgresql+psycopg2://imgpipe:p%40ss/word@db.example:6543/runs"
    )


def test_the_launcher_of_the_cluster_is_configured_as_it_asks(profiles: Path) -> None:
    if importlib.util.find_spec("dagster_k8s") is None:
        pytest.skip("dagster-k8s is not installed; needs the extra `kubernetes`")
    from dagster_k8s import K8sRunLauncher

    config = read(profiles / "kubernetes" / "dagster.yaml")["run_launcher"]["config"]
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config)
    assert checked.success, checked.errors


def test_runs_ask_for_a_gpu_and_find_its_node(profiles: Path) -> None:
    config = read(profiles / "kubernetes" / "dagster.yaml")
    pod = config["run_launcher"]["config"]["run_k8s_config"]
    resources = pod["container_config"]["resources"]
    gpus = resources["limits"]["nvidia.com/gpu"]
    assert gpus == resources["requests"]["nvidia.com/gpu"] == "1"
    # Requested and allowed are equal: no pod is killed because of its neighbours, and `workers: 0` of the
    # settings is by the cores that it has.
    assert resources["limits"] == resources["requests"]
    assert load_settings(config=profiles / "kubernetes" / "imgpipe.yaml").workers == 0
    assert pod["pod_spec_config"]["runtime_class_name"] == "nvidia"
    assert "nvidia.com/gpu.count" in str(pod["pod_spec_config"]["affinity"])
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["pod_spec_config"][
        "tolerations"
    ]
    # A pod that holds a GPU never waits for a slot of the pool.
    concurrency = config["concurrency"]
    assert GPU_POOL == "gpu"
    assert concurrency["pools"]["default_limit"] >= concurrency["runs"]["max_concurrent_runs"]


@pytest.mark.parametrize("profile", ["postgres", "kubernetes"])
def test_the_workspace_names_the_code_server(
    profiles: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_CODE_HOST", "127.0.0.1")
    checked = process_workspace_config(read(profiles / profile / "workspace.yaml"))
    assert checked.success, checked.errors
    server = read(profiles / profile / "workspace.yaml")["load_from"][0]["grpc_server"]
    assert server["port"] == 4000
    # The name that `imgpipe ui` gives by default: the states of sensors and schedules are stored under it.
    assert server["location_name"] == "imgpipe.definitions"


def test_the_cluster_s_settings_are_ours(profiles: Path) -> None:
    settings = load_settings(config=profiles / "kubernetes" / "imgpipe.yaml")
    assert settings.source.startswith("s3://")
    assert settings.device == "cuda"
    launcher = read(profiles / "kubernetes" / "dagster.yaml")["run_launcher"]["config"]
    mounts = {mount["name"]: mount["mountPath"] for mount in launcher["volume_mounts"]}
    assert str(settings.model_dir) == mounts["models"]


class Manifests:
    """All objects of the cluster's folder, and the maps that its kustomization makes."""

    def __init__(self, folder: Path) -> None:
        self.kustomization = read(folder / "kustomization.yaml")
        self.objects: list[dict[str, Any]] = [
            one
            for name in self.kustomization["resources"]
            for one in yaml.safe_load_all((folder / name).read_text(encoding="utf-8"))
        ]
        self.maps = {one["name"]: one for one in self.kustomization["configMapGenerator"]}
        self.files = {path.name for path in folder.iterdir()}

    def kind(self, kind: str) -> dict[str, dict[str, Any]]:
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] == kind}

    def environment(self) -> dict[str, str]:
        return dict(text.split("=", 1) for text in self.maps["imgpipe-environment"]["literals"])


@pytest.fixture
def manifests(profiles: Path) -> Manifests:
    return Manifests(profiles / "kubernetes")


def references(value: Any, key: str) -> Iterator[str]:
    """The names that stand under ``key`` anywhere in an object."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == key:
                yield inner["name"] if isinstance(inner, Mapping) and "name" in inner else str(inner)
            yield from references(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner, key)


def test_everything_that_is_named_is_there(manifests: Manifests, profiles: Path) -> None:
    launcher = read(profiles / "kubernetes" / "dagster.yaml")["run_launcher"]["config"]
    everything = [*manifests.objects, launcher]
    assert manifests.kustomization["generatorOptions"]["disableNameSuffixHash"] is True
    assert set(references(everything, "configMap")) <= set(manifests.maps)
    assert set(references(everything, "configMapRef")) <= set(manifests.maps)
    assert {launcher["instance_config_map"], *launcher["env_config_maps"]} <= set(manifests.maps)
    assert set(references(everything, "claimName")) <= set(manifests.kind("PersistentVolumeClaim"))
    accounts = {*references(everything, "serviceAccountName"), launcher["service_account_name"]}
    assert accounts == set(manifests.kind("ServiceAccount"))
    assert launcher["job_namespace"] == manifests.kustomization["namespace"]
    assert manifests.kustomization["namespace"] in manifests.kind("Namespace")
    secrets = {*references(everything, "secretRef"), *references(everything, "secretKeyRef")}
    said = (profiles / "README.md").read_text(encoding="utf-8")
    for secret in {*secrets, *launcher["env_secrets"], launcher["postgres_password_secret"]}:
        assert f"`{secret}`" in said, f"the README does not say that the secret {secret} is needed"
    for one in manifests.maps.values():
        assert set(one.get("files", [])) <= manifests.files


def test_every_volume_that_is_mounted_is_there(manifests: Manifests, profiles: Path) -> None:
    specs = [one["spec"]["template"]["spec"] for one in manifests.kind("Deployment").values()]
    launcher = read(profiles / "kubernetes" / "dagster.yaml")["run_launcher"]["config"]
    pairs = [(spec["volumes"], spec["containers"][0]["volumeMounts"]) for spec in specs]
    for volumes, mounts in [*pairs, (launcher["volumes"], launcher["volume_mounts"])]:
        assert {volume["name"] for volume in volumes} == {mount["name"] for mount in mounts}


def test_services_lead_to_their_deployments(manifests: Manifests, profiles: Path) -> None:
    deployments = manifests.kind("Deployment")
    assert set(deployments) == {"imgpipe-code", "imgpipe-webserver", "imgpipe-daemon"}
    for name, service in manifests.kind("Service").items():
        spec = deployments[name]["spec"]
        assert service["spec"]["selector"] == spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        port = service["spec"]["ports"][0]
        container = spec["template"]["spec"]["containers"][0]
        assert port.get("targetPort", port["port"]) == container["ports"][0]["containerPort"]
    server = read(profiles / "kubernetes" / "workspace.yaml")["load_from"][0]["grpc_server"]
    assert server["host"] in manifests.kind("Service")
    # Two daemons would start everything twice.
    assert deployments["imgpipe-daemon"]["spec"]["replicas"] == 1
    assert deployments["imgpipe-daemon"]["spec"]["strategy"] == {"type": "Recreate"}


def test_pods_get_the_environment_that_the_files_ask_for(manifests: Manifests, profiles: Path) -> None:
    asked = set(
        re.findall(r"env: (\w+)", (profiles / "kubernetes" / "dagster.yaml").read_text(encoding="utf-8"))
    )
    given = set(manifests.environment())
    for deployment in manifests.kind("Deployment").values():
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert asked <= given | {one["name"] for one in container["env"]}
    # The image of runs is the one that kustomize puts into the deployments.
    image = manifests.kustomization["images"][0]
    assert manifests.environment()["DAGSTER_CURRENT_IMAGE"] == f"{image['newName']}:{image['newTag']}"
    assert {
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in manifests.kind("Deployment").values()
    } == {image["name"]}


def test_instance_references_can_be_made(profiles: Path, tmp_path: Path) -> None:
    """The instance reference of a launched run is made from the file alone."""
    (tmp_path / "dagster.yaml").write_bytes((profiles / "postgres" / "dagster.yaml").read_bytes())
    ref = InstanceRef.from_dir(str(tmp_path))
    assert ref.run_coordinator_data is not None
    assert ref.run_coordinator_data.class_name == "QueuedRunCoordinator"
