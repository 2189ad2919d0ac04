import pytest

from imgpipe.inference.weights import names_for
from imgpipe.matting.models import CUSTOM, MODELS, contract_for


def test_every_registered_matting_model_has_a_contract() -> None:
    assert set(MODELS) == set(names_for("matting"))


def test_an_unknown_file_gets_the_isnet_contract() -> None:
    assert contract_for("my-own") is CUSTOM
    assert CUSTOM.author == MODELS["isnet-anime"].author
    assert CUSTOM.size == 0


@pytest.mark.parametrize(
    ("name", "size", "fit", "mean"),
    [
        ("isnet-anime", 1024, "letterbox", 0.0),
        ("u2net", 320, "squash", 0.485),
        ("isnet-general-use", 1024, "squash", 0.5),
    ],
)
def test_contracts(name: str, size: int, fit: str, mean: float) -> None:
    model = contract_for(name)
    assert (model.size, model.author.fit, model.author.mean[0]) == (size, fit, mean)
