"""`utils/extract_ffdv.py`: exit codes, messages, and the files left after a kill or Ctrl-C."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.command import run_command
from utils.extract_ffdv import main

COMMAND = Path(__file__).resolve().parents[2] / "utils" / "extract_ffdv.py"
MANY = 60


def call(*arguments: str) -> int:
    return run_command(main, [*map(str, arguments), "--quiet", "--workers", "1"])


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a call that must fail with one sentence; return its exit code and message."""
    try:
        code = call(*arguments)
    except SystemExit as leaving:
        code = int(leaving.code)
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1, message
    return code, message


def rows_of(root: Path) -> list[dict[str, str]]:
    with open(root / "trainset_raw" / "extraction.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def results(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return modification time and content of every feature file."""
    folder = root / "trainset_raw"
    files = [path for kind in ("audio_feature", "video_feature", "wav_file") for path in (folder / kind).rglob("*")]
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files if path.is_file()
    }


@pytest.fixture
def many(pristine_root: Path, tmp_path: Path) -> Path:
    """Write a data root of sixty clips, which are links to the eight training clips of `pristine_root`."""
    root = tmp_path / "many"
    (root / "trainset").mkdir(parents=True)
    for index in range(MANY):
        os.symlink(pristine_root / "trainset" / f"t{index % 8}.mp4", root / "trainset" / f"{index}.mp4")
    lines = ["video_name,target", *(f"{index}.mp4,{index % 2}" for index in range(MANY))]
    (root / "trainset_label.txt").write_text("\n".join(lines) + "\n")
    return root


def start(root: Path, ready: int) -> subprocess.Popen:
    """Start the command in a new session and wait until `ready` covariances are written."""
    process = subprocess.Popen(
        [sys.executable, COMMAND, "--data_root", str(root), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    folder = root / "trainset_raw" / "video_feature"
    deadline = time.monotonic() + 120
    while not folder.is_dir() or len(os.listdir(folder)) < ready:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate(timeout=5)
        time.sleep(0.002)
    return process


def test_labelled_splits_are_extracted_and_summarised(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--data_root", data_root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(";")[0] for line in lines] == [
        "trainset: 8 clips: 8 ok, 0 partial, 0 failed, 0 pending",
        "valset: 2 clips: 2 ok, 0 partial, 0 failed, 0 pending",
    ]
    assert not (data_root / "testset_raw").exists()
    assert call("--data_root", data_root, "--splits", "valset", "--shard", "1/2") == 0
    assert capsys.readouterr().out.startswith("valset: 1 clips: 1 ok")


def test_coverage_below_the_minimum_exits_1_after_writing_all_files(
    data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data_root / "valset" / "v0.mp4").unlink()
    code, message = fails_after_logs(capsys, "--data_root", data_root, "--splits", "valset", "--min_coverage", "0.9")
    assert code == 1 and message == "error: coverage below --min_coverage 0.9: valset 0.500\n"
    assert (data_root / "valset_raw" / "video_feature" / "v1.mp4.npy").is_file()
    assert call("--data_root", data_root, "--splits", "valset", "--min_coverage", "0.5") == 0


def test_no_extracted_clip_exits_1_after_writing_all_rows(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data_root / "valset" / "v0.mp4").write_bytes(b"no video")
    (data_root / "valset" / "v1.mp4").unlink()
    code, message = fails_after_logs(capsys, "--data_root", data_root, "--splits", "valset")
    assert code == 1
    expected = "none of the 2 clips could be extracted; the reasons are in the extraction.csv of each split"
    assert message == f"error: {expected}\n"
    with open(data_root / "valset_raw" / "extraction.csv", newline="", encoding="utf-8") as stream:
        assert [row["reason"] for row in csv.DictReader(stream)] == ["unreadable", "missing_file"]
    assert call("--data_root", data_root) == 0


def test_names_without_suffix_get_a_hint_and_keep_their_rows(
    data_root: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (data_root / "valset_label.txt").write_text("video_name,target\nv0,0\nv1.mp4,1\n")
    assert call("--data_root", data_root, "--splits", "valset") == 0
    assert "'v0', did you mean 'v0.mp4'?" in caplog.text
    assert "1 ok, 0 partial, 1 failed" in capsys.readouterr().out


def test_invalid_targets_are_ignored_with_a_warning(data_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data_root / "valset_label.txt").write_text("video_name,target\nv0.mp4,fake\nv1.mp4,fake\n")
    assert call("--data_root", data_root, "--splits", "valset") == 0
    assert "every target is 'fake', so the clips count as unlabelled; a target is 1 (fake) or 0 (real)" in caplog.text


def fails_after_logs(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = call(*arguments)
    return code, capsys.readouterr().err.splitlines(keepends=True)[-1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--shard", "0/2"], "expected I/N"),
        (["--shard", "3/2"], "expected I/N"),
        (["--shard", "one"], "expected I/N"),
        (["--min_coverage", "1.5"], "between 0 and 1"),
        (["--min_coverage", "nan"], "between 0 and 1"),
        (["--splits", "trainsets"], "trainset"),
        (["--splits", "testset"], "label file does not exist"),
        (["--set", "extraction.worker=2"], "did you mean 'workers'?"),
        (["--set", "extraction.timeout_s=-1"], "extraction.timeout_s"),
        (["--config", "nowhere.yml"], "does not exist"),
        (["--workers", "many"], "invalid int value"),
        (["--wokers", "2"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_exits_2(
    data_root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    code, message = fails(capsys, "--data_root", str(data_root), *arguments)
    assert code == 2 and expected in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        ("video_name,target\n", "a header but no clip"),
        ("t0.mp4,1\n", "no header"),
        ("video_name,target\nt0.mp4,1\nt0.mp4,1\n", "duplicate"),
        ("video_name,target\nt0.mp4,7\nt1.mp4,1\n", "neither 0 nor 1"),
        ("video_name,target\n../valset/v0.mp4,1\n", "'..' part"),
        ("video_name,target\n/etc/passwd,1\n", "absolute"),
    ],
)
def test_bad_label_file_exits_2_and_writes_nothing(
    data_root: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    (data_root / "trainset_label.txt").write_text(content)
    code, message = fails(capsys, "--data_root", str(data_root))
    assert code == 2 and expected in message
    assert not (data_root / "trainset_raw").exists()


def test_empty_data_root_points_to_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        code, message = fails(capsys, "--data_root", str(root))
        assert code == 2 and "make demo" in message


def test_changed_feature_settings_are_rejected_and_named(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--data_root", data_root, "--splits", "valset") == 0
    capsys.readouterr()
    options = ("--data_root", str(data_root), "--splits", "valset", "--set", "features.audio.n_mels=64")
    code, message = fails(capsys, *options)
    assert code == 2 and "audio.n_mels: 128 stored, 64 requested" in message and "--overwrite" in message
    assert call(*options, "--overwrite") == 0


def test_data_root_is_read_literally_from_any_working_directory(
    pristine_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use names that YAML would parse as a number, a mapping or a comment, and another working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("2024", "a: b", "my data # 1"):
        shutil.copytree(pristine_root / "valset", tmp_path / name / "valset")
        shutil.copy(pristine_root / "valset_label.txt", tmp_path / name)
        assert call("--data_root", name) == 0
        assert (tmp_path / name / "valset_raw" / "video_feature" / "v1.mp4.npy").is_file()


def test_complete_clips_survive_a_kill(many: Path, tmp_path: Path) -> None:
    uninterrupted = Path(shutil.copytree(many, tmp_path / "uninterrupted", symlinks=True))
    process = start(many, ready=10)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    rows = rows_of(many)
    assert len(rows) == MANY, "all clips are listed from the start"
    left = results(many)
    waves = [name for name in left if name.startswith("wav_file")]
    whole = {Path(name).stem for name in waves} & {
        str(index)
        for index in range(MANY)
        if f"video_feature/{index}.mp4.npy" in left and f"audio_feature/{index}.mp4.jpg" in left
    }
    assert 9 <= len(whole) < MANY
    finished = {name: left[name] for name in left if Path(name).name.split(".")[0] in whole}

    assert call("--data_root", many) == 0
    after = results(many)
    assert {name: after[name] for name in finished} == finished, "complete clips are not extracted again"
    assert call("--data_root", uninterrupted) == 0
    expected = results(uninterrupted)
    assert {name: data for name, (_, data) in after.items()} == {name: data for name, (_, data) in expected.items()}
    for row, reference in zip(rows_of(many), rows_of(uninterrupted), strict=True):
        assert {**row, "seconds": ""} == {**reference, "seconds": ""}
    listing = sorted(path.name for path in (many / "trainset_raw").iterdir())
    assert listing == ["audio_feature", "extraction.csv", "features.json", "video_feature", "wav_file"]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_keeps_finished_clips(
    many: Path, number: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(many, ready=10)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"{word}: everything finished so far is kept" in message and "Traceback" not in message
    rows = rows_of(many)
    assert len(rows) == MANY and {row["status"] for row in rows} == {"ok", "pending"}
    done = [row["video_name"] for row in rows if row["status"] == "ok"]
    assert len(done) >= 9
    listing = sorted(path.name for path in (many / "trainset_raw").iterdir())
    assert listing == ["audio_feature", "extraction.csv", "features.json", "video_feature", "wav_file"]
    left = results(many)
    for name in done:
        assert {
            f"video_feature/{name}.npy",
            f"audio_feature/{name}.jpg",
            f"wav_file/{Path(name).stem}.wav",
        } <= left.keys()
    assert call("--data_root", many) == 0
    assert f"{MANY - len(done)} extracted now" in capsys.readouterr().out


def test_features_required_by_the_model_are_extracted(data_root: Path) -> None:
    model = 'model={"name": "av_experts", "experts": {"face": {}}}'
    assert call("--data_root", data_root, "--splits", "valset", "--set", model) == 0
    assert list((data_root / "valset_raw" / "face_feature").glob("*.npz"))
