"""Provenance of results: commit, versions, initialisation and data."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.clips import ClipTable
from models.base import DetectorModel

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "librosa", "av", "opencv-python-headless", "scikit-learn")


def git_state() -> dict[str, Any]:
    """Return the commit and whether there are uncommitted changes; the commit is `unknown` outside a git clone."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != REPOSITORY:
            return {"commit": "unknown", "dirty": None}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown", "dirty": None}


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def table_fingerprint(labels: pd.DataFrame) -> str:
    """Return 16 hex digits that identify a label table by its names and targets, independent of their order."""
    rows = sorted(f"{name}\t{target}" for name, target in zip(labels["video_name"], labels["target"], strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def describe_run(seed: int, model: DetectorModel, clips: dict[str, ClipTable]) -> dict[str, Any]:
    """Return the provenance stored in a checkpoint: code, versions, initialisation, seed and labels by split."""
    return {
        **git_state(),
        "versions": package_versions(),
        "initialisation": model.initialisation,
        "seed": seed,
        "data": {name: table_fingerprint(table.labels) for name, table in clips.items()},
        "label_files": {name: table.split.labels.name for name, table in clips.items()},
    }
