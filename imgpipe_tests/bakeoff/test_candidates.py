from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.bakeoff.candidates import candidates_of
from imgpipe.config import Settings
from imgpipe.errors import ConfigError, WeightsMissing
from imgpipe_tests.matting.graphs import weighted, write_graph


def _made(*texts: str, action: str = "rembg", settings: Settings | None = None) -> list[Settings]:
    return [one.settings for one in candidates_of(texts, action, settings or Settings())]


def test_a_text_sets_the_model_and_other_keys_of_the_action() -> None:
    base = Settings(rembg={"erode_size": 7}, actions=("upscale",))
    plain, off = _made("classical", "classical,alpha_matting=false,erode_size=1", settings=base)
    assert (plain.rembg.alpha_matting, plain.rembg.erode_size) == ("auto", 7)
    assert (off.rembg.alpha_matting, off.rembg.erode_size) == ("off", 1)
    assert plain.actions == off.actions == ("rembg",)


def test_each_file_has_its_own_contract_and_a_short_name(tmp_path: Path) -> None:
    files = [tmp_path / name / "網,1.onnx" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        write_graph(file, weighted(1, 0, 0), 64, stated=None)
    names = ["isnet", "u2net"]
    made = candidates_of([f"{files[0]},contract={name}" for name in names], "rembg", Settings())
    contracts = [one.settings.rembg.contract for one in made]
    assert [contract.name for contract in contracts if contract] == names
    assert [one.label for one in made] == [f"網,1.onnx, contract={name}" for name in names]
    same = candidates_of([f"{file},contract=isnet" for file in files], "rembg", Settings())
    assert [one.label for one in same] == [one.text for one in same]


@pytest.mark.parametrize(
    ("texts", "error", "said"),
    [
        ((), ConfigError, "expected one or more"),
        (("classical", "classical"), ConfigError, "given twice: classical"),
        (("classical,erode=1",), ConfigError, r"--model classical,erode=1: (.|\n)*rembg\.erode"),
        (("classical,erode_size=wide",), ConfigError, r"rembg\.erode_size"),
        (("isnet-amine",), ConfigError, "isnet-anime"),
        (("absent.onnx,contract=isnet",), WeightsMissing, r"absent\.onnx"),
    ],
)
def test_what_cannot_run_is_refused_before_any_picture_is_read(
    texts: tuple[str, ...], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        _made(*texts)
