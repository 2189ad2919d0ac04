"""The configured matting backend, with its weights found and loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from imgpipe.errors import ConfigError, WeightsMissing, WeightsRefused
from imgpipe.inference.onnx_header import read_header
from imgpipe.inference.weights import LocatedWeights, locate
from imgpipe.matting.matte import Matter
from imgpipe.records import ModelUse
from imgpipe.settings import RembgSettings
from imgpipe.settings.contracts import CONTRACTS, Contract, named_contract, rembg_statistics

if TYPE_CHECKING:
    from imgpipe.matting.onnx_model import OnnxMatter, Step
    from imgpipe.matting.vitmatte import VitMatte

#: Increment when the same settings and model make other mattes.
CODE_VERSION = 6

#: The metadata property of an .onnx file that names its contract, or holds its values as JSON.
CONTRACT_PROPERTY = "imgpipe.contract"

#: The backend without weights, asked for by this name.
CLASSICAL = "classical"


def build_matter(settings: RembgSettings, *, model_dir: Path, device: str = "auto") -> Matter:
    """The backend that ``settings.model`` names, ready for :meth:`Matter.matte`.

    ``classical`` needs no weights; anything else is a registered name or the path of an .onnx file, which
    :func:`contract_of` must know.
    Where its weights are missing and ``settings.fallback`` is ``classical``, that backend is taken and
    ``model.fallback_reason`` says which model was asked for and why it is not used.

    Raises :class:`WeightsMissing` (with ``fallback: fail``), :class:`WeightsCorrupt`,
    :class:`WeightsRefused`, :class:`ModelMismatch`, :class:`ModelError` (CUDA asked for and not active),
    :class:`ConfigError` (an unknown name).
    """
    refiner = _refiner(settings, model_dir, device)
    if settings.model == CLASSICAL:
        return _classical(settings, "", refiner)
    try:
        located = locate(settings.model, "matting", model_dir)
    except WeightsMissing as exc:
        if settings.fallback != CLASSICAL:
            raise
        what = str(exc).partition(";")[0]  # What is wrong; what to do is for the error alone.
        return _classical(settings, f"{settings.model} was asked for and is not used: {what}", refiner)
    return _network(settings, located, model_dir, device, refiner)


def fingerprint(settings: RembgSettings, model_dir: Path) -> str:
    """sha256 (hex) over what the mattes depend on, except the sources; loads no network.

    Raises what :func:`build_matter` raises where the weights cannot be had.
    """
    refiner = ""
    if settings.alpha_matting == "vitmatte":
        refiner = locate(settings.vitmatte_model, "refining", model_dir).sha256
    if settings.model == CLASSICAL:
        return fingerprint_of(settings, CLASSICAL, "", refiner)
    try:
        located = locate(settings.model, "matting", model_dir)
    except WeightsMissing:
        if settings.fallback != CLASSICAL:
            raise
        return fingerprint_of(settings, CLASSICAL, "", refiner)
    backend = f"onnx:{contract_of(settings, located).model_dump_json()}"
    if settings.second is not None:
        second = locate(settings.second.model, "matting", model_dir)
        contract = contract_of(settings.second, second, "rembg.second_contract")
        backend += f" beside {second.sha256}:{contract.model_dump_json()}"
    return fingerprint_of(settings, backend, located.sha256, refiner)


def fingerprint_of(settings: RembgSettings, backend: str, sha256: str, refiner_sha256: str = "") -> str:
    """sha256 (hex) over what changes the mattes: settings, backend, weights, the refiner's weights, code."""
    others = {"model", "fallback", "contract", "second_model", "second_contract", "vitmatte_model"}
    chosen = settings.model_dump(mode="json", exclude=others)
    classical, fills = backend == CLASSICAL, backend != CLASSICAL and settings.fill == "solid"
    unused = {"preprocess", "subject_minimum", "flips"} if classical else {"confidence_minimum"}
    if not fills:
        unused.add("fill")
    if not settings.flips:
        unused.add("flips")
    if classical or not (settings.flips or settings.second):
        unused.add("agreement_minimum")
    if settings.alpha_matting == "off":
        unused |= {"erode_size", "guard_iou"}
        unused |= set() if fills else {"foreground_threshold", "background_threshold"}
    for name in unused:
        del chosen[name]
    if refiner_sha256:
        chosen["refiner"] = refiner_sha256
    text = json.dumps([CODE_VERSION, backend, sha256, chosen], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _refiner(settings: RembgSettings, model_dir: Path, device: str) -> VitMatte | None:
    if settings.alpha_matting != "vitmatte":
        return None
    from imgpipe.matting.vitmatte import VitMatte

    located = locate(settings.vitmatte_model, "refining", model_dir)
    facts = {"name": located.name, "sha256": located.sha256, "licence": located.licence}
    return VitMatte(located.path, device, facts)


def _classical(settings: RembgSettings, fallback_reason: str, refiner: VitMatte | None) -> Matter:
    from imgpipe.matting.classical import ClassicalMatter

    model = ModelUse(CLASSICAL, "opencv", precision="fp32", device="cpu", fallback_reason=fallback_reason)
    return ClassicalMatter(settings, model, refiner)


def _network(
    settings: RembgSettings, located: LocatedWeights, model_dir: Path, device: str, refiner: VitMatte | None
) -> Matter:
    from imgpipe.matting.fill import fill_solid
    from imgpipe.matting.second_opinion import SecondOpinion

    steps: dict[str, Step] = {}
    if settings.second is not None:
        key, other = "rembg.second_contract", locate(settings.second.model, "matting", model_dir)
        second = _matter(settings.second, other, contract_of(settings.second, other, key), device)
        steps["second_network"] = SecondOpinion(second, located.name, settings.agreement_minimum)
    if settings.fill == "solid":
        steps["fill"] = partial(fill_solid, settings=settings)
    return _matter(settings, located, contract_of(settings, located), device, refiner, steps)


def _matter(
    settings: RembgSettings,
    located: LocatedWeights,
    contract: Contract,
    device: str,
    refiner: VitMatte | None = None,
    steps: Mapping[str, Step] = MappingProxyType({}),
) -> OnnxMatter:
    from imgpipe.matting.onnx_model import OnnxMatter, OnnxNetwork

    network = OnnxNetwork(located.path, contract, device=device)
    model = ModelUse(located.name, network.runtime, located.sha256, "fp32", network.device)
    return OnnxMatter(network, settings, model, licence=located.licence, refiner=refiner, steps=steps)


def contract_of(settings: RembgSettings, located: LocatedWeights, key: str = "rembg.contract") -> Contract:
    """How this file is fed: by its digest, ``contract`` of the settings (which the user knows as ``key``) or
    its own metadata, in this order.

    Raises :class:`ConfigError` where none of them says it, the setting contradicts the digest, or rembg's way
    is asked for and it has none, and :class:`WeightsRefused` for metadata that is no contract and for a file
    that is no network.
    """
    contract = _contract(settings, located, key)
    if settings.preprocess == "rembg":
        rembg_statistics(contract)
    return contract


def _contract(settings: RembgSettings, located: LocatedWeights, key: str) -> Contract:
    given = settings.contract
    if located.weights is not None:
        known = located.weights.contract
        if given is not None and given != CONTRACTS[known]:
            raise ConfigError(
                f"{key}: expected nothing or {known} for {located.name}, got {given.name}; a contract is for "
                "a file in no registry"
            )
        return CONTRACTS[known]
    stated = read_header(located.path).metadata.get(CONTRACT_PROPERTY)
    if given is not None:
        return given
    if stated is None:
        raise ConfigError(
            f"{key}: {located.path} is not registered and says nothing about how it is fed; give its "
            f"contract: {', '.join(CONTRACTS)}, or its values (docs/matting.md)"
        )
    try:
        value = json.loads(stated) if stated.startswith("{") else stated
        return Contract.model_validate(named_contract(value))
    except ValueError as exc:
        raise WeightsRefused(
            f"{located.path}: expected a contract in its metadata {CONTRACT_PROPERTY}, got {stated[:99]!r} "
            f"({exc}); set {key} and save the file without it"
        ) from exc
