"""Faults during extraction: unwritable files, limits, kills and interrupts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataset.config import ExtractionConfig
from dataset.extraction_worker import ExtractionTask, extract_to_store
from dataset.manifest import append_to_journal, read_rows
from tests.dataset.extraction.conftest import contents, extract, label, manifest, split_of
from utils.errors import WorkError


def test_unwritable_folder_is_reported_in_one_sentence(data_root: Path) -> None:
    (data_root / "trainset_raw").write_text("a file in the way")
    with pytest.raises(WorkError, match="cannot be written to .*trainset_raw: "):
        extract(data_root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_read_only_folder_is_reported_in_one_sentence(data_root: Path) -> None:
    data_root.chmod(0o555)
    try:
        with pytest.raises(WorkError, match="Permission denied"):
            extract(data_root)
    finally:
        data_root.chmod(0o755)


def test_unwritable_file_of_one_clip_does_not_stop_the_others(data_root: Path) -> None:
    blocked = data_root / "trainset_raw" / "video_feature" / "t1.mp4.npy"
    blocked.mkdir(parents=True)
    (blocked / "in the way").touch()
    summary = extract(data_root, overwrite=True)
    assert dict(summary.statuses) == {"ok": 7, "failed": 1} and summary.reasons["write_failed"] == 1
    assert not (data_root / "trainset_raw" / ".scratch").exists()


def test_frame_cap_and_timeout_have_reasons(data_root: Path, media) -> None:
    # Two thousand frames are quick to write and take longer than the timeout to decode.
    media.clip(data_root / "trainset" / "long.mp4", 80.0, video_options={"preset": "ultrafast"})
    label(data_root, "t7.mp4", "long.mp4")
    assert extract(data_root, config=ExtractionConfig(workers=1, max_frames=5)).reasons["too_long"] == 2
    assert manifest(data_root)[0]["n_frames"] == "5"
    summary = extract(data_root, config=ExtractionConfig(workers=1, timeout_s=0.15), overwrite=True)
    assert summary.reasons["timeout"] >= 1 and manifest(data_root)[1]["reason"] == "timeout"
    assert "video_feature/long.mp4.npy" not in contents(data_root)


def test_incomplete_clips_are_detected_after_a_kill(data_root: Path) -> None:
    """Check that a clip is complete only if all files that its row requires exist."""
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
    """Interrupt the loop after its first result, when the workers have finished more clips."""
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
