"""A vision model as reviewer: Claude, asked through the SDK ``anthropic``.

The answer's form is fixed by a JSON Schema and checked again here: nothing in a picture can change it. What
cannot be read, and a refusal, is ``unreviewed``. The key is read from the environment alone and stands in no
message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
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
#: The first wait before another attempt, and the longest, seconds; an API that asks for more is given up.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
#: Answers of the API that a further attempt may change, beside those from 500 on.
_TRANSIENT = {408, 409, 429}
#: Answers that every further request would get too: the key or the model is at fault.
_HOPELESS = {401, 402, 403, 404}
#: Images given up one after the other until no more are asked about.
_GIVE_UP_AFTER = 5
_SAID = 300


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Box(_Answer):
    """Thousandths of the result's sides."""

    x: int = Field(ge=0, le=1000)
    y: int = Field(ge=0, le=1000)
    width: int = Field(ge=0, le=1000)
    height: int = Field(ge=0, le=1000)


class _Fault(_Answer):
    kind: Literal["extra_limb", "merged_features", "text_artifact", "changed_content", "other"]
    description: str = Field(max_length=1000)
    box: _Box | None


class Answer(_Answer):
    """What the model is made to answer."""

    verdict: Literal["pass", "fail"]
    issues: list[_Fault] = Field(max_length=50)
    reason: str = Field(min_length=1, max_length=2000)


class _Usage(BaseModel):
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)


class _Block(BaseModel):
    type: str
    text: str = ""


class _Message(BaseModel):
    """What is read of the API's answer."""

    stop_reason: str | None
    content: list[_Block]
    usage: _Usage


PROMPT = files("imgpipe.review").joinpath("prompt.md").read_text(encoding="utf-8")
PROMPT_VERSION = hashlib.sha256(
    (PROMPT + json.dumps(Answer.model_json_schema(), sort_keys=True)).encode()
).hexdigest()[:12]


class ClaudeReviewer:
    """``sleep``: waits that many seconds, and may end the wait by an exception."""

    paid = True

    def __init__(self, settings: ReviewSettings, spending: Spending, sleep: Callable[[float], None]) -> None:
        self._settings = settings
        self._spending = spending
        self._sleep = sleep
        self._preparing = threading.Lock()  # Decoded pictures are large: one image's at a time.
        self._given_up = 0
        self._hopeless = ""

    @property
    def concurrency(self) -> int:
        return self._settings.concurrency

    @property
    def identity(self) -> str:
        return f"claude/{self._settings.model}/{PROMPT_VERSION}/{self._settings.max_side}"

    def review(self, subject: Subject) -> Review:
        if self._hopeless:
            return self._unreviewed(subject, self._hopeless)
        try:
            with self._preparing:
                sent = [
                    _jpeg(one, self._settings.max_bytes) for one in subject.pictures(self._settings.max_side)
                ]
        except PER_IMAGE_ERRORS as exc:
            return self._unreviewed(subject, f"its pictures cannot be read: {exc}")
        highest = self._highest_usd([image for image, _ in sent])
        refused = self._spending.begin(highest)
        if refused:
            return self._unreviewed(subject, refused)
        review, cost = self._judged(subject, [data for _, data in sent], highest)
        self._spending.end(highest, cost)
        return review

    def _judged(self, subject: Subject, pictures: Sequence[bytes], highest: float) -> tuple[Review, float]:
        """The verdict, and what to book for it: the highest price where the API may have charged unseen."""
        import anthropic

        try:
            text = self._ask(pictures)
        except anthropic.APIStatusError as exc:
            self._note(exc)
            return self._unreviewed(subject, self._said(exc)), 0.0
        except (anthropic.AnthropicError, UnicodeError) as exc:
            self._note(exc)
            return self._unreviewed(subject, self._said(exc)), highest
        self._given_up = 0
        try:
            message = _Message.model_validate_json(text)
        except ValidationError as exc:
            return self._unreviewed(subject, f"the API's answer cannot be read: {_faults(exc)}"), highest
        review = self._verdict(subject, message)
        return review, review.cost_usd or 0.0

    def _ask(self, pictures: Sequence[bytes]) -> str:
        """The body of the API's answer; attempts are repeated as configured."""
        import anthropic

        client = _client(os.environ[KEY_VARIABLE].strip(), os.environ.get("ANTHROPIC_BASE_URL"))
        content: list[Any] = []
        for label, data in zip(("RESULT:", "SOURCE:"), pictures, strict=True):
            source = {"type": "base64", "media_type": "image/jpeg", "data": base64.b64encode(data).decode()}
            content += [{"type": "text", "text": label}, {"type": "image", "source": source}]
        attempt = 0
        while True:
            try:
                answer = client.messages.with_raw_response.create(
                    model=self._settings.model,
                    max_tokens=_MAX_TOKENS,
                    system=PROMPT,
                    messages=[{"role": "user", "content": content}],
                    output_config={
                        "format": {"type": "json_schema", "schema": anthropic.transform_schema(Answer)}
                    },
                    timeout=self._settings.timeout_seconds,
                )
                return answer.text()
            except (anthropic.APIStatusError, anthropic.APIConnectionError) as exc:
                wait = _wait_seconds(exc, attempt)
                if wait is None or attempt >= self._settings.retries:
                    raise
                self._sleep(wait)
                attempt += 1

    def _verdict(self, subject: Subject, message: _Message) -> Review:
        cost = self._price(message.usage.input_tokens, message.usage.output_tokens)
        facts: dict[str, Any] = {**message.usage.model_dump(), "cost_usd": cost}
        if message.stop_reason == "refusal":
            return self._unreviewed(subject, "the model refused to answer", settled=True, **facts)
        if message.stop_reason != "end_turn":
            return self._unreviewed(subject, f"the answer is incomplete: {message.stop_reason}", **facts)
        try:
            text = "".join(block.text for block in message.content if block.type == "text")
            answer = Answer.model_validate_json(text)
        except ValidationError as exc:
            return self._unreviewed(subject, f"the answer cannot be read: {_faults(exc)}", **facts)
        issues = tuple(
            Issue(kind=one.kind, description=one.description, box=_in_px(one.box, subject.size))
            for one in answer.issues
        )
        return self._review(subject, verdict=answer.verdict, reason=answer.reason, issues=issues, **facts)

    def _unreviewed(self, subject: Subject, reason: str, *, settled: bool = False, **facts: Any) -> Review:
        return self._review(subject, verdict="unreviewed", reason=reason, settled=settled, **facts)

    def _review(self, subject: Subject, **facts: Any) -> Review:
        return Review(
            reviewer="claude",
            key=subject.key,
            model=self._settings.model,
            prompt_version=PROMPT_VERSION,
            **facts,
        )

    def _note(self, exc: Exception) -> None:
        """Stop asking where the next images would fare no better."""
        self._given_up += 1
        if getattr(exc, "status_code", 0) in _HOPELESS:
            self._hopeless = self._said(exc)
        elif self._given_up >= _GIVE_UP_AFTER:
            self._hopeless = f"given up after {self._given_up} images in a row: {self._said(exc)}"

    def _said(self, exc: Exception) -> str:
        """The error in a few words. A server may repeat what it was sent: the key is taken out."""
        status = getattr(exc, "status_code", None)
        text = " ".join(str(exc).replace(os.environ[KEY_VARIABLE].strip(), "***").split())[:_SAID]
        cause = f"status {status}" if status is not None else type(exc).__name__
        return f"the API did not judge it ({cause}): {text}"

    def _price(self, input_tokens: int, output_tokens: int) -> float | None:
        prices = self._settings.prices.get(self._settings.model)
        return None if prices is None else (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6

    def _highest_usd(self, pictures: Sequence[Image]) -> float:
        px = sum(picture.width * picture.height for picture in pictures)
        text = len(PROMPT) + len(json.dumps(Answer.model_json_schema()))
        tokens = math.ceil(px / _PX_PER_TOKEN) + math.ceil(text / _CHARACTERS_PER_TOKEN)
        return self._price(tokens, _MAX_TOKENS) or 0.0


@lru_cache(maxsize=4)
def _client(key: str, base_url: str | None) -> anthropic.Anthropic:
    """Kept, so that its connections are."""
    import anthropic

    return anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=0)


def _wait_seconds(exc: anthropic.APIError, attempt: int) -> float | None:
    """How long to wait before the next attempt; ``None`` where another one is of no use."""
    status = getattr(exc, "status_code", None)
    if status is None:
        return _backoff(attempt)
    if status not in _TRANSIENT and status < 500:
        return None
    asked = getattr(exc, "response").headers.get("retry-after", "")  # noqa: B009
    try:
        seconds = float(asked)
    except ValueError:  # None was given, or a date.
        return _backoff(attempt)
    return max(seconds, 0.0) if seconds <= LONGEST_WAIT_SECONDS else None


def _backoff(attempt: int) -> float:
    return float(min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS))


def _jpeg(image: Image, max_bytes: int) -> tuple[Image, bytes]:
    """The picture as it is sent, reduced further until its file is small enough."""
    from imgpipe.images.encode import encode
    from imgpipe.pixels.resize import resize

    data = encode(image, format="JPEG", quality=90)
    while len(data) > max_bytes:
        image = resize(image, max(image.width * 3 // 4, 1), max(image.height * 3 // 4, 1), "area")
        data = encode(image, format="JPEG", quality=90)
    return image, data


def _in_px(box: _Box | None, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Thousandths -> px of the result, cut to the picture."""
    if box is None:
        return None
    left, top = (
        min(round(part * side / 1000), side - 1) for part, side in zip((box.x, box.y), size, strict=True)
    )
    width, height = (
        round(part * side / 1000) for part, side in zip((box.width, box.height), size, strict=True)
    )
    return left, top, max(1, min(width, size[0] - left)), max(1, min(height, size[1] - top))


def _faults(exc: ValidationError) -> str:
    """Where and why, without the text itself."""
    found = [f"{'.'.join(map(str, one['loc'])) or 'whole'}: {one['msg']}" for one in exc.errors()[:3]]
    return "; ".join(found)[:_SAID]
