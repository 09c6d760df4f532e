"""Expected errors of the commands.

Each message is one sentence. `utils.command.run_command` prints it without a traceback and returns the exit code.
"""

from __future__ import annotations


class FFDVError(Exception):
    """Base class of the project's errors. `exit_code` is the exit code of the command."""

    exit_code = 1


class UsageError(FFDVError):
    """Wrong usage or configuration: an invalid option, a missing path, an invalid file (exit code 2)."""

    exit_code = 2


class WorkError(FFDVError):
    """The work failed: coverage too low, no clip could be scored (exit code 1)."""

    exit_code = 1


class WriteError(WorkError, OSError):
    """A result could not be written: disk full, quota exceeded, no permission (exit code 1)."""
