"""TensorBoard events of a run.

Events are written in the calling thread. `torch.utils.tensorboard.SummaryWriter` writes from a separate thread: if the disk is
full, that thread prints a traceback, and the caller cannot handle the error.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from utils.files import writing

FILE_VERSION = "brain.Event:2"


class EventLog:
    """Writer of scalars by step, in a folder that TensorBoard can read."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Start a new event file; TensorBoard ignores events of earlier files from `first_step` on.

        Raises:
            WriteError: the file cannot be written.
        """
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        with writing(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = open(self._path, "wb", buffering=0)  # noqa: SIM115  (closed by __exit__)
            self._records = RecordWriter(self._stream)
            self._write(Event(file_version=FILE_VERSION))
            self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> EventLog:
        """Return the log itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the file."""
        self._stream.close()

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Append one value per name.

        Raises:
            WriteError: the file cannot be written.
        """
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        with writing(self._path):
            self._write(Event(step=step, summary=summary))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
