"""The HTTP interface of jobs."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from starlette.exceptions import HTTPException as RoutingError
from starlette.requests import ClientDisconnect

from imgpipe import __version__
from imgpipe.config import Settings
from imgpipe.errors import ConfigError, ImgpipeError, LimitExceeded, ObjectMissing, StoreUnavailable
from imgpipe.jobs.book import JobBook
from imgpipe.jobs.fetch import too_large
from imgpipe.jobs.queue import JobQueue
from imgpipe.jobs.request import NAME, JobRequest, job_settings, order, read_order, said

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
#: Bodies that are read at the same time, and how long one may take.
_UPLOADS, _UPLOAD_SECONDS = 8, 120.0
#: Of JSON beside the picture. base64 is a third longer, with a line break, \r\n, after each 76 characters.
_OTHER_BYTES, _BASE64 = 65_536, (80, 57)
_CHUNK_BYTES = 2**18
_RETRY_SECONDS = "5"
_LOOK_SECONDS = 0.05
#: Everything else is sent as bytes of no kind, and all of it as a file to be saved.
_TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "jxl": "image/jxl",
    "json": "application/json",
}
_STATUS = {LimitExceeded: 413, ObjectMissing: 404, StoreUnavailable: 503}
_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": JobRequest.model_json_schema()},
    },
}


def build_app(book: JobBook, queue: JobQueue, token: str = "") -> FastAPI:
    """The server; with ``token``, every request but /health and the description needs it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue.start()
        yield
        await run_in_threadpool(queue.stop)

    app = FastAPI(
        title="imgpipe jobs",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # Its page loads scripts from elsewhere.
        redoc_url=None,
        exception_handlers=dict.fromkeys((ImgpipeError, RoutingError, RequestValidationError), _told),
    )

    app.state.base = book.base

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the server answers, and how many jobs wait."""
        return {"status": "ok", "waiting": queue.length}

    @app.get("/docs", include_in_schema=False)
    def docs() -> RedirectResponse:
        return RedirectResponse("/openapi.json")

    app.include_router(_routes(book, queue), dependencies=[Depends(_admission(token))])
    return app


async def _told(request: Request, exc: Exception) -> JSONResponse:
    """Every error in the worker's form."""
    if isinstance(exc, RoutingError):
        return JSONResponse({"error": exc.detail}, exc.status_code, exc.headers)
    if isinstance(exc, RequestValidationError):
        told = (f"{error['loc'][-1]}: {error['msg']}, got {error['input']!r}" for error in exc.errors())
        return JSONResponse({"error": "; ".join(told)}, 422)
    status = next((code for kind, code in _STATUS.items() if isinstance(exc, kind)), 400)
    return JSONResponse({"error": said(exc, request.app.state.base)}, status)


def _admission(token: str) -> Callable[[Request], None]:
    def admit(request: Request) -> None:
        if token:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
                headers = {"WWW-Authenticate": "Bearer"}
                raise HTTPException(401, "expected the header Authorization: Bearer TOKEN", headers)
        # Without one only this machine is served: a page in its browser must not come in by another name.
        elif urlsplit(f"//{request.headers.get('host', '')}").hostname not in LOCAL_HOSTS:
            raise HTTPException(403, f"expected the host {' or '.join(LOCAL_HOSTS)}")

    return admit


def _routes(book: JobBook, queue: JobQueue) -> APIRouter:
    router = APIRouter(prefix="/jobs")
    uploads = asyncio.Semaphore(_UPLOADS)

    @router.post("", status_code=202, openapi_extra={"requestBody": _BODY})
    async def post_job(
        request: Request,
        response: Response,
        actions: Annotated[str, Query(description="For image/*: actions, comma-separated.")] = "upscale",
        config: Annotated[str, Query(description="For image/*: settings of the actions, JSON.")] = "{}",
    ) -> dict[str, Any]:
        """Take a picture: its file as the body (image/*), or JSON."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = kind == "application/json"
        if not is_json and not kind.startswith("image/"):
            raise HTTPException(415, "expected the content type image/* or application/json")
        known = () if is_json else ("actions", "config")
        if unknown := sorted(set(request.query_params) - set(known)):
            expected = "actions and config in the JSON" if is_json else "?actions= and ?config="
            raise ConfigError(f"unknown in the query: {', '.join(unknown)}; expected {expected}")
        with queue.place() as free:
            if not free:
                waits = f"{book.base.jobs.max_waiting} jobs wait already (jobs.max_waiting); try again later"
                raise HTTPException(429, waits, {"Retry-After": _RETRY_SECONDS})
            async with uploads:
                body = await _body(request, book.base, is_json=is_json)
            if is_json:
                made = await run_in_threadpool(lambda: read_order(_json(body), book.base))
            else:
                names = tuple(name.strip() for name in actions.split(","))
                made = order(body, job_settings(book.base, names, _json(config)))
            job = await run_in_threadpool(book.add, made)
            queue.put(job)
        response.headers["Location"] = f"/jobs/{job.id}"
        return {"job_id": job.id, "image_id": job.entry.image_id, "state": "waiting"}

    @router.get("")
    def list_jobs(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[dict[str, Any]]:
        """The newest jobs, newest first."""
        return [
            {"job_id": job.id, "state": book.state(job), "actions": job.actions} for job in book.newest(limit)
        ]

    @router.get("/{job_id}")
    async def get_job(
        job_id: str,
        wait: Annotated[float, Query(ge=0, le=60, description="Wait so long for its end, seconds.")] = 0,
    ) -> dict[str, Any]:
        """State, progress, and what a finished job has come to."""
        end = time.monotonic() + wait
        while queue.has(job_id) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        return await run_in_threadpool(lambda: book.describe(book.find(job_id)))

    @router.get("/{job_id}/files")
    def list_files(job_id: str) -> list[dict[str, str]]:
        """Every file with its kind and where to get it."""
        return [
            {
                "name": file.name,
                "kind": file.kind,
                "asset": file.asset,
                "url": f"/jobs/{job_id}/files/{file.name}",
            }
            for file in book.files(book.find(job_id))
        ]

    @router.get("/{job_id}/files/{name}", response_class=StreamingResponse)
    def get_file(job_id: str, name: str) -> StreamingResponse:
        """One file."""
        data = book.read(book.find(job_id), name)
        ending = name.rpartition(".")[2]
        return StreamingResponse(
            (data[start : start + _CHUNK_BYTES] for start in range(0, len(data), _CHUNK_BYTES)),
            media_type=_TYPES.get(ending, "application/octet-stream"),
            headers={
                "Content-Length": str(len(data)),
                "Content-Disposition": f'attachment; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    @router.delete("/{job_id}")
    def delete_job(job_id: str) -> dict[str, str]:
        """Remove its files; its rows stay, as skipped."""
        book.remove(book.find(job_id))
        return {"job_id": job_id, "state": "deleted"}

    return router


async def _body(request: Request, settings: Settings, *, is_json: bool) -> bytes:
    """The body, refused by its announced length, and as soon as it is longer than allowed."""
    limit = settings.limits.max_bytes
    if is_json:
        limit = limit * _BASE64[0] // _BASE64[1] + _OTHER_BYTES
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(NAME, f"about {int(announced):,}", settings.limits.max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large(NAME, "more", settings.limits.max_bytes)
    except TimeoutError as exc:
        raise HTTPException(408, f"expected the body within {_UPLOAD_SECONDS:g} s") from exc
    except ClientDisconnect as exc:
        raise HTTPException(400, "the body was not sent to its end") from exc
    return bytes(body)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"expected JSON: {str(exc)[:200]}") from exc
