"""What every command shares: exit codes, one-sentence errors and quiet interruption."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from utils.errors import FFDVError

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as schedulers send it: to be ended like Ctrl-C, workers and all, instead of on the spot."""


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`; a second one ends the process on the spot."""

    def handle(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class OneLineParser(argparse.ArgumentParser):
    """An `argparse` parser whose errors are one sentence on standard error with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` and the way to the help, then leave with exit code 2."""
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def say(text: str) -> None:
    """Print a line at once; a reader who has left (`head`, a closed pager) ends neither the work nor its exit code."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def leave(exit_code: int) -> NoReturn:
    """End the process as `sys.exit` does, less the taking down of the interpreter and of its libraries.

    With torch in memory that takes a second and, to unload them, touches 130 MB of libraries that the process never used.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(exit_code)


def run_command(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """Run a command's `main` and translate how it ended into the project's exit codes.

    Args:
        main: takes the argument list, returns an exit code (`None` counts as 0).
        argv: the arguments; the process's own when left out.

    Returns:
        0 done, 1 the work could not be done, 2 wrong usage or configuration, 130 interrupted, 143 terminated.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold bytes that are no text in this locale: it is shown escaped, not a reason to stop.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with sigterm_raises():
        return ended(main, sys.argv[1:] if argv is None else argv)


def ended(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str]) -> int:
    """The exit code of a command's `main`, after a sentence about an unhappy end."""
    try:
        return main(arguments) or 0
    except FFDVError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (`head`, a closed pager) has left; point stdout at nothing so that the interpreter's last flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Disk full, no permission, a drive that went away: the system's own words say it best.
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Terminated:
        print("terminated: everything finished so far is kept", file=sys.stderr)
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        print("interrupted: everything finished so far is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
