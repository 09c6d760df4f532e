"""Names in backticks exist: code, files, config keys, columns and reason codes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import BaseModel

from engine.config import RunConfig
from models import MODELS
from models.experts import EXPERTS
from tests.docs.code_index import Index, build_index
from tests.docs.names import Mention, Resolver, markdown_mentions, source_mentions

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = set((Path(__file__).parent / "foreign_names.txt").read_text(encoding="utf-8").split())


def repository_files() -> list[str]:
    """Return tracked and new files below the root, without ignored ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this copy is not a git clone")
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def keys_of(section: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the dotted keys of a config section and its nested sections."""
    keys: set[str] = set()
    for name, field in section.model_fields.items():
        keys.add(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= keys_of(field.annotation, f"{prefix}{name}.")
    return keys


@pytest.fixture(scope="module")
def index() -> Index:
    return build_index(ROOT, repository_files())


def config_keys() -> set[str]:
    """Return the dotted keys of a run config, including those of all models and experts."""
    keys = keys_of(RunConfig).union(*(keys_of(MODELS.get(name).config_class, "model.") for name in MODELS))
    for name in EXPERTS:
        keys |= {f"model.experts.{name}", *keys_of(EXPERTS.get(name).config_class, f"model.experts.{name}.")}
    return keys | {key.split(".", 1)[-1] for key in keys}


@pytest.fixture(scope="module")
def resolver(index) -> Resolver:
    return Resolver(index, config_keys(), FOREIGN)


def faults(mentions: Iterable[Mention], resolver: Resolver) -> list[str]:
    return [f"{mention.place}: no {name}" for mention in mentions for name in resolver.unresolved(mention)]


def test_names_in_docstrings_and_comments_exist(index, resolver):
    found = [fault for module in index.modules.values() for fault in faults(source_mentions(index, module), resolver)]
    assert not found, "\n".join(found)


def test_names_in_documents_exist(index, resolver):
    documents = [Path(name) for name in sorted(index.files) if re.search(r"\.md$", name)]
    found = [fault for path in documents for fault in faults(markdown_mentions(index, path), resolver)]
    assert not found, "\n".join(found)


MODULE = '''
"""Write reports with `Report.write` to `report.html`; `LIMIT` rows, see `engine/report/page.py`."""

LIMIT = 3


class Report:
    """A report. `rows` are its rows."""

    def __init__(self, rows):
        self.rows = rows

    def write(self, path):
        """Write `rows` to `path` as `report.html`; `status` is a column. DOUBLED"""
        status = "status"
        column = f"seen_{path}"
        return column, open(path + "report.html"), status
'''


@pytest.fixture
def made(tmp_path):
    """Return a function that checks a small repository with the given docstring and document."""

    def check(docstring: str = "", document: str = "") -> list[str]:
        (tmp_path / "engine" / "report").mkdir(parents=True)
        (tmp_path / "engine" / "report" / "page.py").write_text(MODULE.replace("DOUBLED", docstring))
        (tmp_path / "README.md").write_text(document)
        index = build_index(tmp_path, ["engine/report/page.py", "README.md"])
        resolver = Resolver(index, {"train", "train.lr"}, {"np.cov"})
        found = faults(source_mentions(index, index.modules["engine.report.page"]), resolver)
        return found + faults(markdown_mentions(index, Path("README.md")), resolver)

    return check


EXISTING = [
    "`Report`", "`Report.write`", "`Report.write()`", "`Report.rows`", "`LIMIT`", "`engine.report.page`", "`report.page`",
    "`engine.report.page.Report.write`", "`engine/report/page.py`", "`engine/report`", "`page.py`", "`report.html`",
    "`train.lr`", "`status`",
    "`seen_voice`", "`np.cov`", "`Report(rows).write(path)`", "`a > b`", "``LIMIT``",
]  # fmt: skip
MISSING = [
    ("`facts_of`", "facts_of"),
    ("`facts_of()`", "facts_of"),
    ("``facts_of``", "facts_of"),
    ("`engine.report.charts`", "engine.report.charts"),
    ("`Report.read`", "Report.read"),
    ("`Report.read(path)`", "Report.read"),
    ("`Report(rows).read(path)`", "read"),
    ("`page.Chart`", "page.Chart"),
    ("`MAX_ROWS`", "MAX_ROWS"),
    ("`engine/report/charts.py`", "engine/report/charts.py"),
    ("`charts.py`", "charts.py"),
    ("`train.learning_rate`", "train.learning_rate"),
]


@pytest.mark.parametrize("text", EXISTING)
def test_checker_accepts_existing_names(made, text):
    assert made(text, text) == []


@pytest.mark.parametrize(("text", "name"), MISSING)
def test_checker_reports_location_and_name_of_unknown_names(made, text, name):
    assert made(text, f"Title\n\n{text}\n") == [f"engine/report/page.py:14: no {name}", f"README.md:3: no {name}"]


def test_checker_ignores_fenced_blocks(made):
    assert made(document="```bash\nmake `facts_of`\n```\n") == []
