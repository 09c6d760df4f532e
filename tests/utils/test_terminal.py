"""Control characters in names do not reach a terminal or a log."""

from __future__ import annotations

import logging

from utils.command import run_command, say
from utils.errors import UsageError
from utils.terminal import PrintableFormatter, printable

HOSTILE = "\x1b[31ma\x1b]0;title\x07\r\x9bb\u202e.mp4"
SHOWN = "\\x1b[31ma\\x1b]0;title\\x07\\r\\x9bb\\u202e.mp4"


def test_control_characters_are_escaped() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("clip ä 動画\t1\n") == "clip ä 動画\t1\n"


def test_log_lines_are_escaped() -> None:
    record = logging.LogRecord("log", logging.WARNING, "", 0, "%s: skipped", (HOSTILE,), None)
    assert PrintableFormatter().format(record) == f"{SHOWN}: skipped"


def test_output_and_errors_of_commands_are_escaped(capsys) -> None:
    def main(_: object) -> None:
        say(HOSTILE)
        raise UsageError(f"no such file: {HOSTILE}")

    assert run_command(main, []) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == (f"{SHOWN}\n", f"error: no such file: {SHOWN}\n")
