"""Shared parts of every command: argument parsers, exit codes, one-sentence errors and interruption."""

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


class OneLineParser(argparse.ArgumentParser):
    """An `argparse` parser whose errors are one sentence on standard error with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` with a reference to the help, and exit with code 2."""
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def command_parser(description: str | None) -> OneLineParser:
    """Return an empty parser with the project's error style; `description` is the command's docstring.

    Options that several commands have are added by the functions below, so that they mean the same everywhere.
    """
    return OneLineParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_config(parser: argparse.ArgumentParser, default: str = "cfg/cfg.yml") -> None:
    """Add `--config FILE`; the value is `None` if it is not given. `default` is shown in the help."""
    parser.add_argument("--config", metavar="FILE", help=f"YAML config (default: {default})")


def add_set(parser: argparse.ArgumentParser, metavar: str = "A.B=C", more: str = "") -> None:
    """Add `--set A.B=C ...`, which accepts several values and may be repeated; `more` is appended to the help."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar=metavar,
        help=f"override config values; takes several, repeatable{more}",
    )


def add_workers(parser: argparse.ArgumentParser, default: int | None = 0, otherwise: str = "one per core") -> None:
    """Add `--workers N`, the number of worker processes. 0 stands for one per core.

    Args:
        parser: the parser.
        default: the value if it is not given.
        otherwise: description of the default.
    """
    parser.add_argument(
        "--workers",
        type=at_least(0),
        default=default,
        metavar="N",
        help=f"worker processes; 0: one per core (default: {otherwise})",
    )


def add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    """Add `--batch_size N`."""
    parser.add_argument(
        "--batch_size",
        type=at_least(1),
        default=default,
        metavar="N",
        help="clips per forward pass (default: %(default)s)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device NAME`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: %(default)s)")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`, which hides progress bars; results and errors are still printed."""
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def add_output(parser: argparse.ArgumentParser, description: str, **options: object) -> None:
    """Add `--output`, the file or folder that receives the command's results.

    Args:
        parser: the parser.
        description: what is written there.
        options: further arguments of `add_argument`, such as `metavar`, `default`, `required` and `type`.
    """
    parser.add_argument("--output", help=description, **options)  # type: ignore[arg-type]


def hide_progress_bars() -> None:
    """Hide the progress bars of this process and its children; call it before the modules that show them are imported."""
    os.environ["TQDM_DISABLE"] = "1"


def at_least(lowest: int) -> Callable[[str], int]:
    """Return an argument type: a whole number from `lowest` on."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{number} is too small; it is {lowest} or more")
        return number

    whole_number.__name__ = "int"  # argparse names the type in its errors
    return whole_number


class Terminated(KeyboardInterrupt):
    """SIGTERM, as sent by schedulers. It is handled like Ctrl-C: workers are stopped and results are kept."""


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM within the block; a second SIGTERM ends the process immediately."""

    def handle(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    """Print a line and flush it; a closed pipe (`head`, a pager) affects neither the work nor the exit code."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def run_command(
    main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None, *, skip_teardown: bool = False
) -> int:
    """Run a command's `main` and return the exit code for the way it ended.

    Args:
        main: receives the argument list and returns an exit code (`None` counts as 0).
        argv: the arguments; `None` for those of the process.
        skip_teardown: whether the process, when it exits, skips the interpreter's teardown, which takes a second with torch
            loaded. For processes that do nothing afterwards; exit handlers still run.

    Returns:
        0 success, 1 the work could not be done, 2 wrong usage or configuration, 130 interrupted, 143 terminated.
    """
    for stream in (sys.stdout, sys.stderr):
        # File names may contain bytes that are not text in this locale: print them escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    finished: list[int] = []
    if skip_teardown:
        # Exit handlers run in reverse order. Registered before `main` imports anything, this one runs after theirs.
        atexit.register(exit_now, finished)
    with sigterm_raises():
        finished.append(exit_code_of(main, sys.argv[1:] if argv is None else argv))
    return finished[0]


def exit_now(finished: Sequence[int]) -> None:
    """Flush the standard streams and end the process with the command's exit code, if the command has finished."""
    if finished:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(finished[0])


def exit_code_of(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str]) -> int:
    """Run a command's `main`; print one sentence if it fails, and return its exit code."""
    try:
        return main(arguments) or 0
    except FFDVError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (`head`, a pager) has closed the pipe. Redirect stdout so that the final flush does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Disk full, no permission, drive removed: the system's message is the clearest.
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Terminated:
        print("terminated: everything finished so far is kept", file=sys.stderr)
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        print("interrupted: everything finished so far is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
