"""Building a demo set: labels, repeatability, resuming, and errors."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

from dataset.demo_set.build import LABEL_COLUMNS, LABEL_FILES, MANIFEST, UNFINISHED, build_demo_set
from dataset.demo_set.plan import DemoSettings, plan_demo_set
from utils.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


def _labels(root, split):
    with open(root / LABEL_FILES[split], encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        assert tuple(reader.fieldnames) == LABEL_COLUMNS
        return list(reader)


def _bytes(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_labels_match_the_files(small_set, small_settings):
    total = 0
    for split in LABEL_FILES:
        rows = _labels(small_set, split)
        total += len(rows)
        assert sorted(row["video_name"] for row in rows) == sorted(p.name for p in (small_set / split).iterdir())
        assert all(row["target"] == ("0" if row["type"] == "real" else "1") for row in rows)
        assert all(bool(row["start_s"]) == bool(row["end_s"]) == (row["type"] == "splice") for row in rows)
    assert total == small_settings.clips


def test_groups_stay_in_their_split(small_set):
    groups = [{row["group"] for row in _labels(small_set, split)} for split in LABEL_FILES]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_clips_are_h264_and_aac_of_the_planned_length(small_set, small_settings):
    for group in plan_demo_set(small_settings)[::8]:
        for clip in group.clips:
            with av.open(str(small_set / group.split / clip.name)) as container:
                video, audio = container.streams.video[0], container.streams.audio[0]
                assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
                assert (video.frames, video.average_rate) == (group.n_frames, group.fps)
                seconds = float(audio.duration * audio.time_base)
                assert seconds == pytest.approx(group.n_frames / group.fps, abs=1e-3)


def test_same_settings_give_the_same_bytes_with_any_number_of_workers(tmp_path, tiny_settings):
    build_demo_set(tmp_path / "one", tiny_settings, workers=1, progress=False)
    build_demo_set(tmp_path / "two", tiny_settings, workers=2, progress=False)
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_interrupted_build_is_completed_and_a_complete_one_is_kept(tmp_path, tiny_settings):
    root = tmp_path / "data"
    build_demo_set(root, tiny_settings, progress=False)
    whole = _bytes(root)
    record = json.loads((root / MANIFEST).read_text())
    record.pop("counts")
    (root / MANIFEST).unlink()
    (root / UNFINISHED).write_text(json.dumps(record))
    for name in list(whole)[3:6]:
        (root / name).unlink(missing_ok=True)
    kept = next(path for path in (root / "trainset").iterdir())
    before = kept.stat().st_mtime_ns
    assert build_demo_set(root, tiny_settings, progress=False)
    assert _bytes(root) == whole
    assert kept.stat().st_mtime_ns == before
    assert not build_demo_set(root, tiny_settings, progress=False)


def test_features_extracted_into_a_finished_set_are_ignored(tmp_path, tiny_settings):
    root = tmp_path / "data"
    build_demo_set(root, tiny_settings, progress=False)
    (root / "trainset_raw").mkdir()
    assert not build_demo_set(root, tiny_settings, progress=False)


def test_unknown_files_and_other_settings_are_rejected(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"holiday\.mp4"):
        build_demo_set(tmp_path, DemoSettings(clips=24), progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]
    other = tmp_path / "other"
    other.mkdir()
    (other / UNFINISHED).write_text(json.dumps({"format_version": 1, "clips": 99}))
    with pytest.raises(UsageError, match="99 instead of 24"):
        build_demo_set(other, DemoSettings(clips=24), progress=False)


@pytest.mark.parametrize(
    "arguments",
    [["--clips", "3"], ["--clips", "many"], ["--seed", "-1"], ["--workers", "-1"], ["--unknown"]],
)
def test_command_rejects_invalid_arguments_with_exit_code_2(tmp_path, arguments):
    command = [sys.executable, str(ROOT / "utils" / "make_demo_set.py"), "--output", str(tmp_path / "data"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_command_does_not_load_heavy_libraries():
    code = "import sys, dataset.demo_set.build; print(sorted({'torch', 'librosa', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
