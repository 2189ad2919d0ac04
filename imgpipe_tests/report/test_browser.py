"""The page as a person uses it: opened, clicked through and listened to in headless Chromium."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

from imgpipe.records import ImageRow, Status
from imgpipe.storage import keys
from imgpipe_tests.http_server import served
from imgpipe_tests.report.browser import Browser, missing_parts, open_browser
from imgpipe_tests.report.datasets import (
    DATASET,
    LANCZOS,
    MATTER,
    DatasetBuilder,
    good_scores,
    scored,
)

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(bool(missing_parts()), reason=f"not installed: {', '.join(missing_parts())}"),
]

HOSTILE = "a/</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>.png"
#: As macOS writes it: か and a combining mark; with a folder that is wider than the table's column.
JAPANESE = "一枚絵 2026/春の 展示会/とても 長い フォルダー名 その一/原画と 下描き/か\u3099 01.png"
HOSTILE_NOTE = "PNG text not carried: <img src=x onerror=window.hacked=1>"
BIG = 10_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores' worth of report as files: a small one with pictures, and one of 10,000 rows."""
    root = tmp_path_factory.mktemp("site")
    for name, built in (("small", _small()), ("big", _big())):
        built.report(max_hashes=100 if name == "small" else 0)
        for item in built.output.list():
            path = root / name / item.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(built.output.read(item.key))
    return root


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """The folder's address."""
    with served(SimpleHTTPRequestHandler, directory=str(folder)) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def small(browser: Browser, site: str) -> Browser:
    return _opened(browser, f"{site}/small/reports/{DATASET}/index.html")


@pytest.fixture
def big(browser: Browser, site: str) -> Browser:
    return _opened(browser, f"{site}/big/reports/{DATASET}/index.html")


def _opened(browser: Browser, url: str) -> Browser:
    browser.open("about:blank")
    browser.requests()
    browser.console()
    browser.open(url)
    browser.wait("return document.documentElement.dataset.ready")
    return browser


def _small() -> DatasetBuilder:
    rng = np.random.default_rng(3)
    built = DatasetBuilder()
    for index in range(12):
        built.add_image(f"set/girl {index}.png", good_scores(rng), shard=f"{index // 6:05d}")
    for index in range(3):
        bad = good_scores(rng) | {"psnr_y": 26.0 + index}
        built.add_image(f"set/bad {index}.png", bad, shard="00001")
    built.add_image(HOSTILE, good_scores(rng) | {"color_shift_255": 4.5}, shard="00001")
    raw = built.tables["00001"]["raw_images"]
    raw[-1] = replace(raw[-1], reasons=(HOSTILE_NOTE,))
    built.add_error("bad/<img src=x onerror=window.hacked=1>.png", "00001", message="<b onclick=x>HTML</b>")
    built.add_skipped(JAPANESE, "00001")
    for confidence in (0.1, 0.25):
        row = built.add_image(f"set/doubtful {confidence}.png", good_scores(rng), shard="00001")
        said = f"not sure of its mask (confidence {confidence})"
        built.tables["00001"]["quality_reports"][-1] = replace(
            row, status=Status.REJECTED, stage_failed="matted_images", reasons=(said,), details={}, metrics={}
        )
    return built


def _big() -> DatasetBuilder:
    """10,000 rows without pictures in the stores, so their thumbnails are not there."""
    rng = np.random.default_rng(4)
    built = DatasetBuilder()
    for index in range(BIG):
        key, shard = f"folder/picture {index}.png", f"{index // 1000:05d}"
        scores = good_scores(rng) | ({"psnr_y": 25.0} if index % 100 == 0 else {})
        base = ImageRow(key, keys.image_id(key), "e", Status.OK, output_key=key, width=1000, height=800)
        made = [
            replace(base, output_key=keys.image_key(kind, DATASET, shard, base.image_id, "png"), model=model)
            for kind, model in (("matted", MATTER), ("upscaled", LANCZOS))
        ]
        built.add(shard, (replace(base, status=Status.ERROR, output_key=""), *made, scored(base, scores)))
    return built


def _status(browser: Browser) -> str:
    return browser.text("#table-status")


def _names(browser: Browser) -> list[str]:
    cells = "document.querySelectorAll('#table tbody tr:not(.spacer) td:nth-child(2)')"
    return list(browser.run(f"return [...{cells}].map(e => e.textContent)"))


def _column(browser: Browser, number: int) -> list[float]:
    script = (
        "return [...document.querySelectorAll(`#table tbody tr:not(.spacer) td:nth-child(${arguments[0]})`)]"
        ".map(e => parseFloat(e.textContent))"
    )
    return list(browser.run(script, number))


def test_hostile_names_do_not_run_and_are_shown_as_they_are(small: Browser) -> None:
    assert small.run("return window.hacked ?? null") is None
    small.type("#text-filter", "script")
    small.wait("return document.getElementById('table-status').textContent.startsWith('1 of')")
    small.run("document.querySelector('#table tbody tr:not(.spacer)').click()")
    assert HOSTILE in small.text("#detail .facts")
    assert HOSTILE_NOTE in small.text("#detail .facts")
    assert small.run("return window.hacked ?? null") is None
    assert small.run("return document.querySelectorAll('#detail script, #detail [onerror]').length") == 0


def test_nothing_leaves_and_the_policy_is_not_hurt(small: Browser, site: str) -> None:
    small.run("window.scrollTo(0, document.body.scrollHeight)")
    small.wait("return [...document.images].every(i => i.complete || i.loading === 'lazy')")
    asked = [url for url in small.requests() if not url.startswith(("data:", "about:"))]
    assert asked
    assert {urlparse(url).netloc for url in asked} == {urlparse(site).netloc}
    paths = {urlparse(url).path for url in asked}
    assert all(p.endswith("/index.html") or "/thumbs/" in p for p in paths), sorted(paths)[:5]
    assert small.console() == []
    # And what a script in it would try is refused.
    refused = small.run(
        "return fetch('/small/reports/demo/images.parquet').then(() => 'sent', () => 'refused')"
    )
    assert refused == "refused"


def test_pictures_are_fetched_only_when_they_come_into_sight(small: Browser) -> None:
    lazy = small.run("return [...document.images].every(i => i.loading === 'lazy')")
    assert lazy
    loaded = small.run("return [...document.images].filter(i => i.complete && i.naturalWidth).length")
    total = len([url for url in small.requests() if "/thumbs/" in url])
    assert loaded <= total < 18 * 6


def test_the_gallery_shows_the_worst_first_and_changes_with_its_tabs(small: Browser) -> None:
    tabs = small.run("return [...document.querySelectorAll('#gallery-tabs button')].map(b => b.textContent)")
    assert tabs[:3] == ["Rejected6", "Errors1", "PSNR, luma ↓3"]
    assert tabs[-1] == "Good ones"
    shown = small.run("return [...document.querySelectorAll('.card .tag')].map(e => e.textContent)")
    assert shown == ["rejected"] * 6
    small.click("#gallery-tab-2")
    cards = small.run("return [...document.querySelectorAll('.card .name')].map(e => e.textContent)")
    assert cards[:3] == [f"bad {index}.png set/" for index in range(3)]
    assert "26.00 dB" in small.text(".card .line")
    small.click("#gallery-tab-3")
    assert small.run("return document.querySelector('.card .line').textContent").find("4.50") > 0
    # With the keyboard: the arrow moves the selection and the focus.
    small.type("#gallery-tab-3", "\ue014")
    assert small.run("return document.activeElement.id") == "gallery-tab-4"
    assert small.run("return document.activeElement.getAttribute('aria-selected')") == "true"


def test_the_slider_moves_the_border_by_mouse_and_by_key(small: Browser) -> None:
    position = "return document.querySelector('.card .compare').style.getPropertyValue('--at')"
    small.wait("return document.querySelector('.card .stage').clientHeight > 100")
    small.drag(".card .compare .stage", 0.5, 0.2)
    share = float(small.run(position).rstrip("%"))
    assert 14 <= share <= 26
    clip = small.run("return getComputedStyle(document.querySelector('.card .upper')).clipPath")
    assert clip.endswith(f"{share:g}%)")
    small.type(".card .compare input", "\ue014\ue014")
    assert float(small.run(position).rstrip("%")) == share + 2


def test_before_and_after_cover_each_other_exactly(small: Browser) -> None:
    small.wait("return document.querySelectorAll('.card .stage img')[1].naturalWidth > 0")
    boxes = small.run(
        "return [...document.querySelectorAll('.card')[0].querySelectorAll('.stage img')].map(i => {"
        "const b = i.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]})"
    )
    assert boxes[0] == pytest.approx(boxes[1], abs=0.5)
    assert boxes[0][2] / boxes[0][3] == pytest.approx(96 / 128, rel=0.01)


def test_modes_change_the_pictures_and_name_the_slider(small: Browser) -> None:
    small.run(
        "[...document.querySelectorAll('.card .modes button')]"
        ".find(b => b.textContent === 'Difference').click()"
    )
    sources = small.run(
        "return [...document.querySelectorAll('.card')[0].querySelectorAll('img')].map(i => i.src)"
    )
    assert [source.split(".")[-3] for source in sources] == ["result", "diff"]
    label = small.run("return document.querySelector('.card input[type=range]').getAttribute('aria-label')")
    assert label.endswith("from result to difference")
    assert small.run("return !document.querySelector('.card .heat').hidden")


def test_status_reason_and_range_filter_the_table(small: Browser) -> None:
    assert _status(small) == "20 of 20 images"
    small.click("[data-pill=rejected]")
    assert _status(small) == "6 of 20 images"
    small.click("[data-pill=error]")
    assert _status(small) == "7 of 20 images"
    small.click("#clear-filters")
    small.run("document.querySelector('button[data-reason=\"check:color_shift_255_max\"]').click()")
    assert _status(small) == "1 of 20 images"
    assert small.run("return document.getElementById('reason-filter').value") == "check:color_shift_255_max"
    small.run("document.querySelector('button[data-reason^=\"text:\"]').click()")
    assert _status(small) == "2 of 20 images"
    assert small.run("return document.getElementById('reason-filter').selectedOptions[0].text") == (
        "not sure of its mask (confidence …)"
    )
    small.run("document.querySelector('.tile[data-status=error]').click()")
    assert _status(small) == "1 of 20 images"
    small.click("#clear-filters")
    bar = "document.querySelector('.bar[data-metric=psnr_y]')"
    small.run(f"{bar}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    told = small.run(f"return {bar}.querySelector('title').textContent")
    assert _status(small).startswith(told.split(": ")[1].split(" ")[0] + " of")


def test_filters_stand_in_the_address_and_the_back_button_takes_them_back(
    browser: Browser, site: str
) -> None:
    page = f"{site}/small/reports/{DATASET}/index.html"
    _opened(browser, f"{page}#state=rejected&reason=check:psnr_y_min_db&tab=ok")
    assert _status(browser) == "3 of 20 images"
    assert browser.run("return document.getElementById('reason-filter').value") == "check:psnr_y_min_db"
    assert browser.text("[role=tab][aria-selected=true]") == "Good ones"
    browser.click("#clear-filters")
    assert _status(browser) == "20 of 20 images"
    browser.click("[data-pill=error]")
    browser.click("nav a[href='#gallery']")
    browser.click("#gallery-tab-2")
    assert "state=error&tab=psnr_y_min_db" in browser.run("return location.hash")
    for status in ("1 of 20", "1 of 20", "20 of 20", "3 of 20"):
        browser.run("history.back()")
        browser.wait(
            "return document.getElementById('table-status').textContent.startsWith(arguments[0])", status
        )
    assert browser.text("[role=tab][aria-selected=true]") == "Good ones"
    browser.type("#text-filter", "bad")
    browser.wait("return location.hash.includes('text=bad')")
    assert _status(browser) == "3 of 20 images"
    # A reason and a score that this report does not have.
    _opened(browser, f"{page}#reason=text:<img src=x onerror=window.hacked=1>&score=none&low=x&state=none")
    assert _status(browser) == "0 of 20 images"
    assert browser.run("return window.hacked ?? null") is None


def test_the_review_command_is_copied_as_a_shell_takes_it(small: Browser) -> None:
    small.type("#text-filter", "script")
    small.wait("return document.getElementById('table-status').textContent.startsWith('1 of')")
    small.run("document.querySelector('#table tbody tr:not(.spacer)').click()")
    small.click("#detail .copy")
    assert small.text("#detail .copy") == "Copied"
    command = small.text("#detail .facts dd > code:has(+ .copy)")
    assert shlex.split(command) == ["imgpipe", "review", "accept", "--dataset", DATASET, HOSTILE]
    assert small.run("return getSelection().toString()") == command
    small.run("document.getElementById('detail').close()")


def test_a_name_is_the_sources_and_is_found_as_it_is_typed(small: Browser) -> None:
    small.type("#text-filter", "\u304c 長い")
    small.wait("return document.getElementById('table-status').textContent.startsWith('1 of')")
    cell = "#table tbody tr:not(.spacer) .named"
    assert small.run("return document.querySelector(arguments[0]).title", cell) == JAPANESE
    folder, _, name = JAPANESE.rpartition("/")
    assert _names(small) == [f"{name} {folder}/"]
    cut = small.run(
        "const all = document.querySelector(arguments[0] + ' small').getBoundingClientRect();"
        "const text = document.querySelector(arguments[0] + ' bdi').getBoundingClientRect();"
        "return [text.left < all.left - 20, Math.abs(text.right - all.right) < 2]",
        cell,
    )
    assert cut == [True, True]  # The folder's end is in sight.
    small.click("#clear-filters")
    small.run("[...document.querySelectorAll('#table thead button')][0].click()")
    assert small.run("return document.querySelector(arguments[0]).title", cell) == HOSTILE
    shown = small.run("return document.querySelector('main').innerText")
    assert keys.image_id("set/bad 1.png") not in shown


def test_one_image_in_full(small: Browser, site: str) -> None:
    small.click("[data-pill=rejected]")
    small.run("document.querySelector('#table-scroll').focus()")
    small.type("#table-scroll", "\ue015\ue007")
    assert small.run("return document.getElementById('detail').open")
    first = small.text("#detail-title")
    assert "✕ outside" in small.text("#detail .facts")
    hrefs = small.run("return [...document.querySelectorAll('#detail .facts a')].map(a => a.href)")
    assert first == "bad 1.png set/"
    image_id = keys.image_id("set/bad 1.png")
    assert hrefs[0] == f"{site}/small/matted/{DATASET}/00001/{image_id}.png"
    small.type("#detail button:last-of-type", "\ue014")
    assert small.text("#detail-title") != first
    small.run("document.getElementById('detail').close()")


def test_every_control_has_a_name(small: Browser) -> None:
    nameless = small.run(
        "return [...document.querySelectorAll('button, input, select, a, [role=region], [role=tabpanel]')]"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label')"
        " || e.getAttribute('aria-labelledby') || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert small.run("return [...document.images].every(i => i.hasAttribute('alt'))")


def test_text_can_be_read_in_light_and_in_dark(small: Browser) -> None:
    """Contrast of at least 4.5 : 1 (WCAG 2.1, 1.4.3) for running text, hints and status tags."""
    script = """
    const rgb = () => {
      const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
      c.fillStyle = '#fff'; c.fillRect(0, 0, 1, 1); return c; };
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const level = (c) => c.map(v => linear(v / 255));
    const luminance = (c) => { const [r, g, b] = level(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const found = {};
    for (const css of ['h2', '.lead', '.hint', '.tag', '.reasons small', '#table thead button',
        '.pills button', 'nav a', '.tabs button', '.card .why']) {
      const element = document.querySelector(css);
      const canvas = rgb();
      const layers = [];
      for (let e = element; e; e = e.parentElement) layers.push(getComputedStyle(e).backgroundColor);
      for (const each of layers.reverse()) { canvas.fillStyle = each; canvas.fillRect(0, 0, 1, 1); }
      const ground = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
      canvas.fillStyle = getComputedStyle(element).color; canvas.fillRect(0, 0, 1, 1);
      const ink = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
      const [a, b] = [luminance(ground), luminance(ink)];
      found[css] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }
    return found"""
    for theme in ("light", "dark"):
        small.devtools(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}]
        )
        ratios = small.run(script)
        assert min(ratios.values()) >= 4.5, (theme, ratios)
    small.devtools("Emulation.setEmulatedMedia", features=[])


def test_a_narrow_window_does_not_scroll_sideways(small: Browser) -> None:
    small.devtools(
        "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False
    )
    width = small.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    small.devtools("Emulation.clearDeviceMetricsOverride")
    assert width[0] <= width[1]


def test_the_page_works_from_the_disk(browser: Browser, folder: Path) -> None:
    url = (folder / "small" / "reports" / DATASET / "index.html").as_uri()
    opened = _opened(browser, url)
    opened.wait("return document.querySelector('.card img').naturalWidth > 0")
    assert opened.console() == []
    assert all(address.startswith(("file:", "data:")) for address in opened.requests())


def test_ten_thousand_rows_open_filter_sort_and_scroll(big: Browser) -> None:
    opened = big.run("return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert opened < 6000
    assert _status(big) == "10,000 of 10,000 images"
    assert big.run("return document.querySelectorAll('#table tbody tr').length") < 80
    took = big.run(
        "const start = performance.now(); document.querySelector('[data-pill=rejected]').click();"
        "return performance.now() - start"
    )
    assert took < 1000
    assert _status(big) == "100 of 10,000 images"
    big.click("#clear-filters")
    big.type("#text-filter", "picture_77")
    big.wait("return document.getElementById('table-status').textContent.startsWith('111 of')")
    big.click("#clear-filters")
    big.click("#table thead th:nth-child(5) button")
    assert (
        big.run("return document.querySelectorAll('#table th')[4].getAttribute('aria-sort')") == "ascending"
    )
    psnr = _column(big, 5)
    assert psnr == sorted(psnr)
    assert psnr[0] == 25.0
    big.run("const s = document.getElementById('table-scroll'); s.scrollTop = s.scrollHeight")
    big.wait(
        "return document.querySelector('#table tbody tr:last-child')"
        ".getAttribute('aria-rowindex') === '10001'"
    )
    assert _column(big, 5)[-1] > 40
    assert big.run("return document.querySelectorAll('#table tbody tr').length") < 80


def test_ten_thousand_rows_by_keyboard(big: Browser) -> None:
    big.type("#table-scroll", "\ue010")
    assert (
        big.run("return document.querySelector('#table tr.active').getAttribute('aria-rowindex')") == "10001"
    )
    box = big.run(
        "const r = document.querySelector('#table tr.active').getBoundingClientRect();"
        "const s = document.getElementById('table-scroll').getBoundingClientRect();"
        "return [r.top >= s.top, r.bottom <= s.bottom + 1]"
    )
    assert box == [True, True]
    big.type("#table-scroll", "\ue007")
    assert big.text("#detail-title") == "picture 9999.png folder/"
    assert len(_names(big)) < 80
    big.run("document.getElementById('detail').close()")


def test_ten_thousand_rows_make_a_page_of_two_megabytes(folder: Path) -> None:
    assert (folder / "big" / "reports" / DATASET / "index.html").stat().st_size < 2_500_000
