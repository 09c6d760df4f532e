"""Control characters in names do not reach a terminal or a log."""

from __future__ import annotations

import logging

import pytest

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


@pytest.mark.parametrize("mark", ["\n", "\r", "\x85", "\u2028", "\u2029"])
def test_a_name_cannot_forge_a_line(mark: str, capsys) -> None:
    def main(_: object) -> None:
        raise UsageError(f"no such file: {name}")

    name = f"a{mark}error: forged.mp4"
    record = logging.LogRecord("log", logging.WARNING, "", 0, "%s: skipped", (name,), None)
    run_command(main, [])
    for text in (PrintableFormatter().format(record), capsys.readouterr().err):
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize("mark", ["\u061c", "\u200e", "\u200f", "\u202e", "\u2066"])
def test_marks_of_the_text_direction_are_escaped(mark: str) -> None:
    assert printable(f"a{mark}b").isascii()


def test_output_and_errors_of_commands_are_escaped(capsys) -> None:
    def main(_: object) -> None:
        say(HOSTILE)
        raise UsageError(f"no such file: {HOSTILE}")

    assert run_command(main, []) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == (f"{SHOWN}\n", f"error: no such file: {SHOWN}\n")
