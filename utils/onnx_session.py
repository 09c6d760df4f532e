"""Sessions of onnxruntime for the small networks that worker processes run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FATAL_ONLY = 4
"""Severity from which onnxruntime writes to the standard error stream. Failures are raised as well."""


def single_threaded_session(path: Path) -> InferenceSession:
    """Load a trusted ONNX file for one CPU thread: workers run side by side, and each has one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
