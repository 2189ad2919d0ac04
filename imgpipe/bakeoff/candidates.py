"""Candidates of a bake-off, as they are written: ``MODEL[,KEY=VALUE ...]``, keys of the action's section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgpipe.config import Settings, changed_settings
from imgpipe.errors import ConfigError
from imgpipe.settings.given import read_value
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import steps

#: A comma before a key: values and file names may hold others.
_NEXT_KEY = re.compile(r",(?=[a-z_][a-z0-9_.]*=)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """``text``: as it was given; ``label``: shorter, with the file's name for its path; ``settings``: of the
    one action, with what the text sets."""

    text: str
    label: str
    settings: Settings


def candidates_of(texts: Sequence[str], action: str, settings: Settings) -> tuple[Candidate, ...]:
    """The candidates in the order given.

    Raises :class:`ConfigError` for none, for one given twice, for unknown keys and impossible values, and
    what the model's stage raises where its weights cannot be had: before any picture is read.
    """
    if not texts:
        raise ConfigError(
            "--model: expected one or more, as in --model isnet-anime --model net.onnx,contract=isnet"
        )
    if twice := {text for text in texts if texts.count(text) > 1}:
        raise ConfigError(f"--model: given twice: {', '.join(sorted(twice))}; name each once")
    short = [_label(text) for text in texts]
    labels = [one if short.count(one) == 1 else text for one, text in zip(short, texts, strict=True)]
    made = [
        Candidate(text, label, _settings_of(text, action, settings))
        for text, label in zip(texts, labels, strict=True)
    ]
    for candidate in made:
        _ = build_stage(steps(candidate.settings)[1], candidate.settings).fingerprint  # Finds the weights.
    return tuple(made)


def _label(text: str) -> str:
    model, *options = _NEXT_KEY.split(text)
    return ", ".join((Path(model).name or model, *options))


def _settings_of(text: str, action: str, settings: Settings) -> Settings:
    model, *options = _NEXT_KEY.split(text)
    pairs = [option.partition("=")[::2] for option in options]
    section = {"model": model, **{key: read_value(f"--model {key}", value) for key, value in pairs}}
    changes = {
        "actions": (action,),
        action: section,
        "review": {"enabled": False},
        "quality": {"diff": False},
    }
    try:
        return changed_settings(settings, changes)
    except ConfigError as exc:
        raise ConfigError(f"--model {text}: {exc}") from exc
