"""Loading of stored detectors: checkpoints for torch, and ONNX exports, which need no torch."""

from __future__ import annotations

from pathlib import Path

from engine.saved_detector import SavedDetector
from utils.errors import UsageError
from utils.files import existing_file
from utils.packages import is_installed

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoint"
ONNX_SUFFIX = ".onnx"


def default_checkpoint() -> Path:
    """Return the shipped `checkpoint/default.pth`, else the newest `checkpoint/*/best.pth`.

    Without torch, return `checkpoint/default.onnx`.

    Raises:
        UsageError: there is no such file.
    """
    if not is_installed("torch"):
        exported = CHECKPOINTS / "default.onnx"
        if not exported.is_file():
            raise UsageError(
                f"torch is not installed, and {exported} does not exist; install torch with `make install`"
            )
        return exported
    shipped = CHECKPOINTS / "default.pth"
    if shipped.is_file():
        return shipped
    trained = sorted(CHECKPOINTS.glob("*/best.pth"), key=lambda path: path.stat().st_mtime)
    if not trained:
        raise UsageError(
            f"no checkpoint: there is neither {shipped} nor a trained run; train one with `python main.py` or `make demo`, "
            "or name one with --checkpoint"
        )
    return trained[-1]


def load_saved(path: Path) -> SavedDetector:
    """Read a checkpoint, or an exported detector by its suffix `.onnx`.

    Raises:
        UsageError: see `load_checkpoint` and `load_onnx`, or the packages that the file needs are not installed.
    """
    existing_file(path, "checkpoint")
    if path.suffix.lower() == ONNX_SUFFIX:
        require("onnxruntime", "onnx", needed_by=path, install="pip install -r requirements-score.txt")
        from engine.onnx.detector import load_onnx

        return load_onnx(path)
    require("torch", needed_by=path, install="`make install`, or export it with utils/export_onnx.py elsewhere")
    from engine.checkpoint import load_checkpoint

    return load_checkpoint(path)


def require(*packages: str, needed_by: Path, install: str) -> None:
    """Raise a `UsageError` that says how to install the packages if one of them is missing."""
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        raise UsageError(f"{needed_by} needs {missing[0]}, which is not installed: {install}")
