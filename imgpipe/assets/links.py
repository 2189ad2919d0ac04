"""Addresses of stored objects and inline pictures, and text for cells of a Markdown table."""

from __future__ import annotations

import base64
from urllib.parse import quote, urlencode

from imgpipe.config import Settings
from imgpipe.resources.naming import asset_key
from imgpipe.settings import S3Settings
from imgpipe.stages.chain import REPORT
from imgpipe.storage import keys

#: Where :mod:`imgpipe.webserver` serves the files of reports.
SERVED = "/imgpipe"


def browser_link(uri: str, s3: S3Settings) -> str | None:
    """The http(s) address of an object, ``None`` where it has none (a folder).

    ``uri``: what :meth:`ImageStore.uri` gives. On AWS it is the object's page in the console, which asks for
    a login; on an S3-compatible server the object's own address (path style).
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme != "s3":
        return None
    bucket, _, key = rest.partition("/")
    if s3.endpoint_url:
        return f"{s3.endpoint_url.rstrip('/')}/{bucket}/{quote(key)}"
    facts = {"prefix": key} | ({"region": s3.region} if s3.region else {})
    return f"https://s3.console.aws.amazon.com/s3/object/{bucket}?{urlencode(facts)}"


def served_link(settings: Settings, key: str) -> str:
    """The address of a file of the output at the webserver that shows the link (:mod:`imgpipe.webserver`)."""
    return quote("/".join((SERVED, *asset_key(settings, REPORT).path, key)))


def report_link(settings: Settings) -> str:
    """:func:`served_link` of the data set's report."""
    return served_link(settings, keys.report_key(settings.dataset, "index.html"))


def data_address(media_type: str, data: bytes) -> str:
    """The content itself as an address, for pictures that stand in the text."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def code_cell(text: str) -> str:
    """Text to copy, as code in a Markdown table: one line, no sign that would end the code or the cell."""
    line = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`"


def plain_cell(text: str) -> str:
    """Text for a cell of a Markdown table: one line, nothing in it read as Markdown or HTML."""
    line = " ".join(text.split())
    for sign in "\\`*_[]<>|#~!":
        line = line.replace(sign, f"\\{sign}")
    return line
