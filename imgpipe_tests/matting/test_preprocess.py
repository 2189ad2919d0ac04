import numpy as np
import pytest

from imgpipe.errors import ConfigError
from imgpipe.images.image import Image
from imgpipe.matting.preprocess import author_input, over_white, rembg_alpha, rembg_input
from imgpipe.settings.contracts import CONTRACTS, Contract


def _flat(colour: tuple[int, ...], dtype: type = np.uint8, height: int = 20, width: int = 40) -> Image:
    return Image(np.broadcast_to(np.array(colour, dtype), (height, width, len(colour))).copy())


def test_isnet_anime_gets_values_over_255_and_zero_padding() -> None:
    tensor, placement = author_input(_flat((51, 102, 204)), CONTRACTS["isnet-anime"], (64, 64))
    assert (placement.top, placement.inner_height) == (16, 32)
    np.testing.assert_allclose(tensor[:, 16:48], np.full((3, 32, 64), 0.2) * [[[1]], [[2]], [[4]]], atol=1e-5)
    np.testing.assert_array_equal(tensor[:, :16], 0)


def test_isnet_general_use_is_centred() -> None:
    tensor, _ = author_input(_flat((51, 102, 204)), CONTRACTS["isnet"], (64, 64))
    np.testing.assert_allclose(tensor[:, 0, 0], [-0.3, -0.1, 0.3], atol=1e-5)


def test_u2net_is_divided_by_its_maximum_and_standardised() -> None:
    tensor, _ = author_input(_flat((51, 102, 204)), CONTRACTS["u2net"], (64, 64))
    expected = (np.array([0.25, 0.5, 1.0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(tensor[:, 10, 10], expected, atol=1e-5)


def test_a_black_picture_is_finite() -> None:
    tensor, _ = author_input(_flat((0, 0, 0)), CONTRACTS["u2net"], (64, 64))
    assert np.isfinite(tensor).all()


def test_sixteen_bits_are_not_cut_to_eight() -> None:
    tensor, _ = author_input(_flat((1000, 1001, 1002), np.uint16), CONTRACTS["isnet-anime"], (64, 64))
    np.testing.assert_allclose(tensor[:, 32, 32] * 65535, [1000, 1001, 1002], atol=1e-2)


@pytest.mark.parametrize(("alpha", "expected"), [(0, 1.0), (255, 0.2), (51, 0.84)])
def test_alpha_is_composited_over_white(alpha: int, expected: float) -> None:
    np.testing.assert_allclose(over_white(_flat((51, 51, 51, alpha))), expected, atol=1e-6)
    np.testing.assert_allclose(over_white(_flat((51, alpha))), expected, atol=1e-6)


def test_a_constant_answer_has_no_stretch() -> None:
    assert rembg_alpha(np.full((8, 8), 0.3, np.float32), 16, 16) is None


def test_blue_comes_first_where_the_contract_says_so() -> None:
    values = {"fit": "squash", "mean": (0.1, 0.2, 0.3), "std": (1, 2, 4), "output": "logits", "order": "BGR"}
    tensor, _ = author_input(_flat((51, 102, 204)), Contract.model_validate(values), (16, 32))
    assert tensor.shape == (3, 16, 32)
    np.testing.assert_allclose(tensor[:, 3, 3], [(0.8 - 0.3) / 4, (0.4 - 0.2) / 2, 0.2 - 0.1], atol=1e-6)


def test_modnets_sides_are_multiples_of_32() -> None:
    # github.com/ZHKKKe/MODNet onnx/inference_onnx.py, get_scale_factor with ref_size 512
    for (height, width), fed in {
        (1000, 1500): (512, 768),
        (1500, 1000): (768, 512),
        (300, 400): (512, 672),
        (400, 2000): (384, 1984),
    }.items():
        tensor, placement = author_input(
            _flat((0, 0, 0), height=height, width=width), CONTRACTS["modnet"], None
        )
        assert tensor.shape == (3, *fed), (height, width)
        assert (placement.inner_height, placement.inner_width) == fed
        np.testing.assert_array_equal(tensor, -1.0)
        assert placement.note == ""


@pytest.mark.parametrize(
    ("size", "fed", "long_px"), [((1, 9), (448, 4096), 4608), ((65000, 300), (4096, 32), 65000)]
)
def test_an_input_that_follows_from_its_picture_has_a_longest_side(
    size: tuple[int, int], fed: tuple[int, int], long_px: int
) -> None:
    image = _flat((0, 0, 0), height=size[0], width=size[1])
    tensor, placement = author_input(image, CONTRACTS["modnet"], None)
    assert tensor.shape == (3, *fed)
    assert placement.note == f"the network's input would be {long_px} px long: reduced to 4096 px"


def test_a_contract_that_rembg_has_no_session_of_is_not_fed_its_way() -> None:
    with pytest.raises(ConfigError, match=r"got modnet; set rembg\.preprocess to author"):
        rembg_input(_flat((1, 2, 3)), CONTRACTS["modnet"], None)
