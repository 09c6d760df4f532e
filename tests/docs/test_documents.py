"""Documents name commands, options and files that exist."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("checkpoint/*.md")])
TESTED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:python3?|\.venv/bin/python)\s+((?:utils/)?\w+\.py)\b(.*)")


def line_of(text: str, offset: int) -> int:
    """Return the 1-based line number of a character offset."""
    return text.count("\n", 0, offset) + 1


def options_of(script: str) -> set[str]:
    """Return the option strings of a command's own argument parser.

    The parser is taken when the command calls `parse_args`, hence the module needs no particular function for it.
    """
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    found: list[argparse.ArgumentParser] = []

    def capture(parser: argparse.ArgumentParser, *_args: object, **_kwargs: object) -> None:
        found.append(parser)
        raise SystemExit(0)

    name = next(name for name in ("parse_arguments", "parse_args", "main") if hasattr(module, name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", capture)
        patch.setattr("sys.argv", [script])
        with pytest.raises(SystemExit):
            getattr(module, name)([])
    assert found, f"{script} never parses its arguments"
    return {option for parser in found for option in parser._option_string_actions}


def commands(path: Path) -> list[tuple[str, str, str]]:
    """Return (place, script, rest) for each Python command of a document, in fences and in code spans."""
    text = path.read_text(encoding="utf-8")
    spans = [(match.start(2), match.group(2)) for match in FENCE.finditer(text)]
    # Fences are blanked, with their lines kept, before code spans are matched.
    prose = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)
    spans += [(match.start(1), match.group(1)) for match in re.finditer(r"`([^`]+)`", prose)]
    return [
        (f"{path.relative_to(ROOT)}:{line_of(text, start + match.start())}", match.group(1), match.group(2))
        for start, block in spans
        for match in COMMAND.finditer(block)
    ]


@pytest.mark.parametrize("path", TESTED, ids=lambda path: path.name)
def test_commands_of_documents_exist_with_their_options(path):
    faults = []
    for place, script, rest in commands(path):
        if not (ROOT / script).is_file():
            faults.append(f"{place}: no command {script}")
            continue
        options = options_of(script)
        used = set(re.findall(r"(?<![\w-])--\w+", rest.split("#")[0]))
        faults += [f"{place}: {script} has no option {option}" for option in sorted(used - options)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", TESTED, ids=lambda path: path.name)
def test_make_targets_of_documents_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    text = path.read_text(encoding="utf-8")
    named = re.finditer(r"(?:`|^|&& )make ([a-z]+)", text, re.M)
    faults = [
        f"{path.relative_to(ROOT)}:{line_of(text, match.start())}: no target {match.group(1)}"
        for match in named
        if match.group(1) not in targets
    ]
    assert not faults, "\n".join(faults)


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a Markdown file get on common hosting sites."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_point_to_files_and_headings(path):
    text, faults = path.read_text(encoding="utf-8"), []
    for match in LINK.finditer(text):
        target, _, anchor = match.group(1).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = f"{path.relative_to(ROOT)}:{line_of(text, match.start())}"
        file = path.parent / target if target else path
        if not file.exists():
            faults.append(f"{place}: no file {target}")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            faults.append(f"{place}: no heading {anchor} in {file.name}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", TESTED, ids=lambda path: path.name)
def test_python_blocks_compile(path):
    for match in FENCE.finditer(path.read_text(encoding="utf-8")):
        if match.group(1) == "python":
            compile(match.group(2), path.name, "exec")
