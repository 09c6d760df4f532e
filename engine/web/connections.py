"""Connections of the web page: those without a request are closed, so they cannot keep visitors out."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

IDLE_CHECK_S = 15.0
"""A connection on which no request has begun for one to two times as long is closed, in seconds."""

Protocol: Any = AutoHTTPProtocol


class TimedProtocol(Protocol):
    """Uvicorn's protocol with a time limit on the head of a request, which uvicorn itself does not limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin a connection."""
        super().connection_made(transport)
        self.loop.call_later(IDLE_CHECK_S, self._close_if_idle, None)

    def _close_if_idle(self, latest: Any) -> None:
        """Close the connection if it is idle and has had no request since `latest`, a `cycle` of uvicorn."""
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is latest:
            self.transport.close()
            return
        self.loop.call_later(IDLE_CHECK_S, self._close_if_idle, self.cycle)
