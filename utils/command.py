"""Shared parts of all commands: common options, exit codes, one-sentence errors, and handling of interruption."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import io
import logging
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from utils.errors import FFDVError
from utils.terminal import PrintableFormatter, one_line, printable
from utils.torchrun import is_first_to_report, silence_others, started_by_torchrun

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143

OUR_PACKAGES = ("benchmarks", "dataset", "engine", "models", "utils")

KEPT = "everything finished so far is kept"
"""What an interrupted command reports, unless the interruption has a message."""

ENGINES = ("local", "ray")

REPORT_PAGES = 200
"""Default number of pages about single clips. A page takes about 0.3 MB and a second or two of processor time."""


class ParagraphFormatter(argparse.HelpFormatter):
    """Help formatter that wraps the paragraphs of a description, and leaves those with indented or aligned text as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(
            part if "  " in part else textwrap.fill(part, width, initial_indent=indent, subsequent_indent=indent)
            for part in paragraphs
        )


class OneLineParser(argparse.ArgumentParser):
    """Argument parser that reports an error as one sentence on standard error and exits with code 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` with a pointer to `--help` and exit with code 2."""
        if message.endswith(("expected one argument", "expected at least one argument")):
            message += "; write a name that starts with - as ./-name"
        report(f"error: {message} (see {self.prog} --help)")
        raise SystemExit(2)


def command_parser(description: str | None) -> OneLineParser:
    """Return a parser without options; `description` is the docstring of the command.

    The functions below add the options that several commands share, with the same meaning in each command.
    """
    return OneLineParser(description=description, formatter_class=ParagraphFormatter)


def add_config(parser: argparse.ArgumentParser, default: str = "cfg/cfg.yml") -> None:
    """Add `--config FILE`. The value is `None` if the option is absent; `default` is only shown in the help."""
    parser.add_argument("--config", metavar="FILE", help=f"YAML config (default: {default})")


def add_set(parser: argparse.ArgumentParser, metavar: str = "A.B=C", more: str = "") -> None:
    """Add `--set A.B=C ...`, which takes several values and is repeatable. `more` is appended to the help."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar=metavar,
        help=f"override config values; takes several values, repeatable{more}",
    )


def add_workers(parser: argparse.ArgumentParser, default: int | None = 0, otherwise: str = "one per core") -> None:
    """Add `--workers N`, the number of worker processes. 0 means one per core.

    Args:
        parser: the parser.
        default: value if the option is absent.
        otherwise: description of the default, for the help.
    """
    parser.add_argument(
        "--workers",
        type=at_least(0),
        default=default,
        metavar="N",
        help=f"worker processes; 0: one per core (default: {otherwise})",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `--engine NAME`; see `dataset.workers.open_engine`."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="local: processes on this machine; ray: the Ray cluster at RAY_ADDRESS, else one on this machine "
        "(default: %(default)s)",
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


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of the HTML report about scored clips and of the rendered video."""
    parser.add_argument("--report", metavar="DIR", help="also write DIR/report.html, and a page per clip in DIR/clips")
    parser.add_argument(
        "--report_pages",
        type=at_least(0),
        default=REPORT_PAGES,
        metavar="N",
        help="pages for the first N scored clips (default: %(default)s)",
    )
    parser.add_argument("--timeline", metavar="DIR", help="also write the time line of each clip: JSON and SVG in DIR")
    parser.add_argument(
        "--render", metavar="FILE.mp4", help="also write a copy of the clip with its time line and face boxes drawn in"
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`, which hides progress bars. Results and errors are still printed."""
    parser.add_argument("--quiet", action="store_true", help="hide progress bars")


def add_output(parser: argparse.ArgumentParser, description: str, **options: object) -> None:
    """Add `--output`, the file or folder for the results of the command.

    Args:
        parser: the parser.
        description: help text.
        options: further arguments of `add_argument`, such as `metavar`, `default`, `required` and `type`.
    """
    parser.add_argument("--output", help=description, **options)  # type: ignore[arg-type]


def hide_progress_bars() -> None:
    """Hide the progress bars of this process and its children. Call this before importing modules that use tqdm."""
    os.environ["TQDM_DISABLE"] = "1"


def log_to_stderr() -> None:
    """Show log messages from level INFO on as plain lines on standard error, apart from the results on standard output."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def at_least(lowest: int) -> Callable[[str], int]:
    """Return an argument type for integers of at least `lowest`."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, not {number}")
        return number

    whole_number.__name__ = "int"  # argparse shows this name in error messages
    return whole_number


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which schedulers send, and when the terminal is closed (SIGHUP).

    Handled like Ctrl-C: workers are stopped, results are kept and temporary files are deleted.
    """


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM and SIGHUP within the block. A second signal ends the process immediately.

    SIGHUP stays ignored if it is, as in processes that nohup starts.
    """

    def handle(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    hang_up = getattr(signal, "SIGHUP", None)  # absent on Windows
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, handle)}
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_DFL:
        before[hang_up] = signal.signal(hang_up, handle)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def say(text: str) -> None:
    """Print a line and flush it. Ignore a closed pipe (`head`, a pager), so that the command continues."""
    say_coloured(printable(text))


def say_coloured(text: str) -> None:
    """Print a line like `say`, with its colour sequences. Names in it must be escaped already."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def run_command(
    main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None, *, skip_teardown: bool = False
) -> int:
    """Run the `main` function of a command and return its exit code.

    Args:
        main: receives the argument list and returns an exit code. `None` means 0.
        argv: the arguments; `None` for the arguments of the process.
        skip_teardown: skip the interpreter's teardown when the process exits, which takes a second if torch is loaded.
            Exit handlers still run. Use it only in processes that exit after the command.

    Returns:
        0: success; 1: the work failed; 2: wrong usage or configuration; 130: interrupted; 143: terminated.
    """
    for stream in (sys.stdout, sys.stderr):
        # File names may contain bytes that cannot be decoded in this locale. Print them escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    silence_others()
    finished: list[int] = []
    if skip_teardown:
        # Exit handlers run in reverse order. This one is registered before `main` imports anything, so it runs last.
        atexit.register(exit_now, finished)
    with sigterm_raises():
        finished.append(exit_code_of(main, sys.argv[1:] if argv is None else argv))
    return finished[0]


def exit_now(finished: Sequence[int]) -> None:
    """If the command has finished, flush the standard streams and end the process with its exit code."""
    if finished:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(finished[0])


def report(message: str) -> None:
    """Print a message as one line on standard error; with torchrun, only if no other process has printed one."""
    if is_first_to_report():
        with contextlib.suppress(OSError):  # the terminal was closed
            print(one_line(message), file=sys.stderr, flush=True)


def exit_code_of(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str]) -> int:
    """Run the `main` function of a command and return its exit code. Print one sentence if it fails."""
    try:
        return main(arguments) or 0
    except FFDVError as error:
        report(f"error: {error}")
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OUR_PACKAGES:
            raise
        report(f"error: {package} is not installed; install everything with `make install`")
        return 2
    except BrokenPipeError:
        # The reader (`head`, a pager) has closed the pipe. Redirect stdout to prevent an error in the final flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Disk full, no permission, drive removed: print the message of the operating system.
        report(f"error: {error}")
        return 1
    except Terminated as interruption:
        why = ", because one of its processes failed or torchrun itself was stopped" if started_by_torchrun() else ""
        report(f"terminated{why}: {str(interruption) or KEPT}")
        return EXIT_TERMINATED
    except KeyboardInterrupt as interruption:
        report(f"interrupted: {str(interruption) or KEPT}")
        return EXIT_INTERRUPTED
