"""Extraction of a split: layout, skipping, retrying, shards, and what happens when it is interrupted by a fault."""

from __future__ import annotations

import csv
import json
import os
import shutil
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset.config import ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import ExtractionSummary, extract_split
from dataset.extraction_worker import ExtractionTask, extract_to_store
from dataset.manifest import COLUMNS, Shard, append_to_journal, read_rows
from dataset.splits import Split, open_split
from utils.errors import UsageError, WorkError
from utils.features.config import FeatureConfig
from utils.features.extract import extract_clip

CONFIG = ExtractionConfig(workers=1)
SMALL_K = FeatureConfig.model_validate({"video": {"top_k": 32}})


def split_of(root: Path, features: FeatureConfig = SMALL_K) -> Split:
    return open_split("trainset", root, LabelNames(), VideoDirs(), features)


def extract(
    root: Path, features: FeatureConfig = SMALL_K, config: ExtractionConfig = CONFIG, **options
) -> ExtractionSummary:
    return extract_split(split_of(root, features), config, quiet=True, **options)


def label(root: Path, *names: str) -> None:
    rows = [f'"{name}",1' for name in names]
    (root / "trainset_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")


def manifest(root: Path, name: str = "extraction.csv") -> list[dict[str, str]]:
    with open(root / "trainset_raw" / name, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def contents(root: Path) -> dict[str, bytes]:
    """Every file of the feature folder but the manifest, whose `seconds` differ from run to run."""
    folder = root / "trainset_raw"
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "extraction.csv")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def times(root: Path) -> dict[str, int]:
    return {
        name: (root / "trainset_raw" / name).stat().st_mtime_ns
        for name in contents(root)
        if not name.endswith((".json", ".csv"))
    }


@pytest.fixture(scope="module")
def extracted_once(pristine_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(pristine_root, tmp_path_factory.mktemp("extracted") / "data")
    assert extract(root).n_new == 8
    return root


@pytest.fixture
def extracted(extracted_once: Path, tmp_path: Path) -> Path:
    """An extracted copy of the tiny data root, file times included."""
    return Path(shutil.copytree(extracted_once, tmp_path / "extracted"))


def test_layout_and_contents_are_those_of_the_contract(extracted: Path) -> None:
    names = [f"t{index}.mp4" for index in range(8)]
    expected = {"features.json"}
    for name in names:
        expected |= {f"audio_feature/{name}.jpg", f"video_feature/{name}.npy", f"wav_file/{Path(name).stem}.wav"}
    assert set(contents(extracted)) == expected
    rows = manifest(extracted)
    assert list(rows[0]) == COLUMNS and [row["video_name"] for row in rows] == names
    assert {row["status"] for row in rows} == {"ok"} and {row["has_audio"] for row in rows} == {"1"}
    assert rows[0]["n_frames"] == "8" and rows[0]["fps"] == "25.000" and float(rows[0]["seconds"]) > 0

    folder = extracted / "trainset_raw"
    features = extract_clip(extracted / "trainset" / "t3.mp4", SMALL_K)
    covariance = np.load(folder / "video_feature" / "t3.mp4.npy", allow_pickle=False)
    assert covariance.shape == (32, 32) and covariance.dtype == np.float32
    np.testing.assert_array_equal(covariance, features.values["covariance"])
    assert (folder / "audio_feature" / "t3.mp4.jpg").read_bytes() == features.values["mel"]
    picture = cv2.imread(str(folder / "audio_feature" / "t3.mp4.jpg"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (256, 256) and picture.dtype == np.uint8
    with wave.open(str(folder / "wav_file" / "t3.wav")) as stored:
        assert (stored.getframerate(), stored.getnchannels(), stored.getsampwidth()) == (22050, 1, 2)
        assert stored.getnframes() / 22050 == pytest.approx(float(rows[3]["duration_s"]), abs=0.006)
    config = json.loads((folder / "features.json").read_text())
    assert config["fingerprint"] == SMALL_K.fingerprint() and config["features"]["video"]["top_k"] == 32


def test_only_incomplete_clips_are_extracted_again(extracted: Path) -> None:
    before = times(extracted)
    assert extract(extracted).n_new == 0
    assert times(extracted) == before
    folder = extracted / "trainset_raw"
    (folder / "audio_feature" / "t1.mp4.jpg").unlink()
    (folder / "video_feature" / "t2.mp4.npy").unlink()
    (folder / "wav_file" / "t3.wav").unlink()
    rest = {
        name: time for name, time in times(extracted).items() if not any(part in name for part in ("t1.", "t2.", "t3."))
    }
    assert extract(extracted).n_new == 3
    after = times(extracted)
    assert after.keys() == before.keys() and {name: after[name] for name in rest} == rest


def test_overwrite_extracts_everything_again(extracted: Path) -> None:
    before, old = times(extracted), contents(extracted)
    assert extract(extracted, overwrite=True).n_new == 8
    after = times(extracted)
    assert after.keys() == before.keys() and all(after[name] > before[name] for name in before)
    assert contents(extracted) == old


def test_failed_clips_keep_their_row_and_are_retried(data_root: Path, media) -> None:
    label(data_root, "t0.mp4", "late.mp4", "broken.mp4")
    (data_root / "trainset" / "broken.mp4").write_bytes(b"not a clip")
    summary = extract(data_root)
    assert (summary.n_new, dict(summary.statuses)) == (3, {"ok": 1, "failed": 2})
    assert summary.coverage == pytest.approx(1 / 3)
    assert [(row["status"], row["reason"]) for row in manifest(data_root)] == [
        ("ok", ""),
        ("failed", "missing_file"),
        ("failed", "unreadable"),
    ]
    media.clip(data_root / "trainset" / "late.mp4", waveform=None)
    summary = extract(data_root)
    assert (summary.n_new, summary.reasons["no_audio"], summary.reasons["unreadable"]) == (2, 1, 1)
    assert "1 ok, 1 partial, 1 failed, 0 pending" in summary.sentence("trainset")
    assert not (data_root / "trainset_raw" / "audio_feature" / "late.mp4.jpg").exists()
    assert extract(data_root).n_new == 1, "a partial clip is done, a failed one is not"


def test_a_clip_without_audio_loses_its_old_mel_image(extracted: Path, media) -> None:
    media.clip(extracted / "trainset" / "t0.mp4", waveform=None)
    extract(extracted, overwrite=True)
    assert manifest(extracted)[0]["reason"] == "no_audio"
    assert not {"audio_feature/t0.mp4.jpg", "wav_file/t0.wav"} & contents(extracted).keys()


def test_features_of_another_config_are_refused_until_overwrite(extracted: Path) -> None:
    other = FeatureConfig.model_validate({"video": {"top_k": 16}})
    with pytest.raises(UsageError, match=r"video\.top_k: 32 there, 16 here\); extract again with --overwrite"):
        extract(extracted, other)
    assert extract(extracted, other, overwrite=True).n_new == 8
    assert np.load(extracted / "trainset_raw" / "video_feature" / "t0.mp4.npy").shape == (16, 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "without a features.json that says how they were made"),
        ("{", "cannot be read"),
        ("[]", "does not say how the features were made"),
        ("{}", "does not say how the features were made"),
        ('{"fingerprint": "x", "features": 3}', "does not say how the features were made"),
    ],
)
def test_features_without_a_config_are_refused(extracted: Path, content: str | None, message: str) -> None:
    path = extracted / "trainset_raw" / "features.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        extract(extracted)
    assert "--overwrite" in str(caught.value)


def test_an_interrupted_overwrite_never_mixes_two_configs(extracted: Path) -> None:
    """With another config and one shard only, the other shard's old files are nobody's any more."""
    other = FeatureConfig.model_validate({"video": {"top_k": 16}})
    extract(extracted, other, shard=Shard(1, 2), overwrite=True)
    assert set(read_rows(extracted / "trainset_raw")) == {"t0.mp4", "t2.mp4", "t4.mp4", "t6.mp4"}
    assert extract(extracted, other).n_new == 4
    for index in range(8):
        assert np.load(extracted / "trainset_raw" / "video_feature" / f"t{index}.mp4.npy").shape == (16, 16)


def test_overwriting_one_shard_keeps_the_others(extracted: Path) -> None:
    before = times(extracted)
    assert extract(extracted, shard=Shard(2, 2), overwrite=True).n_new == 4
    changed = {name for name, time in times(extracted).items() if before[name] != time}
    assert changed == {name for name in before if any(f"t{index}." in name for index in (1, 3, 5, 7))}
    assert extract(extracted).n_new == 0


def test_shards_are_complete_and_are_merged(data_root: Path, extracted: Path) -> None:
    for index in (1, 2, 3):
        summary = extract(data_root, shard=Shard(index, 3))
        assert summary.n_clips == summary.n_new == (3, 3, 2)[index - 1]
        assert len(manifest(data_root, f"extraction.{index}-of-3.csv")) == summary.n_clips
    assert not (data_root / "trainset_raw" / "extraction.csv").exists()
    assert extract(data_root).n_new == 0
    assert contents(data_root) == contents(extracted)
    without_seconds = [[{**row, "seconds": ""} for row in manifest(root)] for root in (data_root, extracted)]
    assert without_seconds[0] == without_seconds[1]


def test_more_shards_than_clips(data_root: Path) -> None:
    summary = extract(data_root, shard=Shard(20, 20))
    assert (summary.n_clips, summary.n_new, summary.coverage) == (0, 0, 1.0)
    assert manifest(data_root, "extraction.20-of-20.csv") == []


def test_shared_stems_and_sub_folders_have_distinct_wav_files(data_root: Path, media) -> None:
    names = ["a.mp4", "a.mkv", "a.mp4.mkv", "sub/a.mp4", "./sub/b.mp4", "no_suffix", ".hidden.mp4", "ü, 映 x.mp4"]
    for seed, name in enumerate(names):
        path = media.clip(data_root / "trainset" / (name if "." in name else f"{name}.mp4"), seed=seed)
        path.rename(data_root / "trainset" / name)
    label(data_root, *names)
    assert extract(data_root).statuses["ok"] == len(names)
    waves = {name.removeprefix("wav_file/") for name in contents(data_root) if name.startswith("wav_file")}
    assert waves == {
        "a.mp4.wav",
        "a.mkv.wav",
        "a.mp4.mkv.wav",
        "sub/a.wav",
        "sub/b.wav",
        "no_suffix.wav",
        ".hidden.wav",
        "ü, 映 x.wav",
    }
    assert len({contents(data_root)[f"wav_file/{wave}"] for wave in waves}) == len(names)
    before = times(data_root)
    assert extract(data_root).n_new == 0 and times(data_root) == before


def test_links_are_followed(data_root: Path, tmp_path: Path) -> None:
    shutil.move(data_root / "trainset", tmp_path / "elsewhere")
    (data_root / "trainset").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "features").mkdir()
    (data_root / "trainset_raw").symlink_to(tmp_path / "features")
    target = (tmp_path / "elsewhere" / "t0.mp4").rename(tmp_path / "t0.mp4")
    (tmp_path / "elsewhere" / "t0.mp4").symlink_to(target)
    assert extract(data_root).statuses["ok"] == 8
    assert (tmp_path / "features" / "video_feature" / "t0.mp4.npy").is_file()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_feature_folder_may_link_to_another_file_system(data_root: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"features-{os.getpid()}"
    other.mkdir()
    try:
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm lies on the same file system")
        (data_root / "trainset_raw").mkdir()
        (data_root / "trainset_raw" / "wav_file").symlink_to(other)
        (data_root / "trainset_raw" / "features.json").write_text("{}")
        assert extract(data_root, overwrite=True).statuses["ok"] == 8
        assert sorted(path.name for path in other.iterdir()) == [f"t{index}.wav" for index in range(8)]
    finally:
        shutil.rmtree(other)


def test_an_unwritable_folder_is_reported_in_one_sentence(data_root: Path) -> None:
    (data_root / "trainset_raw").write_text("a file in the way")
    with pytest.raises(WorkError, match="cannot be written to .*trainset_raw: "):
        extract(data_root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_reported_in_one_sentence(data_root: Path) -> None:
    data_root.chmod(0o555)
    try:
        with pytest.raises(WorkError, match="Permission denied"):
            extract(data_root)
    finally:
        data_root.chmod(0o755)


def test_an_unwritable_clip_does_not_stop_the_others(data_root: Path) -> None:
    blocked = data_root / "trainset_raw" / "video_feature" / "t1.mp4.npy"
    blocked.mkdir(parents=True)
    (blocked / "in the way").touch()
    summary = extract(data_root, overwrite=True)
    assert dict(summary.statuses) == {"ok": 7, "failed": 1} and summary.reasons["write_failed"] == 1
    assert not (data_root / "trainset_raw" / ".scratch").exists()


def test_frame_cap_and_timeout_are_reasons(data_root: Path, media) -> None:
    # Thousands of frames that cost little to write and more than a moment to read.
    media.clip(data_root / "trainset" / "long.mp4", 80.0, video_options={"preset": "ultrafast"})
    label(data_root, "t7.mp4", "long.mp4")
    assert extract(data_root, config=ExtractionConfig(workers=1, max_frames=5)).reasons["too_long"] == 2
    assert manifest(data_root)[0]["n_frames"] == "5"
    summary = extract(data_root, config=ExtractionConfig(workers=1, timeout_s=0.15), overwrite=True)
    assert summary.reasons["timeout"] >= 1 and manifest(data_root)[1]["reason"] == "timeout"
    assert "video_feature/long.mp4.npy" not in contents(data_root)


def test_another_frame_cap_extracts_only_affected_clips_again(data_root: Path, media) -> None:
    media.clip(data_root / "trainset" / "short.mp4", 0.3)
    label(data_root, "t7.mp4", "short.mp4")
    whole = extract(data_root, config=ExtractionConfig(workers=1))
    frames = [int(row["n_frames"]) for row in manifest(data_root)]
    assert whole.n_new == 2 and min(frames) < max(frames)
    capped = ExtractionConfig(workers=1, max_frames=max(frames) - 1)
    assert (extract(data_root, config=capped).n_new, extract(data_root, config=capped).n_new) == (1, 0)
    assert sorted(row["reason"] for row in manifest(data_root)) == ["", "too_long"]
    assert extract(data_root, config=ExtractionConfig(workers=1)).n_new == 1
    assert [int(row["n_frames"]) for row in manifest(data_root)] == frames


def test_a_kill_between_two_files_of_a_clip_is_detected(data_root: Path) -> None:
    """Whatever is there of a clip at a kill, it counts as whole only with the files of its own row."""
    extract(data_root)
    folder = data_root / "trainset_raw"
    reference = contents(data_root)
    rows = read_rows(folder)
    for path in (folder / "video_feature" / "t0.mp4.npy", folder / "wav_file" / "t1.wav"):
        path.unlink()
    (folder / ".scratch" / "extraction").mkdir(parents=True)
    (folder / ".scratch" / "extraction" / "99.npy").write_bytes(b"half")
    append_to_journal(folder / "extraction.journal", "t0.mp4", rows["t0.mp4"])
    append_to_journal(folder / "extraction.journal", "t1.mp4", rows["t1.mp4"])
    with open(folder / "extraction.journal", "a") as stream:
        stream.write("t2.mp4,failed,unrea")
    assert extract(data_root).n_new == 2
    assert contents(data_root) == reference


def test_old_files_are_deleted_before_their_row_is_written(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract(data_root)
    split = split_of(data_root)
    outputs = {name: split.store.path(name, "t0.mp4") for name in ("mel", "covariance", "waveform")}
    seen = []
    monkeypatch.setattr(
        "dataset.extraction_worker.append_to_journal",
        lambda *_: seen.append([path.exists() for path in outputs.values()]),
    )
    task = ExtractionTask("t0.mp4", split.video_path("t0.mp4"), outputs, data_root, data_root / "j", split.store, None)
    assert extract_to_store(task).facts.status == "ok"
    assert seen == [[False, False, False]] and all(path.exists() for path in outputs.values())


def test_rows_after_an_interruption_are_read_from_the_journal(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while the loop has seen one result, though the workers have finished more."""
    import dataset.extraction as extraction

    real = extraction.run_in_workers

    def interrupted(*arguments, **options):
        yield list(real(*arguments, **options))[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction, "run_in_workers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(data_root)
    assert [row["status"] for row in manifest(data_root)] == ["ok"] * 8
    monkeypatch.setattr(extraction, "run_in_workers", real)
    assert extract(data_root).n_new == 0
