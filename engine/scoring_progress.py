"""Progress within a clip: seconds decoded in a worker process, and windows scored in this one."""

from __future__ import annotations

import contextvars
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from utils.features.windows import SINGLE_S
from utils.progress_file import read_progress

POLL_S = 0.5


@dataclass(frozen=True)
class ClipProgress:
    """Progress of one step on a clip.

    Attributes:
        step: `decoding`, `scoring`, `time line` or `evidence`.
        done: units that are done.
        total: all units of the step.
        unit: unit, for example `s`.
        is_long: whether the clip is divided into windows. Terminals show only these, since a bar for each short clip flickers.
    """

    step: str
    done: int
    total: int
    unit: str
    is_long: bool = True

    def __str__(self) -> str:
        """Return for example `decoding: 12 of 604 s`; for a single unit, the step."""
        return f"{self.step}: {self.done} of {self.total} {self.unit}" if self.total > 1 else self.step


Report = Callable[[ClipProgress], object]


class DecodingWatch:
    """A thread that reports how far workers have decoded the oldest clip in flight, within a with block.

    Without a `Report`, there is neither a thread nor a file.
    """

    def __init__(self, report: Report | None, step: str = "decoding") -> None:
        """Prepare to report a step."""
        self._report, self._step = report, step
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._oldest = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> DecodingWatch:
        """Start the thread."""
        if self._report is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="multi-ffdv-progress-", ignore_cleanup_errors=True)
            # The thread has the context of the caller, by which Gradio knows the visitor.
            context = contextvars.copy_context()
            self._thread = threading.Thread(target=context.run, args=[self._watch], daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End the thread and delete the files."""
        self._stop.set()
        if self._thread is not None and self._folder is not None:
            self._thread.join()
            self._folder.cleanup()

    def path(self, index: int) -> Path | None:
        """Return the file for the worker's progress on the clip with a number."""
        return None if self._folder is None else Path(self._folder.name) / str(index)

    def finished(self, index: int) -> None:
        """Record that a clip is decoded, and all before it."""
        self._oldest = index + 1

    def _watch(self) -> None:
        known: tuple[int, tuple[int, int]] | None = None
        while not self._stop.wait(POLL_S):
            index, path = self._oldest, self.path(self._oldest)
            found = None if path is None else read_progress(path)
            # The duration is 0 if the container does not declare one.
            if found is not None and found[1] and (index, found) != known and self._report is not None:
                known = index, found
                self._report(ClipProgress(self._step, *found, "s", found[1] > SINGLE_S))


class StepBar:
    """A second progress bar on a terminal, for the current step on a long clip. It disappears at the end of a with block."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._bar: tqdm | None = None
        self._shown: tuple[str, int] | None = None
        self._lock = threading.Lock()

    @property
    def report(self) -> Report | None:
        """The function that shows progress; `None` if standard error is not a terminal."""
        return self._show if sys.stderr.isatty() else None

    def __enter__(self) -> StepBar:
        """Return the bar."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the bar."""
        with self._lock:
            self._close()

    def _show(self, progress: ClipProgress) -> None:
        if not progress.is_long:
            return
        with self._lock:
            if (progress.step, progress.total) != self._shown or self._bar is None:
                self._close()
                self._shown = progress.step, progress.total
                self._bar = tqdm(
                    total=progress.total,
                    initial=progress.done,
                    desc=f"  {progress.step}",
                    unit=f" {progress.unit}",
                    leave=False,
                    dynamic_ncols=True,
                    bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}{unit} [{elapsed}<{remaining}]",
                )
            self._bar.update(progress.done - self._bar.n)
            if progress.done == progress.total:
                self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = self._shown = None


class ScoringProgress:
    """The progress of scoring clips, within a with block.

    Attributes:
        total: number of clips; `None` if unknown.
        report: receives the progress within clips; `None` for nowhere.
        watch: the progress of the decoding processes.
    """

    def __init__(self, progress: bool | Report, total: int | None) -> None:
        """Show a bar of clips if `progress` is true. A function receives the progress within clips instead."""
        self.total = total
        self._bar = tqdm(total=total, unit="clip", desc="scoring", disable=progress is not True, dynamic_ncols=True)
        self._steps = StepBar()
        self.report = progress if callable(progress) else self._steps.report if progress else None
        self.watch = DecodingWatch(self.report)

    def __enter__(self) -> ScoringProgress:
        """Start to watch."""
        self.watch.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the bar of steps and end the one of clips."""
        self.watch.__exit__()
        self._steps.__exit__()
        self._bar.close()

    def scored(self) -> None:
        """Count a clip that has its score."""
        self._bar.update()
