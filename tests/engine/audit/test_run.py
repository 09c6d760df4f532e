"""Audit of tiny clips: it finds only a planted shortcut, and the mitigation removes it."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset.labels import read_labels
from engine.audit import AuditOptions, mitigations, run, run_audit
from engine.audit.audit_text import format_audit
from engine.audit.findings import HOLDS, INSIDE, NOTHING, SHORTCUT
from engine.audit.probes import PROBES
from engine.report.inputs import ReportInputs
from utils.errors import UsageError, WorkError
from utils.media.writer import write_clip

RATE_HZ = 16_000
GROUPS = 24
PLANTED_S = 0.03
ALL, GAP = "container: all facts", "audio minus video duration"
UNPLANTED = ("container: codecs", "loudness", "random encoder on mel")
KEYS = {
    "probe", "auc", "low", "high", "verdict", "remedy", "explanation", "reach", "random", "within", "medians", "n_clips",
    "n_left_out", "n_groups",
}  # fmt: skip


def write_set(folder: Path) -> None:
    """Write real-fake pairs that differ only in their noise and in the fake's audio being 30 ms longer."""
    rng = np.random.default_rng(0)
    rows = []
    for group in range(GROUPS):
        n_frames, colour = int(rng.integers(10, 16)), rng.integers(40, 200, 3)
        for target in (0, 1):
            name = f"{group:02d}-{rng.integers(1 << 32):08x}.mp4"
            frames = [np.clip(rng.normal(colour, 20, (32, 32, 3)), 0, 255).astype(np.uint8) for _ in range(n_frames)]
            length = round((n_frames / 25 + PLANTED_S * target + rng.normal(0, 0.002)) * RATE_HZ)
            write_clip(folder / name, frames, 25, rng.normal(0, rng.uniform(0.02, 0.2), length), RATE_HZ)
            rows.append((name, target, f"g{group}"))
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("video_name", "target", "group"), *rows])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    write_set(folder)
    return folder, read_labels(folder / "labels.csv")


def measure_here(function, tasks, *, workers, timeout_s):
    """Replace `run_in_workers` without starting processes, which would take longer than the tests."""
    for task in tasks:
        yield task, function(task), ""


@pytest.fixture(scope="module", autouse=True)
def fast_audit():
    """Measure in this process, re-encode to fewer pixels, and run only the probes under test."""
    selected = (ALL, GAP, *UNPLANTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "PROBES", tuple(probe for probe in PROBES if probe.name in selected))
        patch.setattr(run, "run_in_workers", measure_here)
        patch.setattr(mitigations, "RE_ENCODED_SIZE_PX", 48)
        yield


@pytest.fixture(scope="module")
def audited(clips):
    folder, labels = clips
    return {
        row["probe"]: row for row in run_audit(labels, folder, AuditOptions(mitigations=("re_encode",), quiet=True))
    }


def test_planted_gap_is_found_inside_unseen_groups(audited):
    row = audited[GAP]
    assert row["auc"] > 0.95 and row["verdict"] == SHORTCUT and row["reach"] == INSIDE
    assert row["remedy"].startswith("re_encode") and row["n_groups"] == GROUPS and row["n_clips"] == 2 * GROUPS
    gap = row["medians"]["gap_s"]
    assert gap["fake"] - gap["real"] == pytest.approx(PLANTED_S, abs=0.003)
    assert audited[ALL]["verdict"] == SHORTCUT


def test_mitigation_removes_the_shortcut(audited):
    after = audited[GAP]["after"]
    assert after["remedies"] == ["re_encode"] and after["verdict"] == NOTHING
    assert after["auc"] < 0.7


def test_other_probes_find_nothing_and_controls_hold(audited):
    assert {name: audited[name]["verdict"] for name in UNPLANTED} == dict.fromkeys(UNPLANTED, NOTHING)
    controls = [row for name, row in audited.items() if "control" in name]
    assert [row["verdict"] for row in controls] == [HOLDS, HOLDS]


def test_rows_have_the_documented_keys_and_can_be_printed(audited):
    rows = list(audited.values())
    assert all(set(row) - {"after"} == KEYS for row in rows)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    ReportInputs(title="audit", metrics={}, audit=rows)
    text = format_audit(rows)
    assert "Carries over to clips of unseen groups: " in text and "Mitigation: re_encode" in text
    assert all(row["probe"] in text and row["verdict"] in text for row in rows)


def test_set_without_shortcut_has_no_finding(clips, monkeypatch):
    folder, labels = clips
    # Labels are swapped in random groups, so reals have the longer audio as often as fakes.
    flips = np.repeat(np.random.default_rng(5).integers(0, 2, GROUPS), 2)
    honest = labels.assign(target=np.abs(labels["target"] - flips))
    monkeypatch.setattr(run, "PROBES", tuple(probe for probe in PROBES if probe.name in (ALL, GAP)))
    rows = run_audit(honest, folder, AuditOptions(quiet=True))
    gap = next(row for row in rows if row["probe"] == GAP)
    assert gap["verdict"] == NOTHING and gap["remedy"] == "" and gap["low"] < 0.5
    assert [row["probe"] for row in rows if row["verdict"] == SHORTCUT] == []


def test_unmeasurable_clips_are_counted_by_reason(clips, caplog):
    _, labels = clips
    with caplog.at_level(logging.WARNING), pytest.raises(WorkError, match="both classes"):
        run_audit(labels, Path("/nowhere"), AuditOptions(quiet=True))
    assert "48 of 48 clips could not be measured: 48 missing_file" in caplog.text


def test_invalid_labels_and_options_are_rejected(clips):
    folder, labels = clips
    with pytest.raises(UsageError, match="no column 'person'"):
        run_audit(labels, folder, AuditOptions(group="person"))
    with pytest.raises(UsageError, match="one class"):
        run_audit(labels[labels["target"] == 1], folder)
    with pytest.raises(UsageError, match="no remedy"):
        run_audit(labels, folder, AuditOptions(mitigations=("x",)))


def test_large_set_is_sampled_by_whole_groups(caplog):
    labels = pd.DataFrame({"video_name": [f"{i}.mp4" for i in range(90)], "target": [0.0, 1.0, 1.0] * 30})
    labels["source"] = [f"s{i // 3}" for i in range(90)]
    drawn = run.select_clips(labels, AuditOptions(max_clips=30))
    assert len(drawn) == 30 and set(drawn.groupby("source").size()) == {3}
    own = run.select_clips(labels.assign(source=""), AuditOptions())
    assert own["_unit"].nunique() == 90
    run.select_clips(labels.drop(columns="source"), AuditOptions())
    assert "each clip is treated as its own group" in caplog.text
