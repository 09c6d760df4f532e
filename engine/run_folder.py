"""A run's folder: where it lies and what is written into it."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from utils.errors import UsageError
from utils.files import atomic_path, write_text_atomic

PREDICTION_FILE = Path("prediction.txt.csv")
UNSCORED_SUBMISSION = 0.5


class RunFolder:
    """Paths of one run below `output_dir`."""

    def __init__(self, path: Path) -> None:
        """Use a folder that is there."""
        self.path = Path(path)

    @classmethod
    def create(cls, output_dir: str, name: str) -> RunFolder:
        """Make `<output_dir>/<time>_<name>`; a number is added when two runs start in one second."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            path = Path(output_dir) / (f"{stamp}_{name}" if attempt == 1 else f"{stamp}_{name}_{attempt}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                if not path.is_dir():
                    raise UsageError(f"output_dir {output_dir!r}: {path} is in the way") from None
            except OSError as error:
                raise UsageError(f"output_dir {output_dir!r} cannot be written: {error}") from None
        raise UsageError(f"output_dir {output_dir!r}: too many runs named {name!r} in one second")

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.path / "best.pth"

    @property
    def last(self) -> Path:
        """The checkpoint of the last finished epoch, which `--resume` goes on from."""
        return self.path / "last.pth"

    def log_to_file(self) -> None:
        """Send log lines to the console (without decoration) and to `run.log` (with the time)."""
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        for handler in list(root.handlers):
            root.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(logging.Formatter("%(message)s"))
        file = logging.FileHandler(self.path / "run.log", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(console)
        root.addHandler(file)
        for chatty in ("matplotlib", "fontTools", "httpx", "PIL", "numba"):
            logging.getLogger(chatty).setLevel(logging.WARNING)

    def write_config(self, yaml_text: str) -> None:
        """Write the resolved configuration."""
        write_text_atomic(self.path / "config.yml", yaml_text)

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write `metrics.json`."""
        write_text_atomic(self.path / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")

    def append_history(self, epoch: dict[str, Any]) -> None:
        """Add an epoch to `history.jsonl`."""
        with open(self.path / "history.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(epoch, allow_nan=False) + "\n")

    def read_history(self, before_epoch: int | None = None) -> list[dict[str, Any]]:
        """The finished epochs; with `before_epoch`, later ones are dropped from the file too (a resumed run redoes them)."""
        path = self.path / "history.jsonl"
        if not path.is_file():
            return []
        # A kill while the last line was written leaves it without its end; its epoch is not in last.pth either.
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        epochs = [json.loads(line) for line in lines]
        if before_epoch is not None:
            epochs = [epoch for epoch in epochs if epoch["epoch"] < before_epoch]
            write_text_atomic(path, "".join(json.dumps(epoch) + "\n" for epoch in epochs))
        return epochs

    def write_predictions(self, predictions: pd.DataFrame, name: str = "predictions.csv") -> None:
        """Write a predictions table; what is unknown is an empty cell."""
        write_csv(predictions, self.path / name)


def check_output(path: str | Path, what: str) -> Path:
    """Refuse an output file that cannot be written before the work for it begins; its folder is made.

    Raises:
        UsageError: names `what` and the reason.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{what} is a folder, not a file: {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise UsageError(f"{what} cannot be written: {path} ({error.strerror or error})") from None


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically with enough digits to tell scores apart; names that are no UTF-8 are escaped."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n", errors="backslashreplace")


def write_submission(predictions: pd.DataFrame, path: Path = PREDICTION_FILE) -> None:
    """Write `video_name,y_pred` in the challenge's form; an unscored clip gets 0.5."""
    table = pd.DataFrame(
        {"video_name": predictions["video_name"], "y_pred": predictions["score"].fillna(UNSCORED_SUBMISSION)}
    )
    write_csv(table, path)
