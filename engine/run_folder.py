"""The folder of a run: its files, its log, and the output files written outside it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UsageError, WriteError
from utils.files import DISK_FULL, atomic_path, write_target, write_text_atomic, writing

if TYPE_CHECKING:
    import pandas as pd

    from engine.checkpoint import Checkpoint

log = logging.getLogger(__name__)

PREDICTION_FILE = Path("prediction.txt.csv")
"""Default path of the challenge's prediction file, in the working directory."""

UNSCORED_SUBMISSION = 0.5


class RunFolder:
    """Paths and files of one run below `output_dir`.

    Attributes:
        path: the folder.
        is_written: whether this process writes it. In a run of several processes, the others have the paths only.
    """

    def __init__(self, path: Path, *, is_written: bool = True) -> None:
        """Use an existing folder."""
        self.path = Path(path)
        self.is_written = is_written

    @classmethod
    def create(cls, output_dir: str, name: str) -> RunFolder:
        """Create `<output_dir>/<time>_<name>`, with a number appended if the folder exists already.

        Raises:
            UsageError: `output_dir` cannot be used.
            WriteError: the disk is full.
        """
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            path = Path(output_dir) / (f"{stamp}_{name}" if attempt == 1 else f"{stamp}_{name}_{attempt}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                if not path.is_dir():
                    raise UsageError(f"output_dir {output_dir!r}: {path} is an existing file") from None
            except OSError as error:
                kind = WriteError if error.errno in DISK_FULL else UsageError
                raise kind(f"output_dir {output_dir!r} cannot be written: {error.strerror or error}") from None
        raise UsageError(f"output_dir {output_dir!r}: too many runs named {name!r} in one second")

    def subfolder(self, name: str) -> RunFolder:
        """Create a folder for a part of the run."""
        folder = RunFolder(self.path / name, is_written=self.is_written)
        if self.is_written:
            folder.path.mkdir()
        return folder

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.path / "best.pth"

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch, from which `--resume` continues."""
        return self.path / "last.pth"

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        """Log to `run.log` (with the time) and to the console within the block, then restore the logging configuration.

        A console handler is added only if the process has none, so each line is printed once. An error that ends the block
        is written to `run.log` with its traceback.
        """
        if not self.is_written:
            yield
            return
        root = logging.getLogger()
        level, chatty = root.level, [logging.getLogger(name) for name in CHATTY_LIBRARIES]
        levels = [logger.level for logger in chatty]
        file = LogFile(self.path / "run.log")
        handlers: list[logging.Handler] = [file]
        if not any(type(handler) is logging.StreamHandler for handler in root.handlers):
            console = logging.StreamHandler(sys.stderr)
            console.setFormatter(logging.Formatter("%(message)s"))
            handlers.append(console)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(logging.INFO)
        for logger in chatty:
            logger.setLevel(logging.WARNING)
        try:
            yield
        except Exception:
            file.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "the run failed", (), sys.exc_info()))
            raise
        finally:
            root.setLevel(level)
            for logger, before in zip(chatty, levels, strict=True):
                logger.setLevel(before)
            for handler in handlers:
                root.removeHandler(handler)
            file.close()

    def write_config(self, yaml_text: str) -> None:
        """Write the resolved configuration."""
        if self.is_written:
            write_text_atomic(self.path / "config.yml", yaml_text)

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        """Write a checkpoint."""
        if self.is_written:
            checkpoint.save(path)

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write `metrics.json`."""
        if self.is_written:
            write_text_atomic(self.path / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")

    def append_history(self, epoch: dict[str, Any]) -> None:
        """Append an epoch to `history.jsonl`.

        Raises:
            WriteError: the file cannot be written. An incomplete line is ignored when the history is read.
        """
        path = self.path / "history.jsonl"
        with writing(path), open(path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(epoch, allow_nan=False) + "\n")

    def read_history(self) -> list[dict[str, Any]]:
        """Return the finished epochs."""
        path = self.path / "history.jsonl"
        if not path.is_file():
            return []
        epochs = []
        for line in path.read_text(encoding="utf-8").splitlines():
            # A kill or a full disk can cut the last line short; last.pth does not contain that epoch either.
            with contextlib.suppress(ValueError):
                epochs.append(json.loads(line))
        return epochs

    def truncate_history(self, before_epoch: int) -> None:
        """Drop the epochs from `before_epoch` on, which the resumed run repeats."""
        epochs = [epoch for epoch in self.read_history() if epoch["epoch"] < before_epoch]
        path = self.path / "history.jsonl"
        if path.is_file():
            write_text_atomic(path, "".join(json.dumps(epoch) + "\n" for epoch in epochs))

    def write_predictions(self, predictions: pd.DataFrame, name: str = "predictions.csv") -> None:
        """Write a predictions table; unknown values are empty cells."""
        if self.is_written:
            write_csv(predictions, self.path / name)


CHATTY_LIBRARIES = ("matplotlib", "fontTools", "httpx", "PIL", "numba")
"""Libraries whose INFO lines would fill the log."""


class LogFile(logging.FileHandler):
    """A log file that never aborts a run: lines that cannot be written are dropped."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            WriteError: it cannot be created.
        """
        with writing(path):
            super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (named by the base class)
        """Drop the line. A full disk is reported when results are written."""

    def close(self) -> None:
        """Close the file; buffered lines are lost if the disk is full."""
        with contextlib.suppress(OSError):
            super().close()


def check_output(path: str | Path, what: str) -> Path:
    """Check, before the work starts, that an output file can be written, and create its folder.

    Args:
        path: the file.
        what: its name in error messages.

    Raises:
        UsageError: names `what` and the reason.
        WriteError: the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{what} is a folder, not a file: {path}")
    try:
        folder = write_target(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return path
    except OSError as error:
        kind = WriteError if error.errno in DISK_FULL else UsageError
        raise kind(f"{what} cannot be written: {path} ({error.strerror or error})") from None


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically with 9 significant digits; undecodable bytes in names are escaped."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n", errors="backslashreplace")


def write_submission(predictions: pd.DataFrame, path: Path = PREDICTION_FILE) -> None:
    """Write `video_name,y_pred` in the challenge's format, with 0.5 for unscored clips."""
    import pandas as pd

    table = pd.DataFrame(
        {"video_name": predictions["video_name"], "y_pred": predictions["score"].fillna(UNSCORED_SUBMISSION)}
    )
    write_csv(table, path)
