"""Jobs over HTTP: the calls, what is refused and with which status, and who is let in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from imgpipe.config import Settings, load_settings
from imgpipe.jobs.app import build_app
from imgpipe.jobs.book import open_book
from imgpipe.jobs.queue import JobQueue
from imgpipe.jobs.request import told
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import open_store
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.jobs.pictures import CLASSICAL, alpha_sides, drawing, opened, text, with_alpha

HERE = "http://127.0.0.1"
TOKEN = "a token of some length"


@contextmanager
def serving(folder: Path | str, token: str = "", **settings: Any) -> Iterator[TestClient]:
    """The server within this process, its threads at work."""
    book = open_book(load_settings({"output": str(folder), **CLASSICAL, **settings}))
    with TestClient(build_app(book, JobQueue(book), token), HERE) as client:
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path / "out") as client:
        yield client


def finished(client: TestClient, posted: Any) -> dict[str, Any]:
    assert posted.status_code == 202, posted.text
    answer: dict[str, Any] = client.get(posted.headers["Location"], params={"wait": 60}).json()
    assert answer["state"] == "finished", answer
    return answer


def post(client: TestClient, data: bytes, actions: str = "upscale", **config: Any) -> Any:
    query = {"actions": actions, "config": json.dumps(config)}
    return client.post("/jobs", params=query, content=data, headers={"Content-Type": "image/png"})


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("actions", "config", "size", "kinds"),
    [
        ("rembg", {"alpha_matting": False}, (128, 112), ["matted"]),
        ("upscale", {"scale": 2}, (256, 224), ["upscaled"]),
        ("rembg,upscale", {"scale": 2, "alpha_matting": True}, (256, 224), ["matted", "upscaled"]),
        (
            "enhance",
            {"enhance.min_width": 100, "enhance.min_height": 200},
            (229, 200),
            ["source_enhanced", "segmentation_feed"],
        ),
        ("fix_artifacts", {"denoise": 0.5}, (128, 112), ["fixed"]),
    ],
)
def test_the_calls_that_people_make(
    client: TestClient,
    actions: str,
    config: Mapping[str, Any],
    size: tuple[int, int],
    kinds: list[str],
    as_json: bool,
) -> None:
    if as_json:
        body = {"image_base64": text(drawing()), "actions": actions.split(","), "config": config}
        posted = client.post("/jobs", json=body)
    else:
        posted = post(client, drawing(), actions, **config)
    answer = finished(client, posted)
    assert (answer["status"], answer["actions_applied"]) == ("ok", actions.split(","))
    assert answer["quality"]["dimensions_after"] == list(size)
    files = client.get(f"{posted.headers['Location']}/files").json()
    assert [file["kind"] for file in files] == ["source", *kinds, "quality.json", "diff.png"]
    contents = {file["kind"]: client.get(file["url"]) for file in files}
    assert contents["source"].content == drawing()
    assert opened(contents[kinds[0]].content).size == (
        size if len(kinds) == 1 or actions == "enhance" else (128, 112)
    )
    assert opened(contents[kinds[-1]].content).mode == ("RGBA" if "rembg" in actions else "RGB")
    assert contents["quality.json"].json() == answer["quality"]
    for content in contents.values():
        assert content.headers["X-Content-Type-Options"] == "nosniff"
        assert content.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("actions", ["rembg", "upscale", "rembg,upscale", "fix_artifacts"])
def test_alpha_survives(client: TestClient, actions: str) -> None:
    posted = post(client, with_alpha(), actions, scale=2, denoise=0.5)
    finished(client, posted)
    kind = {"rembg": "matted", "fix_artifacts": "fixed"}.get(actions, "upscaled")
    hidden, shown = alpha_sides(opened(client.get(f"{posted.headers['Location']}/files/{kind}.png").content))
    assert (hidden.max(), shown.max()) == (0, 255)


def test_alpha_survives_and_an_s3_object_is_taken(s3_url: str, s3: S3Settings, tmp_path: Path) -> None:
    open_store(s3_url, s3).write("raw/girl.png", with_alpha())
    with serving(f"{s3_url}/out") as client:
        posted = client.post("/jobs", json={"image_url": f"{s3_url}/raw/girl.png", "config": {"scale": 2}})
        finished(client, posted)
        picture = opened(client.get(f"{posted.headers['Location']}/files/upscaled.png").content)
        assert (picture.mode, picture.size, picture.getpixel((20, 20))[3]) == ("RGBA", (256, 224), 0)  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "query", "status", "said"),
    [
        (drawing(), {"actions": "magic"}, 400, "unknown action 'magic'"),
        (drawing(), {"config": "{"}, 400, "expected JSON"),
        (drawing(), {"config": '{"limits.max_bytes": 1}'}, 400, "not for a job to set"),
        (drawing(), {"config": "[1]"}, 400, "config: expected an object"),
        (drawing(), {"action": "rembg"}, 400, "unknown in the query: action; expected ?actions="),
        (b"", {}, 400, "got 0 bytes"),
        (b"<html>", {}, 400, "got an HTML page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20_000), {}, 413, "at most 10,000 bytes"),
    ],
)
def test_what_is_refused_is_named(
    data: bytes, query: dict[str, str], status: int, said: str, tmp_path: Path
) -> None:
    with serving(tmp_path / "out", "", **{"limits.max_bytes": 10_000}) as client:
        answer = client.post("/jobs", params=query, content=data, headers={"Content-Type": "image/png"})
        assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
        assert client.get("/jobs").json() == []


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"image_base64": text(drawing()), "actions": ["magic"]}, 400, "unknown action 'magic'"),
        ({"image_base64": ""}, 400, "got 0 bytes"),
        ({"image_base64": "no base64!"}, 400, "expected base64"),
        ({"image_base64": "A" * 140_000}, 413, "at most 100,000 bytes (limits.max_bytes), got about 105,000"),
        ({"image_base64": "A" * 400_000}, 413, "at most 100,000 bytes (limits.max_bytes), got about 400,0"),
        ({"image_base64": "A" * 206_000}, 413, "at most 100,000 bytes (limits.max_bytes), got about 206,0"),
        ({"image_url": "http://127.0.0.1/x.png"}, 400, "begins with s3://"),
        ({"image_base64": "AAAA", "config": {"\ud800": 1}}, 400, "config.\\ud800: not for a job to set"),
        ({"actions": "rembg"}, 400, "actions: expected a list"),
        ([], 400, "input: expected an object"),
        ({}, 400, "image_base64 or image_url"),
    ],
    ids=[
        *("magic", "empty", "text", "large", "larger", "more"),
        *("address", "key", "actions", "list", "nothing"),
    ],
)
def test_what_is_refused_in_json_is_named(
    asked: dict[str, Any] | list[Any], status: int, said: str, tmp_path: Path
) -> None:
    with serving(tmp_path / "out", "", **{"limits.max_bytes": 100_000}) as client:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/jobs", content=json.dumps(asked), headers=headers)
        assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
        assert client.get("/jobs").json() == []


def test_a_caller_learns_the_reason_and_the_log_the_paths(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of models that are missed when a job comes, and of those that turn out to be unusable."""
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "own.onnx").write_bytes(b"no network")
    with serving(tmp_path / "out", model_dir=str(folder)) as client:
        missing = post(client, drawing(), **{"upscale.model": "realesrgan-anime-6b"})
        assert missing.status_code == 400
        refused = finished(client, post(client, drawing(), **{"upscale.model": "own.onnx"}))
    for answer, reason in (
        (missing.json()["error"], "WeightsMissing: realesrgan-anime-6b: the weights file RealESRGAN"),
        (refused["error"], "WeightsRefused: own.onnx: "),
    ):
        assert reason in answer
        assert str(tmp_path) not in answer
        assert "my models" not in answer
    assert f"the weights file {folder}/" in caplog.text
    assert f"{folder}/own.onnx" in caplog.text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("cannot open /srv/models/x.onnx: gone", "cannot open x.onnx: gone"),
        ("got file:///var/lib/a/b.png (2 bytes)", "got b.png (2 bytes)"),
        (
            "expected 3/4 of image/png at s3://bucket/a/b.png",
            "expected 3/4 of image/png at s3://bucket/a/b.png",
        ),
    ],
)
def test_folders_that_nobody_configured_are_not_told_either(error: str, expected: str) -> None:
    assert told(error, Settings()) == expected


def test_a_damaged_picture_is_a_job_that_failed(client: TestClient) -> None:
    answer = finished(client, post(client, drawing()[:500]))
    assert (answer["status"], answer["error"].startswith("DecodeError: the picture:")) == ("error", True)


def test_texts_and_other_types_are_no_jobs(client: TestClient) -> None:
    assert client.post("/jobs", content=drawing(), headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/jobs", content=b"[", headers={"Content-Type": "application/json"}).status_code == 400
    assert client.get("/jobs/00000-00000000000000000000").status_code == 404
    assert client.get("/jobs/..%2f..%2fetc/files/passwd").status_code == 404
    query_with_json = client.post("/jobs", params={"actions": "rembg"}, json={"image_base64": "AAAA"})
    assert (query_with_json.status_code, "in the JSON" in query_with_json.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/jobs?limit=0", 422), ("GET", "/other", 404), ("PUT", "/jobs", 405)],
)
def test_all_errors_have_one_form(method: str, path: str, status: int, client: TestClient) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_names_of_types_and_schemes_have_no_case(tmp_path: Path) -> None:
    with serving(tmp_path / "out", TOKEN) as client:
        headers = {"Authorization": f"bearer {TOKEN}", "Content-Type": "Application/JSON; charset=utf-8"}
        answer = client.post("/jobs", content=b"{}", headers=headers)
    assert (answer.status_code, "image_base64 or image_url" in answer.json()["error"]) == (400, True)


def test_beyond_the_queue_a_client_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobQueue, "start", lambda self: None)  # nobody computes
    monkeypatch.setattr(JobQueue, "stop", lambda self: None)
    with serving(tmp_path / "out", "", **{"jobs.max_waiting": 2}) as client:
        answers = [post(client, drawing(), scale=2) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[-1].headers["Retry-After"] == "5"
        assert [job["state"] for job in client.get("/jobs").json()] == ["waiting"] * 2


def test_a_deleted_job_has_no_files(client: TestClient) -> None:
    posted = post(client, drawing(), scale=2)
    finished(client, posted)
    place = posted.headers["Location"]
    assert client.delete(place).json()["state"] == "deleted"
    assert client.get(place).json()["state"] == "deleted"
    assert client.get(f"{place}/files").json() == []
    assert client.get(f"{place}/files/upscaled.png").status_code == 404


def test_who_has_no_token_is_not_let_in(tmp_path: Path) -> None:
    with serving(tmp_path / "out", TOKEN) as client:
        assert client.get("/health").status_code == 200
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}):
            assert client.get("/jobs", headers=given).status_code == 401
            assert post(client, drawing()).status_code == 401
        assert client.get("/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).json() == []


def test_without_a_token_a_page_of_another_name_is_not_let_in(client: TestClient) -> None:
    assert client.get("/jobs", headers={"Host": "evil.example:8080"}).status_code == 403
    assert client.get("/jobs", headers={"Host": "[::1]:8080"}).status_code == 200


def test_it_is_described_without_foreign_scripts(client: TestClient) -> None:
    described = client.get("/docs").json()
    body = described["paths"]["/jobs"]["post"]["requestBody"]["content"]
    assert set(body) == {"image/*", "application/json"}
    assert "/jobs/{job_id}/files/{name}" in described["paths"]


@pytest.mark.parametrize(
    ("token", "said"), [("", "needs a token"), ("short", "expected 16 characters or more")]
)
def test_a_public_address_needs_a_token(
    token: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPIPE_SERVE_TOKEN", token)
    arguments = ["serve", "--output", str(tmp_path / "out"), "--host", "0.0.0.0"]  # noqa: S104
    code, text = imgpipe(*arguments)
    assert (code, said in " ".join(text.split())) == (2, True), text
    assert not (tmp_path / "out").exists()
