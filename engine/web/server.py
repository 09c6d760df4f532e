"""The server of the web page."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.detector import Detector
from engine.web.limits import WebLimits
from engine.web.private_folder import PrivateFolder
from engine.web.service import ScoringService
from utils.errors import UsageError, WorkError

MAX_CONNECTIONS = 256
SHUTDOWN_S = 3.0
HIDDEN = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_ALLOWED_PATHS": "",
}
"""Environment in which Gradio reports nothing and serves nothing else."""


@dataclass(frozen=True)
class WebOptions:
    """Address of the page, and limits on uploads."""

    host: str = "127.0.0.1"
    port: int = 7860
    limits: WebLimits = field(default_factory=WebLimits)


def serve(detector: Detector, options: WebOptions, say: Callable[[str], object]) -> None:
    """Serve the web page until Ctrl-C.

    Args:
        detector: the detector.
        options: address and limits.
        say: receives the address when the page is ready.

    Raises:
        UsageError: the address cannot be used.
        WorkError: the server did not start.
        KeyboardInterrupt: after Ctrl-C, without waiting for a clip that is being scored.
    """
    with bound_socket(options.host, options.port) as listener, PrivateFolder.temporary() as folder:
        app = build_app(ScoringService(detector, folder, options.limits), options)
        host, port = listener.getsockname()[:2]
        with running(app, listener) as thread:
            say(f"web page: http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")
            thread.join()


@contextlib.contextmanager
def running(app: Any, listener: socket.socket) -> Iterator[threading.Thread]:
    """Serve an application within the block, in a thread.

    At the end of an event loop, Python waits for the functions that it runs in threads, here the scoring of a clip. Leaving
    the block does not.

    Raises:
        WorkError: the server did not start.
    """
    import uvicorn

    from engine.web.connections import TimedProtocol

    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        log_level="warning",
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=1,
        server_header=False,
        ws="none",
    )
    server = uvicorn.Server(config)
    # A duplicate, because the caller may close its socket before a server that is still busy has ended.
    sockets = [listener.dup()]
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise WorkError("the server of the web page did not start")
            thread.join(0.05)
        yield thread
    finally:
        server.should_exit = True
        thread.join(SHUTDOWN_S)


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UsageError: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            f"the page cannot use {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from None
    return listener


def build_app(service: ScoringService, options: WebOptions) -> Any:
    """Return the ASGI application: the Gradio page and the route for programs, behind the guard."""
    os.environ |= HIDDEN | {"GRADIO_TEMP_DIR": str(service.folder.uploads)}
    import gradio as gr
    from fastapi import FastAPI

    from engine.web.api import add_score_route
    from engine.web.guard import Guard, is_loopback
    from engine.web.handlers import Handlers
    from engine.web.page import build_page, script, style, theme

    handlers = Handlers(service)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_score_route(app, handlers)
    app = gr.mount_gradio_app(
        app,
        build_page(handlers),
        path="/",
        show_error=False,
        max_file_size=service.limits.max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        mcp_server=False,
        pwa=False,
        footer_links=[],
        theme=theme(),
        css=style(),
        head=script(),
    )
    return Guard(app, service.folder, service.limits, loopback=is_loopback(options.host))
