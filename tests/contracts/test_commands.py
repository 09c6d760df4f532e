"""All commands: shared options are defined identically, and every module provides the same parser functions."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import pytest

from dataset.workers import worker_settings
from tests.support import REPOSITORY

SCRIPTS = [
    "main.py",
    "inference.py",
    "app.py",
    *(f"utils/{path.name}" for path in sorted((REPOSITORY / "utils").glob("*.py"))),
]
COMMANDS = [script for script in SCRIPTS if "\nif __name__" in (REPOSITORY / script).read_text(encoding="utf-8")]
LONG = [
    "main.py",
    "inference.py",
    *(f"utils/{name}.py" for name in (
        "audit_dataset", "extract_ffdv", "make_demo_set", "make_pseudo_fakes", "make_splits", "robustness", "run_demo",
        "run_experiments", "train_experts",
    )),
]  # fmt: skip
SHARED = ("--config", "--set", "--workers", "--quiet", "--output", "--batch_size", "--device")


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """Restore `sys.path`, whose first entry is changed when a command is imported."""
    monkeypatch.setattr(sys, "path", [str(REPOSITORY), *sys.path])


def parser_of(script: str) -> argparse.ArgumentParser:
    return importlib.import_module(script.removesuffix(".py").replace("/", ".")).build_parser()


def option(script: str, name: str) -> argparse.Action | None:
    return parser_of(script)._option_string_actions.get(name)


def test_commands_are_found():
    assert len(COMMANDS) >= 14 and set(LONG) <= set(COMMANDS)


@pytest.mark.parametrize("script", COMMANDS)
def test_command_has_a_parser_with_description_and_help(script):
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    assert callable(module.parse_arguments) and callable(module.main)
    parser = module.build_parser()
    assert parser.description == module.__doc__
    assert all(action.help for action in parser._actions)


@pytest.mark.parametrize("name", SHARED)
def test_shared_options_are_defined_identically(name):
    found = {script: action for script in COMMANDS if (action := option(script, name)) is not None}
    assert len(found) >= 2
    assert len({(type(action), action.nargs) for action in found.values()}) == 1
    if name != "--output":
        assert len({action.help.partition("(default")[0].partition(";")[0] for action in found.values()}) == 1


@pytest.mark.parametrize("script", LONG)
def test_long_running_commands_have_workers_and_quiet(script):
    assert option(script, "--workers") is not None and option(script, "--quiet") is not None


@pytest.mark.parametrize("script", [script for script in COMMANDS if option(script, "--set")])
def test_set_takes_several_values_and_is_repeatable(script):
    parser = parser_of(script)
    required = ["a.yml"] if script == "utils/run_experiments.py" else []
    arguments = parser.parse_args([*required, "--set", "a=1", "b=2", "--set", "c=3"])
    assert arguments.set == ["a=1", "b=2", "c=3"]


@pytest.mark.parametrize("script", [script for script in COMMANDS if option(script, "--workers")])
@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_invalid_worker_count_gives_one_sentence(script, value, capsys):
    with pytest.raises(SystemExit) as ended:
        parser_of(script).parse_args(["--workers", value])
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and printed.startswith("error: argument --workers: ") and printed.count("\n") == 1


def test_worker_option_sets_extraction_and_loading():
    assert worker_settings(None) == []
    assert worker_settings(3) == ["extraction.workers=3", "data.workers=3"]
    extraction, loading = worker_settings(0)
    assert extraction == "extraction.workers=0" and int(loading.removeprefix("data.workers=")) >= 1


@pytest.mark.parametrize("script", COMMANDS)
def test_commands_with_config_have_set(script):
    assert option(script, "--config") is None or option(script, "--set") is not None


def test_every_command_file_exists():
    assert all(Path(REPOSITORY / script).is_file() for script in COMMANDS)
