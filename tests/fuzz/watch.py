"""Observation of a command from outside: its peak memory and time, and the files that it leaves."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_EVERY_S = 0.2


@dataclass(frozen=True)
class Observed:
    """Observations of one run of a command.

    Attributes:
        code: exit code; `None` if it had to be killed.
        output: standard output and standard error.
        peak_gb: largest resident memory of any of its processes, in GB; 0 where /proc does not exist.
        seconds: duration.
    """

    code: int | None
    output: str
    peak_gb: float
    seconds: float


def run_watched(command: Sequence[str], log: Path, *, cwd: Path, env: dict[str, str], timeout_s: float) -> Observed:
    """Run a command in a session of its own. After `timeout_s`, kill all of its processes."""
    started = time.monotonic()
    peak_kb, code = 0, None
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=cwd, env=env, start_new_session=True
        )
        try:
            while time.monotonic() - started < timeout_s:
                peak_kb = max(peak_kb, session_peak_kb(process.pid))
                if (code := process.poll()) is not None:
                    break
                time.sleep(POLL_EVERY_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    output = log.read_text(encoding="utf-8", errors="backslashreplace")
    return Observed(code, output, peak_kb * 1024 / 1e9, time.monotonic() - started)


def session_peak_kb(session: int) -> int:
    """Return the largest peak of resident memory among the processes of a session, in KiB."""
    peak = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                lines = (folder / "status").read_text().splitlines()
                peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))])
        except (OSError, ValueError):
            continue
    return peak


def snapshot(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
