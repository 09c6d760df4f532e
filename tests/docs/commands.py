"""Find the Python commands of documents and docstrings, and check their arguments with the commands' own parsers."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from engine.config import check_run_config, read_yaml_mapping
from utils.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"(?:python3?|\.venv/bin/python) +(-m +benchmarks\.\w+|(?:utils/)?\w+\.py)\b(.*)")
PLACEHOLDERS = {"N": "1", "S": "1", "K": "5", "X": "0.5", "SHARE": "1", "I/N": "1/2", "COL=VALUE": "a=b"}
SEPARATORS = re.compile(r"\s(?:\||&&|;|>|2>)\s.*")


@dataclass(frozen=True)
class Command:
    """A command in a document.

    Attributes:
        place: location as `file:line`.
        script: path of the script below the root, or `-m` and a module.
        rest: the text after the script.
        complete: whether it can be run as written; commands within a sentence may omit arguments.
    """

    place: str
    script: str
    rest: str
    complete: bool

    @property
    def module(self) -> ModuleType:
        """The command's module."""
        name = self.script.removeprefix("-m").strip() if self.script.startswith("-m") else self.script[:-3]
        return importlib.import_module(name.replace("/", "."))

    @property
    def is_synopsis(self) -> bool:
        """Whether brackets mark optional parts."""
        return bool(re.search(r"[\[(]", self.rest))


def line_of(text: str, offset: int) -> int:
    """Return the 1-based line number of a character offset."""
    return text.count("\n", 0, offset) + 1


def join_lines(text: str) -> str:
    """Join lines that end in a backslash with the next one. Line numbers change only within a command."""
    return re.sub(r"\\\n( *)", r"  \1", text)


def blank_fences(text: str) -> str:
    """Replace fenced blocks by spaces. Lines keep their numbers."""
    return FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)


def document_commands(path: Path) -> Iterator[Command]:
    """Yield the Python commands of a document; those in fenced blocks come first."""
    text = path.read_text(encoding="utf-8")
    spans = [(match.start(3), match.group(3), True) for match in FENCE.finditer(text)]
    spans += [(match.start(1), match.group(1), False) for match in re.finditer(r"`([^`]+)`", blank_fences(text))]
    for start, block, complete in spans:
        for match in COMMAND.finditer(join_lines(block)):
            place = f"{path.relative_to(ROOT)}:{line_of(text, start + match.start())}"
            rest = re.sub(r"\s#\s.*", "", match.group(2)).replace("\\|", "|")
            yield Command(place, match.group(1), rest, complete)


def docstring_commands(path: Path, docstring: str) -> Iterator[Command]:
    """Yield the commands of a module's docstring. Two spaces separate a command from its description."""
    for line, text in enumerate(docstring.split("\n"), start=1):
        if match := COMMAND.match(text.strip()):
            rest = re.split(r"\s{2,}", match.group(2))[0]
            yield Command(f"{path.relative_to(ROOT)}:{line}", match.group(1), rest, True)


def choices(rest: str) -> list[str]:
    """Return the variants of a synopsis, with all optional parts and one variant per alternative.

    `[--policy a|b]` gives two variants, and so does `(--video F | --folder D)`.
    """
    groups = re.findall(r"[\[(][^\[\]()]* \| [^\[\]()]*[\])]", rest)
    count = max(
        [len(group.split(" | ")) for group in groups]
        + [len(word.split("|")) for word in re.findall(r"\S*\w\|\w\S*", rest)],
        default=1,
    )
    variants = []
    for number in range(count):
        variant = rest
        for group in groups:
            options = group[1:-1].split(" | ")
            variant = variant.replace(group, options[number % len(options)])
        variant = re.sub(r"[\[\]()]", "", variant)
        words = [word.split("|")[number % len(word.split("|"))] for word in variant.split() if word != "..."]
        variants.append(" ".join(PLACEHOLDERS.get(word, word) for word in words))
    return variants


def parse(command: Command, arguments: list[str]) -> tuple[argparse.Namespace | None, str]:
    """Parse arguments with the command's own parser and return the result, or `None` and its message."""
    stream = io.StringIO()
    try:
        with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(stream):
            return command.module.build_parser().parse_args(arguments), ""
    except SystemExit:
        return None, stream.getvalue().strip()


def default_config(command: Command) -> str:
    """Return the config file that the help of `--config` names, else the file of a run."""
    found = re.search(r"cfg/\w+\.yml", command.module.build_parser().format_help())
    return found.group(0) if found else "cfg/cfg.yml"


def config_faults(command: Command, parsed: argparse.Namespace) -> list[str]:
    """Return the errors in the config files and `--set` overrides of a command."""
    named = getattr(parsed, "configs", None) or [getattr(parsed, "config", None) or default_config(command)]
    files = (
        [path for name in named for path in sorted(ROOT.glob(name))]
        if not command.is_synopsis
        else [ROOT / "cfg/cfg.yml"]
    )
    if not files:
        return [f"no config file {' '.join(named)}"]
    overrides: dict[Path, list[str]] = {path: [] for path in files}
    for override in getattr(parsed, "set", None) or []:
        prefix, _, rest = override.rpartition(":") if re.match(r"[\w-]+:", override) else ("", "", override)
        if rest.startswith(("a.b=", "A.B=")):
            continue
        chosen = [path for path in files if prefix in ("", path.stem)]
        if not chosen:
            return [f"no config {prefix}"]
        for path in chosen:
            overrides[path].append(rest)
    faults = []
    for path, given in overrides.items():
        try:
            check_run_config(read_yaml_mapping(path), given, where=path.name, check_model=True)
        except UsageError as error:
            faults.append(str(error))
    return faults


def faults_of(command: Command) -> list[str]:
    """Return the errors in a command: name, options, values, required arguments, configs and overrides."""
    if not command.script.startswith("-m") and not (ROOT / command.script).is_file():
        return [f"{command.place}: no command {command.script}"]
    texts = choices(command.rest) if command.is_synopsis else [SEPARATORS.sub("", command.rest)]
    faults = []
    for text in texts:
        parsed, message = parse(command, shlex.split(text))
        if parsed is not None:
            faults += config_faults(command, parsed)
        elif command.complete or command.is_synopsis or "are required" not in message:
            faults.append(message)
    return [f"{command.place}: {fault}" for fault in dict.fromkeys(faults)]
