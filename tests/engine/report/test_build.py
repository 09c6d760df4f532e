"""The whole page: complete and minimal inputs, hostile text, no network access, size."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.report import ReportInputs, write_report
from engine.report.build import render_report
from tests.engine.report.samples import full_inputs, history, metrics, predictions
from utils.metrics.summary import summarise

SIZE_LIMIT_BYTES = 600_000
VOID = {"meta", "link", "br", "wbr", "img", "hr", "input"}


class Outline(HTMLParser):
    """Parser that collects tags, ids, text and links, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the element and its attributes."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a self-closed SVG element."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Check that the end tag matches the innermost open element."""
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        """Collect the visible text, without the stylesheet."""
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def outline(page: str) -> Outline:
    """Parse a page and check that it is well formed, with unique ids and valid internal links."""
    parsed = Outline()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    targets = [value[1:] for name, value in parsed.attributes if name == "href" and value.startswith("#")]
    assert set(targets) <= set(parsed.ids)
    return parsed


def text_of(page: str) -> str:
    """Return the text of a page with white space collapsed."""
    return " ".join("".join(outline(page).words).split())


def downloads(page: str) -> dict[str, str]:
    """Return file name -> content of every download on the page."""
    found = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8;base64,([^"]+)"', page)
    return {name: base64.b64decode(content).decode() for name, content in found}


EMPTY = {
    "no metrics": ReportInputs("run", {}),
    "nothing but nulls": ReportInputs(
        "run", {"test": {key: None for key in metrics()} | {"reasons": {"auc": "the labels have no target"}}}
    ),
    "nan and infinity": ReportInputs("run", {"test": metrics(auc={"value": float("nan")}, eer=float("inf"))}),
    "one class": ReportInputs("run", {"test": metrics()}, {"test": predictions(n_real=0)}),
    "zero scored": ReportInputs("run", {"test": metrics(coverage=0.0)}, {"test": predictions(4, 4, unscored=8)}),
    "no rows": ReportInputs("run", {"test": metrics()}, {"test": predictions(1, 1, unscored=0).iloc[:0]}),
    "no targets": ReportInputs("run", {"test": metrics()}, {"test": predictions().assign(target=np.nan)}),
    "no target column": ReportInputs("run", {"test": metrics()}, {"test": predictions().drop(columns="target")}),
    "one real, one fake": ReportInputs("run", {"test": metrics()}, {"test": predictions(1, 1, unscored=0)}),
    "score without logit": ReportInputs("run", {"test": metrics()}, {"test": predictions().drop(columns="logit")}),
    "columns of text": ReportInputs("run", {"test": metrics()}, {"test": predictions().astype(str)}),
    "one epoch": ReportInputs("run", {"val": metrics("val")}, history=history(1)),
    "history without figures": ReportInputs(
        "run", {"val": metrics("val")}, history=[{"epoch": 1, "val_auc": float("nan")}]
    ),
    "empty audit and suite": ReportInputs(
        "run", {"test": metrics()}, audit=[], leakage={}, robustness=pd.DataFrame(columns=["family", "severity", "auc"])
    ),
}


@pytest.mark.parametrize("inputs", [full_inputs(), *EMPTY.values()], ids=["full", *EMPTY])
def test_any_input_gives_a_well_formed_page_without_nan(inputs: ReportInputs, tmp_path: Path) -> None:
    path = write_report(tmp_path / "new" / "report.html", inputs)
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < SIZE_LIMIT_BYTES
    assert page.lower().startswith("<!doctype html>")
    words = text_of(page)
    assert not re.search(r"\b(nan|inf|infinity|None|Undefined)\b", words)
    assert "nan" not in "".join(re.findall(r' d="[^"]*"', page))
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("inputs", [full_inputs(), *EMPTY.values()], ids=["full", *EMPTY])
def test_page_makes_no_network_requests(inputs: ReportInputs) -> None:
    page = render_report(inputs)
    for name, value in outline(page).attributes:
        if name in {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}:
            assert value.startswith(("#", "data:")), (name, value)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_computed_metrics_fill_every_table() -> None:
    frame = predictions().assign(modality="video", group=lambda rows: rows.index // 2)
    for name, rows in {
        "all": frame,
        "reals only": frame[frame["target"] == 0],
        "no targets": frame.assign(target=-1),
    }.items():
        summary = json.loads(json.dumps(summarise(rows, split="test", bootstrap=50)))
        words = text_of(render_report(ReportInputs("run", {"test": summary}, {"test": rows})))
        assert "not recorded in metrics.json" not in words, name
        assert ("Per modality" in words and "groups" in words) == (name == "all")


def test_headline_shows_last_split_with_interval_and_coverage() -> None:
    words = text_of(render_report(full_inputs()))
    assert "AUC on test" in words
    assert "0.841" in words
    assert "95 % interval 0.781 to 0.896" in words
    assert "Coverage 98 %" in words
    assert "commit 0123456789ab + changes" in words


def test_two_thresholds_are_shown_with_their_error_rates() -> None:
    rates = {"false_alarms": 0.2, "missed": 0.05, "inconclusive": {"real": 0.3, "fake": 0.4}}
    two = metrics(thresholds={"fake": 0.47, "real": 0.2, **rates})
    words = text_of(render_report(ReportInputs("run", {"test": two}, {"test": predictions()})))
    assert "5 % of fakes called real; inconclusive: 30 % of real clips" in words
    assert "fakes with a score below 0.200, real clips with 0.470 or more" in words
    one = metrics(thresholds={"fake": 0.47, "real": 0.47, **rates})
    for summary in (metrics(), one, metrics(thresholds=None)):
        page = render_report(ReportInputs("run", {"test": summary}, {"test": predictions()}))
        assert "Real threshold" not in page and "at the threshold 0.470" in page


def test_null_metrics_show_their_reason() -> None:
    words = text_of(render_report(full_inputs()))
    assert words.count("only 60 real clips") == 3
    assert "no fake clips" in words
    page = render_report(ReportInputs("run", {"test": {"auc": None, "reasons": {"auc": "no real clips"}}}))
    assert "no AUC" in text_of(page)
    assert "no real clips" in text_of(page)


def test_random_initialisation_is_shown() -> None:
    assert "Random initialisation." not in text_of(render_report(full_inputs()))
    random = ReportInputs("run", {"test": metrics(initialisation="random")})
    assert "Random initialisation." in text_of(render_report(random))


def test_missing_audit_and_robustness_show_their_commands() -> None:
    words = text_of(render_report(ReportInputs("run", {"test": metrics()})))
    assert "python utils/audit_dataset.py" in words
    assert "python utils/robustness.py" in words
    filled = text_of(render_report(full_inputs()))
    assert "python utils/audit_dataset.py" not in filled
    assert "python utils/robustness.py" not in filled


def test_every_drawing_has_a_label_and_a_download() -> None:
    page = render_report(full_inputs())
    for drawing in re.findall(r"<svg [^>]*role=\"img\"[^>]*>", page):
        assert "aria-label" in drawing
    names = set(downloads(page))
    assert {
        "roc.csv",
        "roc-low-fpr.csv",
        "det.csv",
        "scores.csv",
        "reliability.csv",
        "loss.csv",
        "val-auc.csv",
    } <= names
    assert {"per-type.csv", "missed-fakes.csv", "false-alarms.csv", "audit.csv", "robustness.csv"} <= names
    assert page.count("<caption") >= page.count("<table")


def test_headings_never_skip_a_level() -> None:
    levels = [int(tag[1]) for tag in outline(render_report(full_inputs())).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


HOSTILE = [
    "<script>alert(1)</script>.mp4",
    "\"><img src=x onerror='alert(1)'>.mp4",
    "=cmd|' /C calc'!A0.mp4",
    "@SUM(1+1).mp4",
    "+1+1.mp4",
    "\t=1+1.mp4",
    "a\u202egpj.exe\x00\n.mp4",
    "undecodable\udcff.mp4",
    "{{ 7 * 7 }}{% raw %}.mp4",
    "https://evil.example/a.mp4",
]


def hostile_inputs() -> ReportInputs:
    """Return inputs with hostile text in every field that a user controls."""
    frame = predictions(len(HOSTILE), len(HOSTILE), unscored=0)
    frame["video_name"] = HOSTILE * 2
    # Every clip is misclassified with full confidence, so all names are listed.
    frame["score"] = 1.0 - frame["target"]
    frame["logit"] = 9.0 - 18.0 * frame["target"]
    frame["type"] = frame["source"] = frame["reason"] = frame["video_name"]
    frame["<b>head</b>"] = 1.0
    name = HOSTILE[0]
    groups = {text: {"n": 1, "auc": 0.4} for text in HOSTILE}
    return replace(
        full_inputs(),
        title=name,
        metrics={name: metrics(name, per_type=groups, reasons={"tpr_at_fpr": name}, initialisation=f"random {name}")},
        predictions={name: frame},
        provenance={
            "command": name,
            "config_yaml": "x: </pre>" + name,
            "commit": name,
            name: name,
            "versions": {name: name},
        },
        audit=[
            {"probe": text, "auc": 0.7, "low": 0.6, "high": 0.8, "verdict": text, "remedy": text} for text in HOSTILE
        ],
        robustness=pd.DataFrame({"family": HOSTILE, "severity": HOSTILE, "auc": 0.7}),
        leakage={text: [(text, text)] for text in HOSTILE},
    )


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    page = write_report(tmp_path / "report.html", hostile_inputs()).read_text(encoding="utf-8")
    parsed = outline(page)
    assert not {"script", "img"} & set(parsed.tags)
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert "\u202e" not in page and "\x00" not in page
    assert "{{ 7 * 7 }}" in page
    assert "<script>alert(1)</script>.mp4" in "".join(parsed.words)


def test_downloads_contain_no_formula() -> None:
    for name, content in downloads(render_report(hostile_inputs())).items():
        for line in content.splitlines():
            for cell in line.split(","):
                assert not re.match(r"\"?[=@\t]|\"?[+-][^0-9]", cell), (name, cell)


def test_page_of_a_large_run_stays_below_the_size_limit(tmp_path: Path) -> None:
    frame = predictions(10_000, 20_000)
    types = {f"generator {index}": {"n": 10, "auc": 0.7} for index in range(500)}
    inputs = replace(
        full_inputs(),
        metrics={"test": metrics(per_type=types)},
        predictions={"val": frame, "test": frame},
        history=history(500),
    )
    assert write_report(tmp_path / "report.html", inputs).stat().st_size < SIZE_LIMIT_BYTES
