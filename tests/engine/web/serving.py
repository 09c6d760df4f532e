"""The web page in a thread of the test process, with a tiny checkpoint."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.detector import Detector
from engine.web.limits import WebLimits
from engine.web.private_folder import PrivateFolder
from engine.web.service import ScoringService

WAIT_S = 120


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
        files = (path for root in (self.folder.uploads, self.folder.jobs) for path in root.rglob("*"))
        return [path for path in files if path.suffix in (".mp4", ".webm", ".wav")]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Send one request on its own connection; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
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
    from engine.web.server import WebOptions, bound_socket, build_app, running

    with bound_socket("127.0.0.1", 0) as listener, PrivateFolder.temporary() as folder:
        service = ScoringService(Detector.load(checkpoint, "cpu"), folder, limits)
        with running(build_app(service, WebOptions(limits=limits)), listener):
            yield Served(listener.getsockname()[1], folder)
