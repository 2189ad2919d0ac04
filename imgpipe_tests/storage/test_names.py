"""Names in every script, and nothing unsafe in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgpipe.names import dataset_name, is_dataset_name, is_file_name, readable_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("絵 (1)", "絵_1"),
        ("Кот и Пёс", "Кот_и_Пёс"),
        ("صورة", "صورة"),
        ("प्रतिमा", "प्रतिमा"),  # Vowel signs and virama are marks.
        ("ภาพที่", "ภาพที่"),
        ("か\u3099", "が"),
        ("é", "é"),
        ("ﾊﾝｶｸ", "ﾊﾝｶｸ"),  # Form KC would make other letters of it.
        ("葛\U000e0100", "葛"),  # An ideographic variation selector shows nothing by itself.
        ("a\u202egnp.exe", "a_gnp_exe"),
        ("a\u200db", "a_b"),
        ("a\u3164b", "a_b"),
        ("\u0301a", "a"),
        ("../../etc/passwd", "etc_passwd"),
        ("\x1b[31mred\x07", "31mred"),
        ("a😀b", "a_b"),
        ("\udc80a\ufffd", "a"),
        ("%2F?&#'\"`<>|:*\\", "2F"),
        ("--x--", "x"),
        ("", ""),
    ],
)
def test_what_is_kept(text: str, name: str) -> None:
    assert readable_name(text, 120, also="-") == name


def test_names_are_cut_between_characters() -> None:
    assert [readable_name("aé絵𠮷", size) for size in range(11)] == [
        *("", "a", "a", "aé", "aé", "aé", "aé絵", "aé絵", "aé絵", "aé絵", "aé絵𠮷"),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("アニメ", "アニメ"),
        ("Мои Рисунки", "мои_рисунки"),
        ("Café", "café"),
        ("Straße", "strasse"),
        ("İstanbul", "i\u0307stanbul"),
        ("my-Art", "my_art"),
        ("🎨", "dataset"),
        ("漢" * 80, "漢" * 63),
    ],
)
def test_names_of_data_sets(text: str, name: str) -> None:
    assert dataset_name(text) == name


@given(st.text(max_size=100))
def test_every_name_that_is_made_is_one(text: str) -> None:
    assert is_dataset_name(dataset_name(text))
    assert len(dataset_name(text).encode()) <= 252
    name = readable_name(text, 120, also="-")
    assert len(name.encode()) <= 120
    assert name == "" or is_file_name(name)
    assert readable_name(name, 120, also="-") == name
    assert unicodedata.is_normalized("NFC", name)
    # Two spellings of the same text are one name.
    assert readable_name(unicodedata.normalize("NFD", text), 500) == readable_name(text, 500)
