"""ASGI middleware in front of the web page: it admits only what the page needs and hides the paths of the server.

Gradio identifies uploads by their path on the server, and serves and downloads more than this page needs. The guard

- refuses requests to other routes, of other sites and, on a loopback address, to other host names;
- limits request bodies in size, in number and in time;
- replaces the path of the private folder by `ALIAS` in responses, and accepts only files below `ALIAS` in requests;
- forbids the browser to load anything from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import MutableMapping
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any, NoReturn
from urllib.parse import urlsplit

from engine.web.asgi import (
    ALIAS,
    FAILED,
    App,
    Receive,
    Replay,
    RequestRefusedError,
    Response,
    Send,
    TimedBody,
    read_all,
)
from engine.web.limits import WebLimits
from engine.web.private_folder import PrivateFolder
from engine.web.renamed_uploads import RenamedUploads

API, FILE = "/gradio_api", "/gradio_api/file="
SCORE_ROUTE = "/api/score"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

MAX_UPLOADS = 8
MAX_DISCARDED_BYTES = 1_000_000_000
"""Most bytes of a refused upload that are received: browsers show an answer only after they have sent everything."""

FORM_BYTES = 100_000
"""Bytes of an upload request beyond its files."""

GET_ROUTES = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(static|assets)/.*"
    rf"|{API}/(info|app_id|startup-events|theme\.css)/?|{API}/(queue/data|upload_progress)"
    rf"|{API}/heartbeat/\w+|{API}/call/\w+/\w+|{API}/file=.*"
)
POST_ROUTES = re.compile(rf"{API}/(upload|queue/join|cancel|reset/?|call/(v2/)?\w+)")
PUT_ROUTES = re.compile(rf"{SCORE_ROUTE}(/.*)?")

log = logging.getLogger(__name__)


class Guard:
    """The middleware."""

    def __init__(self, app: App, folder: PrivateFolder, limits: WebLimits, *, loopback: bool) -> None:
        """Wrap an application; `loopback` means that it is served on a loopback address only."""
        self._app = app
        self._folder = folder
        self._limits = limits
        self._loopback = loopback
        self._root = str(folder.root)
        self._incoming: list[int] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        response = Response(send, self._root)
        try:
            await self._handle(scope, receive, response)
        except RequestRefusedError as refused:
            await response.refuse(refused)
        except Exception as error:
            # For example an unknown event, for which Gradio fails after the start of its response.
            log.warning("%s %s failed: %s", scope["method"], scope["path"], error)
            await response.refuse(RequestRefusedError(500, FAILED))

    async def _handle(self, scope: MutableMapping[str, Any], receive: Receive, response: Response) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        check_route(scope["method"], scope["path"])
        check_origin(headers, loopback=self._loopback)
        # Compressed responses could not be searched for paths.
        kept = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        scope = {**scope, "headers": kept}
        body = TimedBody(receive)
        try:
            await self._pass_on(scope, headers, body, response)
        except RequestRefusedError as refused:
            await body.discard(min(2 * self._limits.max_bytes, MAX_DISCARDED_BYTES) if refused.status == 413 else 0)
            raise body.too_slow or refused from None

    async def _pass_on(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, str], body: TimedBody, response: Response
    ) -> None:
        if scope["path"].startswith(FILE):
            path = self.real_path(scope["path"].removeprefix(FILE))
            scope = {**scope, "path": FILE + path, "raw_path": (FILE + path).encode()}
            await self._app(scope, body, response)
        elif scope["path"] == f"{API}/upload" or scope["method"] == "PUT":
            await self._upload(scope, headers, body, response)
        elif scope["method"] == "POST":
            content = self.checked_json(await read_all(body))
            length = (b"content-length", str(len(content)).encode())
            scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] != length[0]), length]
            await self._app(scope, Replay(content, body), response)
        else:
            await self._app(scope, body, response)

    async def _upload(self, scope: Any, headers: dict[bytes, str], body: TimedBody, response: Response) -> None:
        size = headers.get(b"content-length", "")
        if not size.isdigit():
            raise RequestRefusedError(411, "Send the size of the file in the header Content-Length.")
        if scope["method"] == "PUT" and (refusal := self._limits.size_refusal(int(size))):
            raise RequestRefusedError(413, refusal)
        if int(size) > self._limits.stored_bytes + FORM_BYTES:
            raise RequestRefusedError(413, "The clips are too large together. Send them in several parts.")
        stored = await asyncio.to_thread(self._folder.stored_bytes)
        if len(self._incoming) >= MAX_UPLOADS or stored + sum(self._incoming) + int(size) > self._limits.stored_bytes:
            raise RequestRefusedError(503, "Too many clips are being sent or are waiting. Try again in a few minutes.")
        self._incoming.append(int(size))
        send = response if scope["method"] == "PUT" else RenamedUploads(response, self._folder)
        try:
            await self._app(scope, body, send)
        finally:
            self._incoming.remove(int(size))

    def checked_json(self, content: bytes) -> bytes:
        """Return a JSON body with the real paths of its files.

        Raises:
            RequestRefusedError: it is not JSON, or names a file that was not uploaded.
        """
        try:
            return json.dumps(self._with_real_paths(json.loads(content or b"{}", parse_constant=no_number))).encode()
        except (ValueError, RecursionError):
            raise RequestRefusedError(400, "The request is not valid JSON.") from None

    def _with_real_paths(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_real_paths(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self._with_real_paths(item) for key, item in value.items() if key != "url"}
        if "path" in found or "meta" in found:
            found["path"] = self.real_path(found.get("path"))
        return found

    def real_path(self, alias: Any) -> str:
        """Return the path of an uploaded file or a result.

        Raises:
            RequestRefusedError: there is no such file.
        """
        parts = PurePosixPath(alias).parts if isinstance(alias, str) and "\0" not in alias else ()
        if parts[:2] != ("/", ALIAS[1:]) or ".." in parts:
            raise RequestRefusedError(404, "There is no such file. Upload the clip first.")
        path = self._folder.root.joinpath(*parts[2:])
        allowed = (self._folder.uploads, self._folder.examples)
        try:
            found = any(path.is_relative_to(folder) for folder in allowed) and not path.is_symlink() and path.is_file()
        except OSError:  # the name is too long
            found = False
        if not found:
            raise RequestRefusedError(404, "There is no such file. Uploads are deleted after scoring.")
        return str(path)


def no_number(text: str) -> NoReturn:
    """Raise a `ValueError` for NaN and infinity, which JSON does not have."""
    raise ValueError(f"{text} is not JSON")


def check_route(method: str, path: str) -> None:
    """Raise a `RequestRefusedError` for a route that the page does not use."""
    routes = {"GET": GET_ROUTES, "HEAD": GET_ROUTES, "POST": POST_ROUTES, "PUT": PUT_ROUTES}
    if method not in routes or not routes[method].fullmatch(path):
        raise RequestRefusedError(404, "There is nothing here.")


def check_origin(headers: dict[bytes, str], *, loopback: bool) -> None:
    """Raise a `RequestRefusedError` for a request that the page of another site makes in a visitor's browser."""
    try:
        host = urlsplit(f"//{headers.get(b'host', '')}")
    except ValueError:
        raise RequestRefusedError(400, "The host name is not valid.") from None
    if loopback and host.hostname not in LOOPBACK:
        raise RequestRefusedError(403, "Open the page under 127.0.0.1 or localhost.")
    origin = headers.get(b"origin")
    if origin is not None and origin.partition("//")[2] != host.netloc:
        raise RequestRefusedError(403, "Requests from other sites are refused.")
    if headers.get(b"sec-fetch-site") == "cross-site" and headers.get(b"sec-fetch-mode") != "navigate":
        raise RequestRefusedError(403, "Requests from other sites are refused.")


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK
