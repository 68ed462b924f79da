"""The application behind the demo page: static files, samples, and the answers of the models."""

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pdanet_tf.data.problems import DataError
from pdanet_tf.demo.answers import ShownModel, explain_content, read_content, segment
from pdanet_tf.demo.samples import Sample, thumbnail
from pdanet_tf.inference.display import to_rgb

PAGE = Path(__file__).parent / "page"
LARGEST_FILE = 2**28  # bytes of an upload
_PACKED = "application/octet-stream"
_HEADERS = (
    # The browser itself refuses what does not come from this server.
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),  # a newer version of the package is seen at once
)


class _WithHeaders:
    """Adds headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def make_app(
    models: Sequence[ShownModel],
    samples: Sequence[Sample],
    hosts: Sequence[str] | None = None,
    largest_file: int = LARGEST_FILE,
) -> Starlette:
    """Returns the application.

    It keeps nothing of a request, so users never see one another's images. One answer is computed
    at a time; the others wait in the order in which they came.

    Args:
        models: The model, or two to compare.
        samples: The sample images.
        hosts: The names under which browsers may reach the server; None for any.
        largest_file: Largest number of bytes of an image file.
    """
    turn = anyio.CapacityLimiter(1)

    @asynccontextmanager
    async def prepare(app: Starlette) -> AsyncIterator[None]:
        async def trace() -> None:
            async with turn:
                for model in models:
                    await anyio.to_thread.run_sync(model.trace)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trace)  # while the browser fetches the page
            yield

    async def about(request: Request) -> Response:
        names = [sample.name for sample in samples]
        return JSONResponse(
            {
                "models": [model.describe() for model in models],
                "samples": names,
                "largest_file": largest_file,
            }
        )

    async def sample_file(request: Request) -> Response:
        sample = _choose(samples, request.path_params["index"], "sample")
        content = await anyio.to_thread.run_sync(sample.read)
        return Response(content, headers={"x-file-name": quote(sample.file)})

    async def sample_thumbnail(request: Request) -> Response:
        sample = _choose(samples, request.path_params["index"], "sample")
        pixel_format = models[0].predictor.pixel_format

        def draw() -> bytes:
            pixels = read_content(sample.read(), sample.file, pixel_format)
            return thumbnail(np.ascontiguousarray(to_rgb(pixels)))

        return Response(await anyio.to_thread.run_sync(draw), media_type="image/jpeg")

    async def answer(request: Request, compute: Callable[..., bytes]) -> Response:
        query = request.query_params
        model = _choose(models, query.get("model", "0"), "model")
        content = await _read_body(request, largest_file)
        job = functools.partial(compute, model, content, query.get("name", "image"))
        async with turn:
            if await request.is_disconnected():
                raise ClientDisconnect
            packed = await anyio.to_thread.run_sync(job)
        return Response(packed, media_type=_PACKED)

    async def answer_segment(request: Request) -> Response:
        whole, picture = (name in request.query_params for name in ("whole", "picture"))
        return await answer(request, functools.partial(segment, whole=whole, picture=picture))

    async def answer_explain(request: Request) -> Response:
        row, column = (_share(request, name) for name in ("row", "column"))
        return await answer(request, functools.partial(explain_content, place=(row, column)))

    async def index(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    middleware = [Middleware(_WithHeaders)]
    if hosts is not None:
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)))
    return Starlette(
        routes=[
            Route("/", index),
            Route("/about", about),
            Route("/samples/{index:int}", sample_file),
            Route("/samples/{index:int}/thumbnail", sample_thumbnail),
            Route("/segment", answer_segment, methods=["POST"]),
            Route("/explain", answer_explain, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        middleware=middleware,
        lifespan=prepare,
        exception_handlers={
            HTTPException: _refuse,
            ClientDisconnect: _forget,
            ValueError: _refuse_content,
            Exception: _report_failure,
        },
    )


_Item = TypeVar("_Item")


def _choose(items: Sequence[_Item], number: str | int, what: str) -> _Item:
    try:
        index = int(number)
        if index >= 0:
            return items[index]
    except (ValueError, IndexError):
        pass
    raise HTTPException(404, f"There is no {what} {number}")


def _share(request: Request, name: str) -> float:
    text = request.query_params.get(name, "0.5")
    try:
        return float(text)
    except ValueError:
        raise HTTPException(400, f"{name} must be a number from 0 to 1. Received: {text}") from None


async def _read_body(request: Request, largest: int) -> bytes:
    """Returns the body of a request; refuses a larger one before it is in memory."""
    parts, length = [], 0
    async for part in request.stream():
        parts.append(part)
        length += len(part)
        if length > largest:
            raise HTTPException(
                413, f"The file is larger than {largest / 2**20:.0f} MiB, the limit of this page"
            )
    return b"".join(parts)


async def _refuse(request: Request, error: Any) -> Response:
    return JSONResponse({"message": error.detail}, error.status_code)


async def _forget(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody waits for the answer any more


async def _refuse_content(request: Request, error: Exception) -> Response:
    message = str(error)
    if isinstance(error, DataError):  # the advice is for those who own the server
        problem = error.problem("image")
        message = f"{problem.file}: {problem.text}"
    return JSONResponse({"message": message}, 400)


async def _report_failure(request: Request, error: Exception) -> Response:
    """Says that the model failed; Starlette raises the error again, so that it is logged."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return JSONResponse({"message": f"The model failed: {reason}"}, 500)
