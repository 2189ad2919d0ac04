"""Real drawings through the real network, from a folder and from S3, scored a second time by scikit-image."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PillowImage
from skimage.metrics import structural_similarity

from imgpipe.records import ImageRow, Status
from imgpipe_tests.end_to_end.conftest import Workspace

Float = npt.NDArray[np.float64]
pytestmark = pytest.mark.shared


@pytest.fixture
def s3_workspace(s3_url: str, instance_home: Path) -> Workspace:
    return Workspace(f"{s3_url}/raw", f"{s3_url}/results", {})


def put(workspace: Workspace, name: str, data: bytes) -> None:
    if workspace.source.startswith("s3://"):
        workspace.stores.source.write(name, data)
    else:
        Path(workspace.source, name).write_bytes(data)


def network(shared: Path) -> str:
    path = shared / "models" / "realesr-animevideov3.safetensors"
    if not path.is_file():
        pytest.skip("the real network's weights are not in ../shared/models")
    return f"upscale.model={path}"


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(PillowImage.open(io.BytesIO(data)))


def over(image: npt.NDArray[np.uint8], background: float) -> tuple[Float, Float]:
    """Composite on a flat grey, 0..255, and the alpha, 0..1; written for this test alone."""
    if image.shape[2] == 3:
        return image.astype(np.float64), np.ones(image.shape[:2])
    alpha = image[..., 3:].astype(np.float64) / 255
    return image[..., :3] * alpha + background * (1 - alpha), alpha[..., 0]


def luma(rgb: Float) -> Float:
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]), np.float64)


def weighted_psnr(a: Float, b: Float, weight: Float) -> float:
    squares = (a - b) ** 2
    if squares.ndim == 3:
        squares = squares.mean(axis=2)
    return float(10 * np.log10(255**2 / (np.sum(squares * weight) / np.sum(weight))))


def weighted_ssim(a: Float, b: Float, weight: Float) -> float:
    axis = 2 if a.ndim == 3 else None
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, similarity = structural_similarity(a, b, channel_axis=axis, full=True, **settings)
    if similarity.ndim == 3:
        similarity = similarity.mean(axis=2)
    inner = (slice(5, -5), slice(5, -5))
    return float(np.sum(similarity[inner] * weight[inner]) / np.sum(weight[inner]))


def second_opinion(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> dict[str, float]:
    """PSNR and SSIM of the round trip: composited over black and white, the worse one, alpha-weighted."""
    size = (before.shape[1], before.shape[0])
    worst: dict[str, float] = {}
    for background in (0.0, 255.0):
        (a, wa), (b, wb) = over(before, background), over(after, background)
        b = np.asarray(cv2.resize(b, size, interpolation=cv2.INTER_AREA), np.float64)
        weight = np.maximum(wa, cv2.resize(wb, size, interpolation=cv2.INTER_AREA))
        found = {
            "psnr": weighted_psnr(a, b, weight),
            "psnr_y": weighted_psnr(luma(a), luma(b), weight),
            "ssim": weighted_ssim(a, b, weight),
            "ssim_y": weighted_ssim(luma(a), luma(b), weight),
        }
        worst = {name: min(value, worst.get(name, value)) for name, value in found.items()}
    return worst


def check_image(workspace: Workspace, source: bytes, upscaled: ImageRow, quality: ImageRow) -> None:
    output = workspace.stores.output
    before, after = pixels(source), pixels(output.read(upscaled.output_key))
    assert after.shape == (before.shape[0] * 4, before.shape[1] * 4, before.shape[2])
    if before.shape[2] == 4:
        back = cv2.resize(after[..., 3].astype(np.float32), before.shape[1::-1], interpolation=cv2.INTER_AREA)
        difference = np.abs(back - before[..., 3])
        assert difference.mean() < 1.0, difference.mean()
        assert (after[..., 3] == 255).any()
        assert (after[..., 3] == 0).any()
    truth = second_opinion(before, after)
    document = json.loads(output.read(quality.output_key))
    for name, value in truth.items():
        assert quality.metrics[name] == pytest.approx(value, abs=1e-4), (quality.source_key, name)
        assert document[name] == pytest.approx(value, abs=1e-4), (quality.source_key, name)
    assert document["dimensions_after"] == [after.shape[1], after.shape[0]]
    assert document["original_size_bytes"] == len(source)
    assert document["enhanced_size_bytes"] == len(output.read(upscaled.output_key))


SOME = ("anime-girl-1.isnet-anime.png", "anime-girl-1.jpg", "frame-048.png")


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("workspace", SOME),
        ("s3_workspace", SOME[:1]),  # The same code on another store: one picture is enough.
        pytest.param("workspace", (), marks=pytest.mark.slow),
    ],
    ids=["folder", "s3", "all"],
)
def test_real_images_end_to_end(
    place: str, names: tuple[str, ...], shared: Path, request: pytest.FixtureRequest
) -> None:
    """``names``: the files of data/anime; all of them where none is named."""
    workspace: Workspace = request.getfixturevalue(place)
    model = network(shared)
    folder = shared / "data" / "anime"
    files = {name: (folder / name).read_bytes() for name in names or [path.name for path in folder.iterdir()]}
    for name, data in files.items():
        put(workspace, name, data)
    code, text = workspace.cli("run", "--set", "actions=[upscale]", "--set", model)
    upscaled, quality = workspace.rows("upscaled_images"), workspace.rows()
    assert set(upscaled) == set(quality) == set(files)
    assert {row.status for row in quality.values()} == {Status.OK}, text
    assert code == 0, text
    for name, data in files.items():
        check_image(workspace, data, upscaled[name], quality[name])
        row = upscaled[name]
        assert row.model is not None
        assert row.model.sha256 == "14ddf81b6d21fca9cd03a70c2d05ed2c28681dc3432b8e2e391432f4435fa374"


def test_real_drawing_is_matted_upscaled_and_scored(workspace: Workspace, shared: Path) -> None:
    data = (shared / "data" / "anime" / "anime-girl-1.jpg").read_bytes()
    put(workspace, "girl.jpg", data)
    _, text = workspace.cli("run", "--set", "rembg.model=classical", "--set", network(shared))
    rows = {asset: workspace.rows(asset)["girl.jpg"] for asset in ("matted_images", "quality_reports")}
    matted = rows["matted_images"]
    cutout = pixels(workspace.stores.output.read(matted.output_key))
    assert cutout.shape == (601, 850, 4)
    source = pixels(data)
    opaque = cutout[..., 3] == 255
    assert opaque.any(), text
    assert np.array_equal(cutout[opaque][:, :3], source[opaque])
    if matted.status is Status.REJECTED:  # Said with a reason, and carried on to the last table.
        assert rows["quality_reports"].status is Status.REJECTED
        assert rows["quality_reports"].reasons == matted.reasons != ()
        return
    upscaled = workspace.rows("upscaled_images")["girl.jpg"]
    result = pixels(workspace.stores.output.read(upscaled.output_key))
    assert result.shape == (2404, 3400, 4)
    for name, value in second_opinion(cutout, result).items():
        assert rows["quality_reports"].metrics[name] == pytest.approx(value, abs=1e-4), name
