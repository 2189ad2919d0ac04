"""Two masks of one picture: of the mirrored picture, and of a second network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from imgpipe.errors import ConfigError
from imgpipe.images.image import Image
from imgpipe.matting.agreement import Agreement, Box, agreement_of
from imgpipe.matting.build import build_matter
from imgpipe.matting.matte import Matte
from imgpipe.matting.onnx_model import OnnxMatter
from imgpipe.records import Status
from imgpipe.settings import RembgSettings
from imgpipe_tests.matting.graphs import Nodes, sigmoid_of, weighted, write_graph

SIZE = 64


def _matter(path: Path, **changes: object) -> OnnxMatter:
    settings = RembgSettings.model_validate({"model": str(path), "alpha_matting": False, **changes})
    matter = build_matter(settings, model_dir=path.parent, device="cpu")
    assert isinstance(matter, OnnxMatter)
    return matter


def _left_half() -> Nodes:
    """The picture's red in the left half of the input, 0 in the right one: it sees where things are."""
    kernel = np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1)
    half = np.zeros((1, 1, SIZE, SIZE), np.float32)
    half[..., : SIZE // 2] = 1
    made = [
        helper.make_node("Conv", ["img", "kernel"], ["red"]),
        helper.make_node("Mul", ["red", "half"], ["mask"]),
    ]
    return made, [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(half, "half")]


def _square(left: int) -> Image:
    """64x32 px: red 255 in 20 columns from ``left`` on."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, left : left + 20] = 255
    return Image(pixels)


def test_flips_average_the_answers_exactly(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.onnx", _left_half, SIZE)
    image = _square(20)
    matte = _matter(path, flips=True, agreement_minimum=0).matte(image)
    once = _matter(path).matte(image).alpha
    mirrored = Image(np.array(image.pixels[:, ::-1], np.uint8))
    other = _matter(path).matte(mirrored).alpha[:, ::-1]
    np.testing.assert_array_equal(matte.alpha, (once + other) / 2)
    assert set(np.unique(matte.alpha)) == {0.0, 0.5}
    assert matte.metrics["matte_flip_iou"] == 0
    assert matte.metrics["matte_flip_differing"] == 20 / 64


@pytest.mark.parametrize(
    ("preprocess", "contract", "side"), [("author", None, SIZE), ("rembg", "u2net", 320)]
)
def test_flips_change_nothing_where_the_network_does_not_care(
    tmp_path: Path, preprocess: str, contract: str | None, side: int
) -> None:
    path = write_graph(tmp_path / "g.onnx", sigmoid_of(9, -3, 1, -2), side)
    image = Image(np.random.default_rng(0).integers(0, 256, (41, 57, 3)).astype(np.uint8))
    given = {"preprocess": preprocess, "contract": contract}
    once, both = (_matter(path, flips=flips, **given).matte(image) for flips in (False, True))
    np.testing.assert_allclose(once.alpha, both.alpha, atol=1e-6)
    assert both.metrics["matte_flip_iou"] == 1
    assert both.status is once.status is Status.OK


def test_a_network_that_contradicts_itself_is_not_trusted(tmp_path: Path) -> None:
    matte = _matter(write_graph(tmp_path / "g.onnx", _left_half, SIZE), flips=True).matte(_square(20))
    assert matte.status is Status.REJECTED
    assert matte.reasons == (
        "the network's masks of the picture and of its mirror image overlap by IoU 0.00, at least 0.9 "
        "needed; they differ most in 20x32 px at x 20, y 0",
    )
    assert matte.details["flip"]["box"] == {"x": 20, "y": 0, "width": 20, "height": 32}


def _both(folder: Path, green: float, **changes: object) -> Matte:
    """Red beside red and ``green`` of the other half: two networks that see different things."""
    first = write_graph(folder / "first.onnx", weighted(1, 0, 0), SIZE)
    second = write_graph(folder / "second.onnx", weighted(1, green, 0), SIZE)
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 10:20, 0] = 255
    pixels[8:24, 40:44, 1] = 255
    return _matter(first, second_model=str(second), **changes).matte(Image(pixels))


def test_two_networks_that_agree(tmp_path: Path) -> None:
    matte = _both(tmp_path, 0.4)
    assert (matte.status, matte.reasons) == (Status.OK, ())
    assert matte.metrics["matte_second_iou"] == 1
    assert matte.details["second"]["box"] is None
    assert {"network", "second_network"} <= set(matte.seconds)


def test_two_networks_that_do_not(tmp_path: Path) -> None:
    matte = _both(tmp_path, 1.0)
    assert matte.status is Status.REJECTED
    assert matte.reasons == (
        "the masks of first and second overlap by IoU 0.83, at least 0.9 needed; "
        "they differ most in 4x16 px at x 40, y 8",
    )
    assert matte.alpha[:, 10:20].all()
    assert not matte.alpha[:, 30:].any()  # The first network's mask alone is cut out.
    assert matte.metrics["matte_second_differing"] == 64 / 2048
    second = matte.details["second"]
    assert (second["name"], second["contract"]["name"], second["licence"]) == ("second", "own", "unknown")
    assert len(second["sha256"]) == 64
    assert _both(tmp_path, 1.0, agreement_minimum=0.8).status is Status.OK


def test_a_second_network_without_a_subject_says_so(tmp_path: Path) -> None:
    first = write_graph(tmp_path / "first.onnx", weighted(1, 0, 0), SIZE)
    blind = write_graph(tmp_path / "blind.onnx", weighted(0.01, 0, 0), SIZE)
    matte = _matter(first, second_model=str(blind)).matte(_square(20))
    assert matte.status is Status.REJECTED
    assert matte.reasons[0].endswith("(blind finds no subject: network maximum 0.0100, at least 0.1 needed)")


def test_agreement_in_px_of_the_picture() -> None:
    one = np.zeros((10, 20), np.float32)
    other = one.copy()
    assert agreement_of(one, other, 100, 100) == Agreement(1.0, 0.0, None)
    other[2:4, 5:10] = 1
    other[8, 19] = 1
    one[2:4, 5:6] = 0.6
    found = agreement_of(one, other, 100, 100)
    assert found == Agreement(2 / 11, 9 / 200, Box(30, 20, 20, 20))
    one[8, 19] = 0.45  # farther apart than one half
    assert agreement_of(one, other, 100, 100).differing_share == 9 / 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "classical", "second_model": "u2net"}, "compares two networks"),
        ({"second_model": "classical"}, "`classical` is none"),
        ({"second_contract": "isnet"}, "no second_model"),
        ({"second_model": "u2net", "second_contract": "isnt"}, "did you mean 'isnet'"),
        ({"fill": "holes"}, "'off' or 'solid'"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, str], message: str) -> None:
    from imgpipe.config import load_settings

    with pytest.raises(ConfigError, match=message):
        load_settings({f"rembg.{key}": value for key, value in changes.items()})
