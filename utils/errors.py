"""The two expected errors of a command.

The message of each is one sentence. `utils.command.run_command` prints it and returns the exit code. Users see no
traceback for a problem that they can solve.
"""

from __future__ import annotations


class FFDVError(Exception):
    """Base of the project's own errors; `exit_code` is what a command returns for it."""

    exit_code = 1


class UsageError(FFDVError):
    """Wrong usage or configuration: a bad flag, a missing path, a file that is not what it should be (exit code 2)."""

    exit_code = 2


class WorkError(FFDVError):
    """The work itself could not be done: too little coverage, no clip that could be scored (exit code 1)."""

    exit_code = 1


class WriteError(WorkError, OSError):
    """A result could not be written: disk full, quota used up, no permission (exit code 1)."""
