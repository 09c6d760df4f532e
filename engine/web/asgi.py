"""Requests and responses of the guard as ASGI messages: time limits, size limits, and paths hidden in responses."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ALIAS = "/clips"
"""Name of the private folder in requests and responses."""

FAILED = "The request could not be answered."

MAX_JSON_BYTES = 1_000_000

IDLE_S, UPLOAD_S = 30.0, 900.0
"""Longest time without any byte of a request body, and for a whole body, in seconds."""

REWRITTEN = re.compile(rb"text/|application/json|application/javascript")
"""Content types in which paths are replaced."""

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        b"connect-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=()"),
)


class RequestRefusedError(Exception):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status and the sentence."""
        super().__init__(message)
        self.status = status


class Response:
    """Sends a response with the headers of the guard and without paths of the server."""

    def __init__(self, send: Send, root: str) -> None:
        """Wrap the `send` of a request."""
        self._send = send
        self._paths = {root.encode(), json.dumps(root)[1:-1].encode()}
        self._rewrite = False
        self._started = self._finished = self._refused = False

    async def __call__(self, message: Message) -> None:
        """Send a message of the application.

        Raises:
            RequestRefusedError: the application has failed, for example on a body that came too slowly.
        """
        if message["type"] == "http.response.start":
            if message["status"] == 500 and not self._refused:
                raise RequestRefusedError(500, FAILED)
            self._started = True
            headers = [(name.lower(), value) for name, value in message.get("headers", [])]
            kind = next((value for name, value in headers if name == b"content-type"), b"")
            attached = any(name == b"content-disposition" for name, _ in headers)
            self._rewrite = bool(REWRITTEN.match(kind)) and not attached
            dropped = {name for name, _ in HEADERS} | ({b"content-length"} if self._rewrite else set())
            message["headers"] = [pair for pair in headers if pair[0] not in dropped] + list(HEADERS)
        elif message["type"] == "http.response.body" and self._rewrite:
            for path in self._paths:
                message["body"] = message.get("body", b"").replace(path, ALIAS.encode())
        self._finished = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, refused: RequestRefusedError) -> None:
        """Send a refusal. A response that has already begun is ended."""
        if self._started:
            if not self._finished:
                await self({"type": "http.response.body", "body": b""})
            return
        self._refused = True
        body = json.dumps({"error": str(refused), "detail": str(refused)}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await self({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


class TimedBody:
    """The `receive` of a request with time limits on its body.

    Attributes:
        too_slow: the refusal of a body that came too slowly; `None` before. An application may turn it into another error.
    """

    too_slow: RequestRefusedError | None = None

    def __init__(self, receive: Receive) -> None:
        """Start the clock."""
        self._receive = receive
        self._complete = False
        self._end = asyncio.get_running_loop().time() + UPLOAD_S

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            RequestRefusedError: the body comes too slowly.
        """
        if self._complete:  # the application waits for the end of the connection
            return await self._receive()
        left = self._end - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), min(IDLE_S, max(left, 0)))
        except asyncio.TimeoutError:
            self.too_slow = RequestRefusedError(408, "The upload was too slow. Try again, or send a smaller copy.")
            raise self.too_slow from None
        self._complete = not message.get("more_body", False)
        return message

    async def discard(self, n_bytes: int) -> None:
        """Receive and drop the rest of the body, up to about a number of bytes."""
        while n_bytes > 0 and not self._complete:
            message = await self()
            n_bytes -= len(message.get("body", b""))
            self._complete |= message["type"] == "http.disconnect"


class Replay:
    """A `receive` that first returns a body that has already been read."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        """Hold a body."""
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        """Return the next message."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def read_all(receive: Receive) -> bytes:
    """Read a JSON body.

    Raises:
        RequestRefusedError: it is too large.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > MAX_JSON_BYTES:
            raise RequestRefusedError(413, "The request is too large.")
    return b"".join(parts)
