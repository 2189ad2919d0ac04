"""``index.html``: one self-contained file, apart from the thumbnails, which lie beside it.

Its parts lie in ``web/``. The page's own security policy allows no network at all: no script, style or
picture but what is in the file or lies in its folder. Whatever comes from file names is escaped, in HTML
and in JSON.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

from imgpipe.report import sections
from imgpipe.report.frame import PageContent
from imgpipe.report.payload import build_payload, to_script_json
from imgpipe.report.reasons import reasons

_TOKEN = re.compile(r"\{\{(\w+)\}\}")
#: Parts of the page's script, in the order in which they stand there.
_SCRIPTS = (
    "dom",
    "core",
    "slider",
    "compare",
    "gallery",
    "table",
    "detail",
    "duplicates",
    "address",
    "start",
)


def render_page(content: PageContent) -> str:
    """The whole document as text, to be stored as UTF-8."""
    values = {
        "title": escape(f"{content.dataset}: dataset report"),
        "data": to_script_json(build_payload(content)),
        "header": sections.header(content),
        "models": sections.models(content),
        "reasons": reasons(content),
        "drift": sections.drift(content),
        "distributions": sections.distributions(content),
        "shards": sections.shards(content),
        "about": sections.about(content),
    }
    return fill_page("page.html", ("page.css",), _SCRIPTS, values)


def fill_page(page: str, styles: Sequence[str], scripts: Sequence[str], values: Mapping[str, str]) -> str:
    """A page of ``web/`` with its styles, scripts (names without ``.js``), security policy and ``values``,
    which are HTML or JSON already."""
    style, script = "".join(map(_resource, styles)), _script(scripts)
    known = {"policy": escape(_policy(style, script), quote=True), "style": style, "script": script, **values}
    # One pass: inserted text is not searched for tokens.
    return _TOKEN.sub(lambda token: known[token.group(1)], _resource(page))


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src 'self' data:; style-src '{_source_hash(style)}'; "
        f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    """The element's text as Content-Security-Policy (level 3) names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _script(names: Sequence[str]) -> str:
    """The parts of the script in one block in strict mode, so that their names are not global."""
    parts = "\n".join(_resource(f"{name}.js") for name in names)
    return f'"use strict";\n{{\n{parts}}}\n'


def _resource(name: str) -> str:
    return resources.files("imgpipe.report").joinpath("web", name).read_text(encoding="utf-8")
