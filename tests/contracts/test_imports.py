"""Importing a package loads only what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("package", ["models", "dataset.batch", "utils.features.config"])
@pytest.mark.parametrize("heavy", ["av", "numba", "sklearn", "moviepy"])
def test_models_and_batches_load_no_decoder_compiler_or_trainer(package: str, heavy: str) -> None:
    code = f"import sys, {package}; sys.exit({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"importing {package} loads {heavy}"
