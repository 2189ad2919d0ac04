"""Which contract a file gets: by its digest, the setting or its metadata."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from imgpipe.config import dump_settings, load_settings
from imgpipe.errors import ConfigError, WeightsRefused
from imgpipe.inference.onnx_header import read_header
from imgpipe.inference.weights import REGISTRY, LocatedWeights, names_for
from imgpipe.matting.build import build_matter, contract_of, fingerprint
from imgpipe.settings import RembgSettings
from imgpipe.settings.contracts import CONTRACTS
from imgpipe_tests.matting.graphs import TINY, sigmoid_of, tiny, write_graph


def _settings(path: Path, **changes: object) -> RembgSettings:
    return RembgSettings.model_validate({"model": str(path), **changes})


def _graph(folder: Path, stated: str | None, name: str = "g.onnx") -> Path:
    return write_graph(folder / name, sigmoid_of(1, 1, 1), 32, stated=stated)


def test_every_registered_matting_model_has_a_contract_of_its_own_name() -> None:
    assert {REGISTRY[name].contract for name in names_for("matting")} == set(CONTRACTS) - {"modnet"}
    assert [contract.name for contract in CONTRACTS.values()] == list(CONTRACTS)


def test_a_file_that_says_nothing_is_refused_with_the_list(tmp_path: Path) -> None:
    settings = _settings(_graph(tmp_path, None))
    with pytest.raises(ConfigError, match="isnet-anime, isnet, u2net, birefnet, ben2, modnet, rmbg, or"):
        fingerprint(settings, tmp_path)
    with pytest.raises(ConfigError, match="isnet-anime, isnet, u2net, birefnet, ben2, modnet, rmbg, or"):
        build_matter(settings, model_dir=tmp_path, device="cpu")


def test_rembgs_way_needs_a_session_of_its(tmp_path: Path) -> None:
    path = _graph(tmp_path, json.dumps(TINY))
    with pytest.raises(ConfigError, match=r"isnet-anime, isnet, u2net, birefnet, ben2, rmbg\), got own"):
        fingerprint(_settings(path, preprocess="rembg"), tmp_path)


def test_a_file_may_state_it_and_the_setting_wins(tmp_path: Path) -> None:
    def of(path: Path, **changes: object) -> str:
        return contract_of(_settings(path, **changes), LocatedWeights("g", path, "0" * 64, None)).name

    assert of(_graph(tmp_path, "birefnet")) == "birefnet"
    assert of(_graph(tmp_path, json.dumps(TINY))) == "own"
    assert of(_graph(tmp_path, "birefnet"), contract="isnet") == "isnet"
    for wrong in ("birefnt", "{", '{"fit": "squash"}'):
        with pytest.raises(WeightsRefused, match="expected a contract in its metadata"):
            of(_graph(tmp_path, wrong))


def test_a_contract_that_contradicts_the_registry_is_refused(tmp_path: Path) -> None:
    known = LocatedWeights("u2net", tmp_path / "u.onnx", REGISTRY["u2net"].sha256, REGISTRY["u2net"])
    assert contract_of(_settings(known.path, contract="u2net"), known).name == "u2net"
    with pytest.raises(ConfigError, match="expected nothing or u2net for u2net, got isnet"):
        contract_of(_settings(known.path, contract="isnet"), known)


def test_the_fingerprint_follows_the_contract_and_the_row_has_it(tmp_path: Path) -> None:
    path = _graph(tmp_path, None)
    contracts = [dict(TINY), {**TINY, "scale": "maximum"}, {**TINY, "order": "BGR"}, {**TINY, "size": 32}]
    prints = {fingerprint(_settings(path, contract=one), tmp_path) for one in contracts}
    assert len(prints) == len(contracts)
    stated = _graph(tmp_path, json.dumps(TINY), "other.onnx")
    assert fingerprint(_settings(stated), tmp_path) == fingerprint(_settings(stated, contract=TINY), tmp_path)


def test_settings_with_a_contract_are_read_back(tmp_path: Path) -> None:
    for given, shown in (("isnet", "isnet"), (dict(TINY), {**tiny().model_dump(mode="json")})):
        settings = load_settings({"rembg.contract": given})
        (tmp_path / "again.yaml").write_text(dump_settings(settings))
        assert load_settings(config=tmp_path / "again.yaml").rembg == settings.rembg
        assert settings.rembg.model_dump(mode="json")["contract"] == shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("isnt", "did you mean 'isnet'"),
        ({**TINY, "fit": "crop"}, "rembg.contract.fit"),
        ({**TINY, "std": [1, 0, 1]}, r"rembg.contract.std.1: .* greater than 0"),
        ({"fit": "squash"}, r"rembg.contract.output: Field required"),
        ({**TINY, "siz": 9}, "rembg.contract.siz: unknown key; did you mean 'size'"),
        ({**TINY, "fit": "multiple"}, "the shorter side in px"),
    ],
)
def test_contracts_that_cannot_be(given: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings({"rembg.contract": given})


def test_the_header_finds_what_onnx_wrote(tmp_path: Path) -> None:
    model = onnx.load(_graph(tmp_path, "isnet"))
    branch = onnx.helper.make_graph([], "branch", [], [model.graph.output[0]], [model.graph.initializer[0]])
    condition = onnx.helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch)
    model.graph.node.append(condition)
    inner = model.graph.node[-1].attribute[0].g.initializer[0]
    onnx.external_data_helper.set_external_data(inner, "deep.bin")
    (tmp_path / "deep.onnx").write_bytes(model.SerializeToString())
    header = read_header(tmp_path / "deep.onnx")
    assert (header.outputs, header.metadata) == (["mask"], {"imgpipe.contract": "isnet"})
    assert header.external == {"deep.bin"}


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x3a\x05ab"]
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "g.onnx").write_bytes(data)
    with pytest.raises(WeightsRefused, match=r"g\.onnx: expected an ONNX network"):
        read_header(tmp_path / "g.onnx")
