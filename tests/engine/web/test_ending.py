"""Ctrl-C ends the page at once, also while a clip is being scored, and deletes its folder."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time

import pytest

pytest.importorskip("gradio", reason="gradio is not installed (requirements-app.txt)")


def test_ctrl_c_does_not_wait_for_scoring(service, folder, monkeypatch):
    from engine.web.server import WebOptions, bound_socket, build_app, running

    scoring, never = threading.Event(), threading.Event()

    def slow(clip, say, page):
        scoring.set()
        never.wait(60)

    def send(port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/api/score/a.mp4", b"clip")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.getresponse()

    monkeypatch.setattr(service, "_score", slow)
    started = []

    def interrupted():
        with bound_socket("127.0.0.1", 0) as listener:
            app = build_app(service, WebOptions(limits=service.limits))
            with running(app, listener):
                threading.Thread(target=send, args=[listener.getsockname()[1]], daemon=True).start()
                assert scoring.wait(60)
                started.append(time.monotonic())
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started[0] < 20
    never.set()


def test_address_is_said_and_folder_is_deleted_on_ctrl_c(monkeypatch, service):
    from engine.web import server

    said, roots = [], []
    monkeypatch.setattr(server, "build_app", lambda service, options: roots.append(service.folder.root) or answer)

    async def answer(scope, receive, send):
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})

    def say(text):
        said.append(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.serve(service.detector, server.WebOptions(port=0), say)
    assert said[0].startswith("web page: http://127.0.0.1:") and not roots[0].exists()
