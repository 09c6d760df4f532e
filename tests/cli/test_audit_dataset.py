"""`utils/audit_dataset.py`: output, files, and rejected arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine.audit.run as audit
from engine.audit.probes import PROBES
from utils.command import run_command
from utils.media.writer import write_clip

SCRIPT = Path(__file__).resolve().parents[2] / "utils" / "audit_dataset.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command in this process."""
    # Importing the script replaces the first entry of sys.path; this entry is added for that and removed afterwards.
    monkeypatch.syspath_prepend(str(SCRIPT.parents[1]))
    from utils.audit_dataset import main

    def run_it(*arguments: object):
        try:
            code = run_command(main, [str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run_it


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["video_name,target"]
    for number in range(8):
        frames = [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(6)]
        write_clip(tmp_path / f"{number}.mp4", frames, 25, rng.normal(0, 0.1, 3840).astype(np.float32), 16_000)
        lines.append(f"{number}.mp4,{number % 2}")
    lines.append("absent.mp4,1")
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_audit_prints_a_table_and_writes_json(run, clips, monkeypatch):
    selected = ("container: all facts", "duration", "trailing silence", "random encoder on frames")
    monkeypatch.setattr(audit, "PROBES", tuple(probe for probe in PROBES if probe.name in selected))
    code, out, _ = run(
        "--labels", clips / "labels.csv", "--video_dir", clips, "--output", clips / "out" / "audit.json",
        "--workers", 1, "--remedy", "fixed_window", "--quiet",
    )  # fmt: skip
    assert code == 0
    rows = json.loads((clips / "out" / "audit.json").read_text(encoding="utf-8"))
    controls = ["audio swapped between reals (control)", "permuted labels (control)"]
    assert [row["probe"] for row in rows] == [*selected, *controls]
    assert all({"probe", "auc", "low", "high", "verdict", "remedy"} <= set(row) for row in rows)
    assert rows[0]["n_clips"] == 8 and rows[0]["n_left_out"] == 1
    assert rows[0]["after"]["remedies"] == ["fixed_window"]
    assert "too few clips to tell" in out and "container: all facts" in out and "after" in out
    assert not any(row["verdict"] in ("shortcut", "nothing found") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "absent.csv", "--video_dir", "."), "label file does not exist"),
        (("--labels", "labels.csv", "--video_dir", "absent"), "--video_dir is not a folder"),
        (("--labels", "labels.csv", "--video_dir", ".", "--group", "person"), "no column 'person'"),
        (("--labels", "labels.csv", "--video_dir", ".", "--remedy", "pray"), "no remedy 'pray'"),
        (("--labels", "labels.csv"), "--video_dir"),
        (("--labels", "labels.csv", "--video_dir", ".", "--workers", "-1"), "--workers"),
    ],
)
def test_wrong_usage_gives_one_sentence(run, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "labels.csv").write_text("video_name,target\na.mp4,0\nb.mp4,1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2 and message in err and "Traceback" not in err


def test_help_works_from_another_directory(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0 and "--remedy" in done.stdout
