"""The web page in a thread of the test process, with a tiny checkpoint."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.detector import Detector
from engine.web.limits import WebLimits
from engine.web.private_folder import PrivateFolder
from engine.web.service import ScoringService

START_S = 120


@dataclass(frozen=True)
class Served:
    """A running page: its address and its private folder."""

    port: int
    folder: PrivateFolder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def stored_clips(self) -> list[Path]:
        """Return the clips that are stored, apart from the examples."""
        return [path for root in (self.folder.uploads, self.folder.jobs) for path in root.rglob("*.mp4")]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Send one request on its own connection; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        with contextlib.closing(connection):
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Content-Type": "application/json", **names})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def put(self, clip: Path, name: str = "") -> tuple[int, dict[str, Any]]:
        """Score a clip as `curl -T` does."""
        status, body = self.ask("PUT", f"/api/score/{name or clip.name}", clip.read_bytes())
        return status, json.loads(body)


@contextlib.contextmanager
def served(checkpoint: Path, limits: WebLimits) -> Iterator[Served]:
    """Serve the page within the block."""
    import uvicorn

    from engine.web.server import WebOptions, bound_socket, build_app, server_config

    with bound_socket("127.0.0.1", 0) as listener, PrivateFolder.temporary() as folder:
        service = ScoringService(Detector.load(checkpoint, "cpu"), folder, limits)
        server = uvicorn.Server(server_config(build_app(service, WebOptions(limits=limits))))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + START_S
        while not server.started:
            assert thread.is_alive() and time.monotonic() < end, "the server did not start"
            time.sleep(0.02)
        try:
            yield Served(listener.getsockname()[1], folder)
        finally:
            server.should_exit = True
            thread.join(START_S)
