"""The environment that `torchrun` gives to the processes it starts. Importing this module does not load torch."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from datetime import timedelta

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
STORE_TIMEOUT_S = 5
"""How long to look for torchrun's key-value store before an error is printed."""


def started_by_torchrun() -> bool:
    """Return whether this process was started by torchrun, or by a scheduler that sets the same variables."""
    return all(name in os.environ for name in VARIABLES)


def rank() -> int:
    """Return the number of this process among those of the run, from 0."""
    return int(os.environ["RANK"]) if started_by_torchrun() else 0


def silence_others() -> None:
    """Unless this is process 0, hide its standard output, log, warnings and progress bars. Call this before importing tqdm."""
    if rank() == 0:
        return
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (used until the process ends)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"


def is_first_to_report() -> bool:
    """Return whether this process is the first of the run that reports an error. The others end without a message.

    If one process fails, torchrun stops the others, so that a message printed by process 0 only would often be lost.
    """
    if not started_by_torchrun():
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        # If torchrun has ended, torch would print pages of its own.
        socket.create_connection((host, port), STORE_TIMEOUT_S).close()
        from torch.distributed import TCPStore

        store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=STORE_TIMEOUT_S))
        return store.add(f"multi_ffdv/reports/{attempt}", 1) == 1
    except (ImportError, OSError, RuntimeError):
        return rank() == 0
