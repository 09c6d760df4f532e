"""Check of the connection to the hub of pretrained models."""

from __future__ import annotations

import contextlib
import os
import socket

HUB = ("huggingface.co", 443)
HUB_TIMEOUT_S = 3.0


def hub_is_reachable() -> bool:
    """Return whether the hub accepts a connection within seconds. The hub's own client would retry for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HF_ENDPOINT")):
        return True
    with contextlib.suppress(OSError), socket.create_connection(HUB, timeout=HUB_TIMEOUT_S):
        return True
    return False
