"""`app.py`: arguments, missing packages, and addresses that cannot be used. `tests/engine/web` tests the page."""

from __future__ import annotations

import socket

import pytest

import app
from tests.support import one_sentence, random_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Write a checkpoint of an untrained model."""
    return str(random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.pth"))


def test_defaults_stay_on_this_machine():
    arguments = app.parse_arguments([])
    assert (arguments.host, arguments.port, arguments.checkpoint) == ("127.0.0.1", 7860, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], "--port: must be from 0 to 65535, not 70000"),
        (["--port", "many"], "--port: invalid"),
        (["--max_mb", "0"], "--max_mb: must be a positive number, not 0"),
        (["--max_mb", "nan"], "--max_mb: must be a positive number, not nan"),
        (["--max_minutes", "-1"], "--max_minutes"),
        (["--max_files", "0"], "--max_files: must be at least 1, not 0"),
        (["--share"], "unrecognized arguments: --share"),
    ],
)
def test_wrong_usage_gives_one_sentence(arguments, words, capsys):
    assert words in one_sentence(app.main, arguments, capsys)


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    assert "`make app` installs them" in one_sentence(app.main, [], capsys)


def test_missing_checkpoint_gives_one_sentence(capsys):
    pytest.importorskip("gradio", reason="gradio is not installed")
    assert "checkpoint does not exist: none.pth" in one_sentence(app.main, ["--checkpoint", "none.pth"], capsys)


def test_used_port_gives_one_sentence(checkpoint, capsys):
    pytest.importorskip("gradio", reason="gradio is not installed")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        sentence = one_sentence(app.main, ["--checkpoint", checkpoint, "--port", port], capsys)
    assert f"cannot use 127.0.0.1:{port}: Address already in use; choose another --host or --port" in sentence
