"""Make targets, files and headings named in documents exist, and Python blocks run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import FENCE, ROOT, line_of
from tests.support import write_head

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("checkpoint/*.md")])
TESTED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("path", TESTED, ids=lambda path: path.name)
def test_make_targets_in_documents_exist(path):
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
    """Return the anchors that common hosting sites give to the headings of a Markdown file."""
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


def python_blocks() -> list:
    """Return (code, run) for each Python block in documents. Blocks marked `no-run` are only compiled."""
    return [
        pytest.param(match.group(3), "no-run" not in match.group(2), id=f"{path.name}:{line_of(text, match.start())}")
        for path in TESTED
        for text in [path.read_text(encoding="utf-8")]
        for match in FENCE.finditer(text)
        if match.group(1) == "python"
    ]


@pytest.mark.parametrize(("code", "run"), python_blocks())
def test_python_blocks_run(code, run, tmp_path):
    compile(code, "document", "exec")
    if not run:
        return
    clip = write_head(tmp_path / "clip.mp4")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").symlink_to(clip)
    (tmp_path / "checkpoint").symlink_to(ROOT / "checkpoint")
    # A separate process keeps the features and models that a block registers out of other tests.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
