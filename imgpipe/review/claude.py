"""A vision model as reviewer: Claude, asked through the SDK ``anthropic``.

The answer's form is fixed by a JSON Schema and checked again here: nothing in a picture can change it. What
cannot be read, and a refusal, is ``unreviewed``. The key is read from the environment alone and stands in no
message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgpipe.errors import PER_IMAGE_ERRORS
from imgpipe.images.image import Image
from imgpipe.review.reviewers import Issue, Review, Subject
from imgpipe.review.spending import Spending
from imgpipe.settings import ReviewSettings

if TYPE_CHECKING:
    import anthropic

KEY_VARIABLE = "ANTHROPIC_API_KEY"
#: Of the answer, thinking included.
_MAX_TOKENS = 4096
#: Upper estimates, for the highest price of a request: px of a picture and characters of text per token.
_PX_PER_TOKEN, _CHARACTERS_PER_TOKEN = 500, 2
#: An API that asks for a longer wait is given up for this image, seconds.
_LONGEST_WAIT_SECONDS = 60.0
#: Answers that every further request would get too: the key or the model is at fault.
_HOPELESS = {401, 402, 403, 404}
#: Images given up one after the other until no more are asked about.
_GIVE_UP_AFTER = 5
#: Characters of an error that are told.
_SAID = 300
_Thousandth = Field(ge=0, le=1000)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Box(_Closed):
    """Thousandths of the result's sides."""

    x: int = _Thousandth
    y: int = _Thousandth
    width: int = _Thousandth
    height: int = _Thousandth


class _Fault(_Closed):
    kind: Literal["extra_limb", "merged_features", "text_artifact", "changed_content", "other"]
    description: str = Field(max_length=1000)
    box: _Box | None


class Answer(_Closed):
    """What the model is made to answer."""

    verdict: Literal["pass", "fail"]
    issues: list[_Fault] = Field(max_length=50)
    reason: str = Field(min_length=1, max_length=2000)


class _Block(BaseModel):
    type: str
    text: str = ""


class _Usage(BaseModel):
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)


class _Message(BaseModel):
    """What is read of the API's answer."""

    stop_reason: str | None
    content: list[_Block]
    usage: _Usage


PROMPT = files("imgpipe.review").joinpath("prompt.md").read_text(encoding="utf-8")
_FORM = json.dumps(Answer.model_json_schema(), sort_keys=True)
PROMPT_VERSION = hashlib.sha256((PROMPT + _FORM).encode()).hexdigest()[:12]


class ClaudeReviewer:
    """``check``: called before every request; its exception ends the review."""

    paid = True

    def __init__(self, settings: ReviewSettings, spending: Spending, check: Callable[[], None]) -> None:
        self._settings = settings
        self._spending = spending
        self._check = check
        self._preparing = threading.Lock()  # Decoded pictures are large: one image's at a time.
        self._given_up = 0
        self._hopeless = ""
        self.concurrency = settings.concurrency
        self.identity = f"claude/{settings.model}/{PROMPT_VERSION}/{settings.max_side}"

    def review(self, subject: Subject) -> Review:
        if self._hopeless:
            return self._review(subject, self._hopeless)
        try:
            with self._preparing:
                shown = subject.pictures(self._settings.max_side)
                sent = [_jpeg(picture, self._settings.max_bytes) for picture in shown]
        except PER_IMAGE_ERRORS as exc:
            return self._review(subject, f"its pictures cannot be read: {exc}")
        px = sum(picture.width * picture.height for picture in shown)
        tokens = px // _PX_PER_TOKEN + len(PROMPT + _FORM) // _CHARACTERS_PER_TOKEN
        highest = self._price(tokens, _MAX_TOKENS) or 0.0
        refused = self._spending.begin(highest)
        if refused:
            return self._review(subject, refused)
        review, cost = self._judged(subject, sent, highest)
        self._spending.end(highest, cost)
        return review

    def _judged(self, subject: Subject, pictures: Sequence[bytes], highest: float) -> tuple[Review, float]:
        """The verdict, and what to book for it: the highest price where the API may have charged unseen."""
        import anthropic

        try:
            text = self._ask(pictures)
        except anthropic.AnthropicError as exc:
            status = getattr(exc, "status_code", None)
            reason = self._note(exc, status)
            return self._review(subject, reason), highest if status is None else 0.0
        self._given_up = 0
        try:
            message = _Message.model_validate_json(text)
        except ValidationError as exc:
            return self._review(subject, f"the API's answer cannot be read: {_faults(exc)}"), highest
        review = self._verdict(subject, message)
        return review, review.cost_usd or 0.0

    def _ask(self, pictures: Sequence[bytes]) -> str:
        """The body of the API's answer. The SDK waits and tries again, as the API says or twice as long."""
        import anthropic

        content: list[Any] = []
        for label, data in zip(("RESULT:", "SOURCE:"), pictures, strict=True):
            source = {"type": "base64", "media_type": "image/jpeg", "data": base64.b64encode(data).decode()}
            content += [{"type": "text", "text": label}, {"type": "image", "source": source}]

        def bounded(request: Any, call_next: Callable[[Any], Any]) -> Any:
            self._check()
            response = call_next(request)
            if _seconds(response.headers.get("retry-after")) > _LONGEST_WAIT_SECONDS:
                response.headers["x-should-retry"] = "false"
            return response

        client = _client(os.environ[KEY_VARIABLE].strip(), os.environ.get("ANTHROPIC_BASE_URL"))
        asked = client.with_options(
            max_retries=self._settings.retries, timeout=self._settings.timeout_seconds, middleware=[bounded]
        )
        form = anthropic.transform_schema(Answer)
        return asked.messages.with_raw_response.create(
            model=self._settings.model,
            max_tokens=_MAX_TOKENS,
            system=PROMPT,
            messages=[{"role": "user", "content": content}],
            output_config={"format": {"type": "json_schema", "schema": form}},
        ).text()

    def _verdict(self, subject: Subject, message: _Message) -> Review:
        cost = self._price(message.usage.input_tokens, message.usage.output_tokens)
        facts: dict[str, Any] = {**message.usage.model_dump(), "cost_usd": cost}
        if message.stop_reason == "refusal":
            return self._review(subject, "the model refused to answer", settled=True, **facts)
        if message.stop_reason != "end_turn":
            return self._review(subject, f"the answer is incomplete: {message.stop_reason}", **facts)
        try:
            text = "".join(block.text for block in message.content if block.type == "text")
            answer = Answer.model_validate_json(text)
        except ValidationError as exc:
            return self._review(subject, f"the answer cannot be read: {_faults(exc)}", **facts)
        issues = tuple(
            Issue(kind=one.kind, description=one.description, box=_in_px(one.box, subject.size))
            for one in answer.issues
        )
        facts |= {"verdict": answer.verdict, "issues": issues, "settled": True}
        return self._review(subject, answer.reason, **facts)

    def _review(self, subject: Subject, reason: str, **facts: Any) -> Review:
        """Unreviewed and to be asked for again, unless ``facts`` say otherwise."""
        known = {"reviewer": "claude", "model": self._settings.model, "prompt_version": PROMPT_VERSION}
        open_verdict = {"verdict": "unreviewed", "settled": False}
        return Review.model_validate({**known, **open_verdict, "key": subject.key, "reason": reason, **facts})

    def _note(self, exc: Exception, status: int | None) -> str:
        """The error in a few words; the next images are not asked about where they would fare no better.

        A server may repeat what it was sent: the key is taken out.
        """
        text = " ".join(str(exc).replace(os.environ[KEY_VARIABLE].strip(), "***").split())[:_SAID]
        cause = type(exc).__name__ if status is None else f"status {status}"
        said = f"the API did not judge it ({cause}): {text}"
        self._given_up += 1
        if status in _HOPELESS:
            self._hopeless = said
        elif self._given_up >= _GIVE_UP_AFTER:
            self._hopeless = f"given up after {self._given_up} images in a row: {said}"
        return said

    def _price(self, input_tokens: int, output_tokens: int) -> float | None:
        prices = self._settings.prices.get(self._settings.model)
        return None if prices is None else (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6


@lru_cache(maxsize=4)
def _client(key: str, base_url: str | None) -> anthropic.Anthropic:
    """Kept, so that its connections are."""
    import anthropic

    return anthropic.Anthropic(api_key=key, base_url=base_url, open_telemetry=False)


def _seconds(retry_after: str | None) -> float:
    """0 where none was given, or a date."""
    try:
        return float(retry_after or 0)
    except ValueError:
        return 0.0


def _jpeg(image: Image, max_bytes: int) -> bytes:
    """The picture's file, reduced until it is small enough."""
    from imgpipe.images.encode import encode
    from imgpipe.pixels.resize import resize

    data = encode(image, format="JPEG", quality=90)
    while len(data) > max_bytes:
        image = resize(image, max(image.width * 3 // 4, 1), max(image.height * 3 // 4, 1), "area")
        data = encode(image, format="JPEG", quality=90)
    return data


def _in_px(box: _Box | None, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Thousandths -> px of the result, cut to the picture."""
    if box is None:
        return None
    width, height = size
    left, top = (min(box.x * width // 1000, width - 1), min(box.y * height // 1000, height - 1))
    right, bottom = ((box.x + box.width) * width // 1000, (box.y + box.height) * height // 1000)
    return left, top, max(1, min(right, width) - left), max(1, min(bottom, height) - top)


def _faults(exc: ValidationError) -> str:
    """Where and why, without the text itself."""
    found = [f"{'.'.join(map(str, one['loc'])) or 'whole'}: {one['msg']}" for one in exc.errors()[:3]]
    return "; ".join(found)[:_SAID]
