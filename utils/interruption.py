"""Deferral of Ctrl-C, SIGTERM and SIGHUP while something must not be interrupted."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

log = logging.getLogger(__name__)


@contextlib.contextmanager
def interruption_deferred(notice: str = "") -> Iterator[None]:
    """Delay Ctrl-C, SIGTERM and SIGHUP until the end of the block. A second one takes effect immediately.

    Args:
        notice: what to log when a signal arrives; empty for nothing.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    # A signal that is ignored, or that ends the process, has no handler and stays as it is.
    before: dict[int, Any] = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    received: list[tuple[int, FrameType | None]] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def record(number: int, frame: FrameType | None) -> None:
        received.append((number, frame))
        restore()
        if notice:
            log.warning(notice)

    for number in before:
        signal.signal(number, record)
    try:
        yield
    finally:
        restore()
    for received_number, frame in received:
        before[received_number](received_number, frame)
