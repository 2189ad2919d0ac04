"""The bake-off: draw a sample, run the candidates, measure their results, and gather what the page shows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imgpipe.bakeoff import shown
from imgpipe.bakeoff.candidates import Candidate
from imgpipe.bakeoff.run import Input, Run, run_candidate
from imgpipe.bakeoff.sample import Sample, draw, truths_of
from imgpipe.config import Settings
from imgpipe.errors import PER_IMAGE_ERRORS, ConfigError
from imgpipe.images.decode import decode
from imgpipe.images.decoder import Decoder, source_decoder
from imgpipe.images.image import Image
from imgpipe.quality.truth import alpha_of, enlargement_truth, matte_truth
from imgpipe.report.bakeoff import Bakeoff, Entrant, Outcome, Shown, Subject
from imgpipe.settings import LimitSettings
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import ImageStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """``source``, ``truth``: folder or ``s3://…``; no truth: empty. ``limit``: pictures at most."""

    source: str
    action: str
    limit: int
    seed: int
    truth: str = ""


def compare(
    wanted: Wanted,
    candidates: Sequence[Candidate],
    settings: Settings,
    on_answer: Callable[[Candidate, Mapping[str, Any]], None],
) -> Bakeoff:
    """Everything that the page shows. Raises :class:`ConfigError` for a source or a truth without pictures,
    and StoreUnavailable; a candidate's errors are part of the result."""
    links = settings.intake.follow_links
    source = open_store(wanted.source, settings.s3, follow_links=links)
    truth = open_store(wanted.truth, settings.s3, follow_links=links) if wanted.truth else None
    inside = f"{source.url}/"
    without = (
        "" if truth is None or not truth.url.startswith(inside) else truth.url.removeprefix(inside) + "/"
    )
    sample = draw(source, wanted.limit, wanted.seed, max_bytes=settings.limits.max_bytes, without=without)
    truths = {} if truth is None else truths_of(truth, list(sample.files))
    with tempfile.TemporaryDirectory(prefix="imgpipe-compare-") as folder:
        pictures = _on_disk(sample, Path(folder))
        runs = []
        for number, candidate in enumerate(candidates):
            results = Path(folder, f"results-{number}")
            results.mkdir()
            runs.append(run_candidate(candidate, pictures, results, partial(on_answer, candidate)))
        look = _Look(wanted.action, settings, source_decoder(settings.isolation, settings.workers))
        subjects = []
        for place, key in enumerate(sample.files):
            right = None if truth is None or key not in truths else (truth, truths[key])
            subjects.append(look.at(place, key, sample.files[key], runs, right))
    return Bakeoff(
        action=wanted.action,
        source=source.url,
        truth="" if truth is None else truth.url,
        listed=sample.listed,
        seed=wanted.seed,
        left_out=sample.left_out,
        entrants=[
            Entrant(run.candidate.label, run.candidate.text, run.load_seconds, run.failed) for run in runs
        ],
        subjects=subjects,
        price_per_hour=settings.cost.price_per_hour,
        currency=settings.cost.currency,
    )


def _on_disk(sample: Sample, folder: Path) -> list[Input]:
    pictures = []
    for place, (key, data) in enumerate(sample.files.items()):
        pictures.append(Input(key, folder / f"source-{place}"))
        pictures[-1].file.write_bytes(data)
    return pictures


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks at one picture's results, one decoded at a time."""

    action: str
    settings: Settings
    decoder: Decoder

    def at(
        self,
        place: int,
        key: str,
        data: bytes,
        runs: Sequence[Run],
        truth: tuple[ImageStore, str] | None,
    ) -> Subject:
        limits = self.settings.limits
        notes: list[str] = []
        source = self._tried(lambda: self.decoder.decode(data, name=key, limits=limits), notes)
        right = None if truth is None else self._tried(lambda: self._true(*truth, limits), notes)
        outcomes = [self._outcome(run.answers[place], source, right) for run in runs]
        files = [run.answers[place].get("result") for run in runs]
        box = self._box(files)
        outcomes = [
            replace(outcome, shown=self._shown(self._result(file), box)) if file else outcome
            for outcome, file in zip(outcomes, files, strict=True)
        ]
        width, height = (0, 0) if source is None else (source.width, source.height)
        return Subject(
            name=key,
            width=width,
            height=height,
            part=(0, 0) if box is None else (box.width * width, box.height * height),
            source=self._shown(source, box),
            truth=self._shown(self._true_picture(source, right), box),
            notes=tuple(notes),
            outcomes=outcomes,
        )

    def _outcome(self, answer: Mapping[str, Any], source: Image | None, right: Image | None) -> Outcome:
        notes = list(answer.get("notes", ()))
        scores: Mapping[str, float | None] = {}
        if right is not None and answer.get("result"):
            try:
                scores = self._against(right, self._result(answer["result"]))
            except ConfigError as exc:
                notes.append(f"not measured against the truth: {exc}")
        model: Mapping[str, str] = answer.get("model") or {}
        return Outcome(
            status=answer["status"],
            why=answer.get("why", ""),
            notes=tuple(dict.fromkeys(notes)),
            model=" ".join(
                filter(None, (model.get(name, "") for name in ("backend", "precision", "device")))
            ),
            fallback=model.get("fallback_reason", ""),
            seconds=answer.get("seconds", {}),
            megapixels=0.0 if source is None else source.width * source.height / 1e6,
            peak_bytes=answer.get("peak_bytes"),
            scores=answer.get("metrics", {}),
            truth=scores,
        )

    def _against(self, right: Image, result: Image) -> dict[str, float | None]:
        if self.action == "rembg":
            return matte_truth(alpha_of(right, "the truth"), alpha_of(result, "the result"))
        return enlargement_truth(right, result)

    def _box(self, files: Sequence[Path | None]) -> shown.Box | None:
        """Where the results differ; where there is one alone, its middle."""
        seen: list[shown.Float] = []
        width = height = 0
        for file in filter(None, files):
            image = self._result(file)
            width, height = max(width, image.width), max(height, image.height)
            seen.append(shown.small(image, seen[0].shape[1::-1] if seen else None))
        return shown.most_different(seen, width, height) if seen else None

    def _shown(self, image: Image | None, box: shown.Box | None) -> Shown | None:
        if image is None:
            return None
        return Shown(shown.whole(image), "" if box is None else shown.part(image, box))

    def _true_picture(self, source: Image | None, right: Image | None) -> Image | None:
        """The truth as a picture: of a mask, the source with it as its alpha."""
        if right is None or self.action != "rembg" or right.has_alpha or source is None:
            return right
        if (right.width, right.height) != (source.width, source.height):
            return None
        alpha = np.rint(alpha_of(right, "the truth") * source.max_value).astype(source.pixels.dtype)
        return replace(source, pixels=np.dstack([source.colour, alpha]))

    def _result(self, file: Path) -> Image:
        return decode(file.read_bytes(), name=file.name, limits=self.settings.limits.for_own_files())

    def _true(self, store: ImageStore, key: str, limits: LimitSettings) -> Image:
        image = self.decoder.decode(store.read(key), name=store.uri(key), limits=limits.for_own_files())
        if self.action == "rembg":
            alpha_of(image, store.uri(key))
        return image

    @staticmethod
    def _tried(read: Callable[[], Image], notes: list[str]) -> Image | None:
        try:
            return read()
        except (*PER_IMAGE_ERRORS, ConfigError) as exc:
            notes.append(f"{type(exc).__name__}: {exc}")
            return None
