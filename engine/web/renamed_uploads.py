"""Names of uploads: unguessable, and different for each upload."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from engine.web.asgi import Message, RequestRefusedError, Send
from engine.web.private_folder import PrivateFolder


class RenamedUploads:
    """The `send` of an upload request. It moves the stored files into folders with random names.

    Gradio names the folder of an upload by the hash of its content. Whoever has the same clip could therefore tell whether
    another visitor has sent it, and of two visitors with the same clip, the first one to score it would delete the other's.
    """

    def __init__(self, send: Send, folder: PrivateFolder) -> None:
        """Wrap the `send` of a request."""
        self._send = send
        self._folder = folder
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        """Send a message of the application, with the new paths.

        Raises:
            RequestRefusedError: another upload of the same clip at the same moment has taken the file.
        """
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._start = message
            return
        if message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            paths = [self._renamed(Path(path)) for path in json.loads(self._body)]
            await self._send(self._start)
            message = {**message, "body": json.dumps(paths).encode()}
        await self._send(message)

    def _renamed(self, path: Path) -> str:
        renamed = self._folder.new_file(path.name)
        try:
            os.replace(path, renamed)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        except FileNotFoundError:
            raise RequestRefusedError(503, "The clip was sent twice at the same moment. Send it again.") from None
        return str(renamed)
