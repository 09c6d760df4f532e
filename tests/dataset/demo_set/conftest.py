"""A demo set shared by the tests in this folder: short clips of few pixels, and enough of them for statistics."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset.demo_set.build import build_demo_set
from dataset.demo_set.plan import DemoSettings

SMALL = DemoSettings(clips=240, seed=7, duration_s=(0.5, 0.7), sizes_px=(32, 48))
TINY = DemoSettings(clips=24, seed=3, duration_s=(0.6, 0.9), sizes_px=(48,))


@pytest.fixture(scope="session")
def small_settings() -> DemoSettings:
    """Return the settings of the small set."""
    return SMALL


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the small set of 240 clips in 80 groups and return its data root."""
    root = tmp_path_factory.mktemp("demo_set") / "data"
    assert build_demo_set(root, SMALL, workers=2, progress=False)
    return root


@pytest.fixture(scope="session")
def tiny_settings() -> DemoSettings:
    """Return the settings of a set of 24 clips."""
    return TINY
