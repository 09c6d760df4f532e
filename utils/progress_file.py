"""Progress of a worker process on a long clip, in a small file that another process reads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class ProgressFile:
    """The number of seconds of a clip that a worker has decoded.

    Attributes:
        path: the file; `None` for none. Its folder may be missing on this machine: then nothing is written.
        total_s: returns the duration of the clip as far as it is known; a container declares it when decoding begins.
    """

    path: Path | None
    total_s: Callable[[], float]
    _written_s: int = 0

    def at(self, time_s: float) -> None:
        """Record the presentation time of the current frame. The file is written once per second of the clip."""
        if self.path is not None and int(time_s) > self._written_s:
            self._written_s = int(time_s)
            with contextlib.suppress(OSError):
                self.path.write_text(f"{self._written_s} {round(self.total_s())}\n", encoding="ascii")


def read_progress(path: Path) -> tuple[int, int] | None:
    """Return the decoded seconds and the duration of a clip; `None` if the worker has not written them, or is writing."""
    try:
        done_s, total_s = path.read_text(encoding="ascii").split()
        return min(int(done_s), int(total_s)), int(total_s)
    except (OSError, ValueError):
        return None
