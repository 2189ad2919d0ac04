from __future__ import annotations

import json

import pytest

from imgpipe.report.payload import to_script_json


@pytest.mark.parametrize(
    "hostile",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "a & b",
        "]]>",
        "line\u2028end\u2029",
        "\\u003c",
        'q"\\',
    ],
)
def test_nothing_in_the_json_can_leave_its_element(hostile: str) -> None:
    text = to_script_json({hostile: [hostile]})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {hostile: [hostile]}


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_script_json(float("nan"))
