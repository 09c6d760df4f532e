"""The route for `curl -T clip.mp4 http://HOST:PORT/api/score/`, which answers with JSON."""

from __future__ import annotations

import threading
from pathlib import Path

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from engine.web.guard import SCORE_ROUTE
from engine.web.handlers import Handlers

MAX_WAITING = 16
"""Most requests that wait for their turn."""


def add_score_route(app: Starlette, handlers: Handlers) -> None:
    """Add the route to an application. The body of a request is the clip."""
    service = handlers.service
    waiting = threading.BoundedSemaphore(MAX_WAITING)

    async def score(request: Request) -> JSONResponse:
        if not waiting.acquire(blocking=False):
            return JSONResponse({"error": "Too many clips are waiting. Try again in a few minutes."}, 503)
        upload = service.folder.new_file(request.path_params.get("name", ""))
        try:
            await receive_file(request, upload)
            outcome = await to_thread.run_sync(service.score, upload, abandon_on_cancel=True)
            return JSONResponse(handlers.answer(outcome), 422 if outcome.message else 200)
        except ClientDisconnect:
            return JSONResponse({"error": "The upload ended early."}, 400)
        finally:
            waiting.release()
            upload.unlink(missing_ok=True)

    for route in (SCORE_ROUTE, SCORE_ROUTE + "/{name:path}"):
        app.add_route(route, score, methods=["PUT"])


async def receive_file(request: Request, path: Path) -> None:
    """Write the body of a request to a file.

    Raises:
        ClientDisconnect: the body ended early.
    """
    with open(path, "wb") as stream:
        async for block in request.stream():
            await to_thread.run_sync(stream.write, block)
