"""Runners for `utils.cache.compute_missing` in tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest


def in_process(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[Any, Any, str]]:
    """Run tasks in this process."""
    for task in tasks:
        yield task, function(task), ""


def no_work(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[Any, Any, str]]:
    """Fail the test, because every result should be cached."""
    pytest.fail(f"{len(tasks)} entries were computed again")
