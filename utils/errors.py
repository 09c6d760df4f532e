"""Expected errors of the commands.

Each message is one sentence. `utils.command.run_command` prints it without a traceback and returns the exit code.
"""

from __future__ import annotations

MAX_MESSAGE = 4000
"""Longest message, in characters. Messages quote files, whose values may be of any length."""


class FFDVError(Exception):
    """Base class of the project's errors. `exit_code` is the exit code of the command."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message. If it is too long, its middle is left out."""
        text = super().__str__()
        if len(text) <= MAX_MESSAGE:
            return text
        half = MAX_MESSAGE // 2 - 20
        return f"{text[:half]} ... {text[-half:]}"


class UsageError(FFDVError):
    """Wrong usage or configuration: an invalid option, a missing path, an invalid file (exit code 2)."""

    exit_code = 2


class WorkError(FFDVError):
    """The work failed: coverage too low, no clip could be scored (exit code 1)."""

    exit_code = 1


class WriteError(WorkError, OSError):
    """A result could not be written: disk full, quota exceeded, no permission (exit code 1)."""


def error_line(error: Exception, limit: int = 200) -> str:
    """Return the kind of an unexpected error and the first line of its text, cut to `limit` characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:limit]}" if lines else type(error).__name__
