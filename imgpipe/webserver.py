"""Dagster's webserver with one more route: the files that reports show and link to.

``python -m imgpipe.webserver OPTIONS`` in place of ``dagster-webserver OPTIONS``, and
``python -m imgpipe.webserver dev OPTIONS`` in place of ``dagster dev OPTIONS``. Browsers do not follow
``file:`` links from a page of a server, and objects on S3 ask for credentials, which this process has.

The route only reads. Where a data set lies is asked of the code locations: the metadata of the asset
``dataset_report``. Its answers are sandboxed: a browser gives them no part in Dagster's origin.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import dagster_webserver.app
from dagster import AssetKey
from dagster._cli import dev
from dagster_shared.utils.warnings import SupersessionWarning
from dagster_webserver.cli import main as webserver_main
from dagster_webserver.webserver import DagsterWebserver
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from imgpipe.assets.links import SERVED
from imgpipe.errors import ConfigError, ImgpipeError, ObjectMissing, ObjectUnreadable
from imgpipe.settings import S3Settings
from imgpipe.stages.chain import REPORT
from imgpipe.storage import keys
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import content_type

_MODULE = "imgpipe.webserver"
_HEADERS = {
    # What is opened from it has a sandbox of its own, or is Dagster's UI.
    "Content-Security-Policy": "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox "
    "allow-downloads",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class ReportingWebserver(DagsterWebserver[Any, Any]):
    """``/imgpipe/<key of dataset_report>/<key in the output>``, before all that Dagster serves."""

    def build_routes(self) -> list[BaseRoute]:
        own = Route(f"{self._app_path_prefix}{SERVED}/{{path:path}}", self.file)
        return [own, *super().build_routes()]  # type: ignore[no-untyped-call]

    def file(self, request: Request) -> Response:
        """A file of a report's data set; 404 for whatever a report does not show, 503 without its store."""
        prefix, _, key = request.path_params["path"].partition(f"{REPORT}/")
        asset = AssetKey([*filter(None, prefix.split("/")), REPORT])
        with self.request_context(request) as context:
            graph = context.asset_graph
            facts = graph.get(asset).metadata if graph.has(asset) else {}
        return answer({name: value.value for name, value in facts.items()}, key)


def answer(facts: Mapping[str, Any], key: str) -> Response:
    """The file; ``facts``: the metadata of its data set's ``dataset_report``, empty where there is none."""
    try:
        if not facts or not keys.is_in_report(key, facts["dataset"]):
            raise HTTPException(404, f"{key}: expected a file that a data set's report shows")
        store = open_store(facts["output"], S3Settings(**facts["s3"]))
        return Response(store.read(key), media_type=content_type(key), headers=_HEADERS)
    except (ObjectMissing, ObjectUnreadable, ConfigError) as exc:
        raise HTTPException(404, str(exc)) from exc
    except ImgpipeError as exc:
        raise HTTPException(503, str(exc)) from exc


def main() -> None:
    """Run the command that the arguments name, ``dev`` or the webserver."""
    if sys.argv[1:2] == ["dev"]:
        warnings.simplefilter("ignore", SupersessionWarning)
        # It has no setting for the module that it starts as the webserver.
        dev.open_ipc_subprocess = partial(_start, dev.open_ipc_subprocess)  # type: ignore[attr-defined]
        dev.dev_command(sys.argv[2:], auto_envvar_prefix="DAGSTER_CLI_DEV")
    else:
        dagster_webserver.app.DagsterWebserver = ReportingWebserver  # type: ignore[attr-defined]
        webserver_main()  # type: ignore[no-untyped-call]


def _start(start: Any, parts: list[str], **options: Any) -> Any:
    return start([_MODULE if part == "dagster_webserver" else part for part in parts], **options)


if __name__ == "__main__":
    main()
