"""Devices and seeds."""

from __future__ import annotations

import os
import random

import numpy as np
import torch

from utils.errors import UsageError


def pick_device(name: str) -> torch.device:
    """Return the device for a name; `auto` selects an available accelerator.

    Raises:
        UsageError: unknown name, or an accelerator that is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device {name!r}: expected auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s); try device=auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps': this machine has no MPS device; try device=auto")
    return device


def seed_everything(seed: int, *more: int) -> None:
    """Seed Python, numpy and torch from a seed and optional further numbers, such as the epoch."""
    derived = int(np.random.SeedSequence((seed, *more)).generate_state(1)[0])
    random.seed(derived)
    np.random.seed(derived)  # noqa: NPY002  (some libraries still use the global generator)
    torch.manual_seed(derived)


def make_repeatable() -> None:
    """Select deterministic kernels where torch has them, so that runs on the same machine are repeatable."""
    # cuBLAS is deterministic only with a fixed workspace. It reads this variable when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
