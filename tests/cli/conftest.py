"""Fixtures of the command tests."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def own_logging():
    """A run sets up logging for its process; here that is undone after each test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
