import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.matting.models import MODELS
from imgpipe.matting.preprocess import author_input, over_white, rembg_alpha


def _flat(colour: tuple[int, ...], dtype: type = np.uint8, height: int = 20, width: int = 40) -> Image:
    return Image(np.broadcast_to(np.array(colour, dtype), (height, width, len(colour))).copy())


def test_isnet_anime_gets_values_over_255_and_zero_padding() -> None:
    tensor, placement = author_input(_flat((51, 102, 204)), MODELS["isnet-anime"].author, 64)
    assert (placement.top, placement.inner_height) == (16, 32)
    np.testing.assert_allclose(tensor[:, 16:48], np.full((3, 32, 64), 0.2) * [[[1]], [[2]], [[4]]], atol=1e-5)
    np.testing.assert_array_equal(tensor[:, :16], 0)


def test_isnet_general_use_is_centred() -> None:
    tensor, _ = author_input(_flat((51, 102, 204)), MODELS["isnet-general-use"].author, 64)
    np.testing.assert_allclose(tensor[:, 0, 0], [-0.3, -0.1, 0.3], atol=1e-5)


def test_u2net_is_divided_by_its_maximum_and_standardised() -> None:
    tensor, _ = author_input(_flat((51, 102, 204)), MODELS["u2net"].author, 64)
    expected = (np.array([0.25, 0.5, 1.0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(tensor[:, 10, 10], expected, atol=1e-5)


def test_a_black_picture_is_finite() -> None:
    tensor, _ = author_input(_flat((0, 0, 0)), MODELS["u2net"].author, 64)
    assert np.isfinite(tensor).all()


def test_sixteen_bits_are_not_cut_to_eight() -> None:
    tensor, _ = author_input(_flat((1000, 1001, 1002), np.uint16), MODELS["isnet-anime"].author, 64)
    np.testing.assert_allclose(tensor[:, 32, 32] * 65535, [1000, 1001, 1002], atol=1e-2)


@pytest.mark.parametrize(("alpha", "expected"), [(0, 1.0), (255, 0.2), (51, 0.84)])
def test_alpha_is_composited_over_white(alpha: int, expected: float) -> None:
    np.testing.assert_allclose(over_white(_flat((51, 51, 51, alpha))), expected, atol=1e-6)
    np.testing.assert_allclose(over_white(_flat((51, alpha))), expected, atol=1e-6)


def test_a_constant_answer_has_no_stretch() -> None:
    assert rembg_alpha(np.full((8, 8), 0.3, np.float32), 16, 16, clip=False) is None
