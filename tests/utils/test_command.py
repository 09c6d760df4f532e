"""Exit codes and error messages of commands."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from utils.command import OneLineParser, Terminated, command_parser, log_to_stderr, run_command
from utils.errors import UsageError, WorkError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_help_wraps_paragraphs_and_keeps_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    example = "    python inference.py " + "long_name " * 8
    shown = command_parser("word " * 30 + f"\n\n{example.rstrip()}\n\nlast\n").format_help().splitlines()
    assert example.rstrip() in shown
    assert all(len(line) <= 60 for line in shown if line.startswith("word")) and "last" in shown


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no such file: a"), 2, "error: no such file: a\n"),
        (WorkError("coverage is too low"), 1, "error: coverage is too low\n"),
        (
            ModuleNotFoundError("", name="torch.nn"),
            2,
            "error: torch is not installed; install everything with `make install`\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted: everything finished so far is kept\n"),
        (Terminated(), 143, "terminated: everything finished so far is kept\n"),
    ],
)
def test_errors_and_interruptions_print_one_sentence(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(_: Sequence[str]) -> int:
        raise error

    assert run_command(main, []) == code
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_signals_stop_a_command_and_their_handlers_are_restored(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    cleaned_up = []

    def main(_: Sequence[str]) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            cleaned_up.append(True)

    assert run_command(main, []) == 143 and cleaned_up
    assert "terminated" in capsys.readouterr().err and signal.getsignal(number) is before


def test_ignored_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_command(lambda _: os.kill(os.getpid(), signal.SIGHUP), []) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_exit_code_of_a_successful_command() -> None:
    assert run_command(lambda _: None, []) == 0
    assert run_command(lambda arguments: len(arguments), ["a", "b"]) == 2


def test_unexpected_exceptions_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda _: 1 // 0, [])


def test_invalid_flag_prints_one_line_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser(prog="tool")
    parser.add_argument("--count", type=int)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--count", "many"])
    assert caught.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: argument --count: invalid int value: 'many'") and line.count("\n") == 1


def test_closed_output_pipe_is_not_an_error() -> None:
    script = (
        "import sys\n"
        "from utils.command import run_command\n"
        "def main(argv):\n"
        "    for number in range(100000):\n"
        "        print(number)\n"
        "sys.exit(run_command(main))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


def test_log_messages_are_plain_lines_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    log_to_stderr()
    logging.root.info("3 clips")
    logging.root.debug("detail")
    assert capsys.readouterr() == ("", "3 clips\n")
