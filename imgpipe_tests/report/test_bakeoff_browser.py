"""The page of ``imgpipe compare`` in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imgpipe.report.bakeoff import render_bakeoff
from imgpipe_tests.report.bakeoffs import bakeoff
from imgpipe_tests.report.browser import Browser, missing_parts, open_browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_parts()), reason=f"not installed: {', '.join(missing_parts())}"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("bakeoff")
    path = folder / "page.html"
    path.write_text(render_bakeoff(bakeoff()), encoding="utf-8")
    with open_browser(folder) as browser:
        browser.open("about:blank")
        browser.requests()
        browser.open(path.as_uri())
        browser.wait("return document.documentElement.dataset.ready")
        yield browser


def _choose(page: Browser, select: str, option: str) -> None:
    page.run(
        "const s = document.getElementById(arguments[0]); s.selectedIndex = [...s.options].findIndex(o => "
        "o.text === arguments[1]); s.dispatchEvent(new Event('change'))",
        *(select, option),
    )


def _text(page: Browser, css: str) -> list[str]:
    return list(page.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", css))


def test_nothing_runs_that_a_name_holds_and_nothing_is_refused(page: Browser) -> None:
    assert page.run("return window.hacked ?? null") is None
    assert page.console() == []
    page.wait("return [...document.images].every(i => i.complete && i.naturalWidth)")
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert [url for url in asked if not url.endswith("/page.html")] == []


def test_any_two_are_put_under_the_slider(page: Browser) -> None:
    assert _text(page, "#left option") == ["source", "truth", "second", "最初", "third"]
    _choose(page, "left", "最初")
    _choose(page, "right", "third")
    assert _text(page, ".card:first-child .label") == ["最初", "third"]
    assert _text(page, ".card:nth-child(2) .upper") == ["third: DecodeError: <b>cut</b>"]
    page.drag(".card .compare .stage", 0.5, 0.2)
    assert (
        14
        <= float(
            page.run("return parseFloat(document.querySelector('.compare').style.getPropertyValue('--at'))")
        )
        <= 26
    )
    boxes = page.run(
        "return [...document.querySelectorAll('.card:first-child .stage figure')].map(i => {"
        "const b = i.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]})"
    )
    assert boxes[0] == pytest.approx(boxes[1], abs=0.5)


def test_the_ground_and_the_part_change_what_is_seen(page: Browser) -> None:
    _choose(page, "ground", "nothing: the matte itself")
    assert page.run("return getComputedStyle(document.querySelector('.upper .matte img')).filter") != "none"
    before = page.run("return document.querySelector('.upper img').src")
    _choose(page, "view", "where they differ most, 1:1")
    assert page.run("return document.querySelector('.upper img').src") != before


def test_candidates_are_sorted_by_a_heading(page: Browser) -> None:
    def names() -> list[str]:
        return [text.partition("onnx")[0] for text in _text(page, "#candidates tbody th")]

    assert names() == ["second", "最初", "third"]
    page.run(
        "[...document.querySelectorAll('#candidates thead button')].find(b => b.textContent === 's').click()"
    )
    assert names() == ["third", "最初", "second"]
    assert _text(page, "#candidates th[aria-sort=ascending]") == ["s"]


def test_every_control_has_a_name_and_a_narrow_window_does_not_scroll(page: Browser) -> None:
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select')].filter(e => !(e.textContent.trim() "
        "|| e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []
    page.devtools(
        "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False
    )
    width = page.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    page.devtools("Emulation.clearDeviceMetricsOverride")
    assert width[0] <= width[1]
