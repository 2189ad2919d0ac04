"""File names as parts of keys: exactly one key per name and back."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgpipe.errors import ObjectUnreadable
from imgpipe.storage.file_names import file_name, key_part

names = st.binary(min_size=1, max_size=40).filter(lambda raw: b"/" not in raw and b"\0" not in raw)


@given(names)
@example(b"\xff.png")
@example("\ufffdFF.png".encode())
@example("\ufffd".encode() + b"\xff")
def test_every_name_round_trips_through_utf8_text(raw: bytes) -> None:
    key = key_part(os.fsdecode(raw))
    key.encode("utf-8")  # what tables and JSON need
    assert os.fsencode(file_name(key)) == raw


@given(names, names)
def test_two_names_have_two_keys(one: bytes, other: bytes) -> None:
    assert (key_part(os.fsdecode(one)) == key_part(os.fsdecode(other))) == (one == other)


@given(st.text(min_size=1, max_size=20))
def test_text_is_either_a_name_or_refused(part: str) -> None:
    try:
        name = file_name(part)
    except ObjectUnreadable:
        return
    assert key_part(name) == part


def test_looks() -> None:
    assert key_part("絵 1.png") == "絵 1.png"
    assert key_part(os.fsdecode(b"caf\xe9.png")) == "caf\ufffdE9.png"


@pytest.mark.parametrize(
    "part", ["\ufffd2E\ufffd2E", "\ufffd2Fetc", "\ufffd00", "\ufffd", "\ufffdE3\ufffd81\ufffd82"]
)
def test_escapes_that_no_name_has_are_refused(part: str) -> None:
    with pytest.raises(ObjectUnreadable, match="expected"):
        file_name(part)


def test_surrogates_are_no_text() -> None:
    with pytest.raises(ObjectUnreadable, match="surrogates"):
        file_name("\udcff")
