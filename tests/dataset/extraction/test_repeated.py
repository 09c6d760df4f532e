"""Repeated extraction: what is skipped, retried, overwritten or rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.config import ExtractionConfig
from tests.dataset.extraction.conftest import contents, extract, label, manifest, times
from utils.errors import UsageError
from utils.features.config import FeatureConfig


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
    assert extract(data_root).n_new == 1, "partial clips are complete, failed ones are retried"


def test_old_mel_image_is_deleted_if_the_clip_has_no_audio(extracted: Path, media) -> None:
    media.clip(extracted / "trainset" / "t0.mp4", waveform=None)
    extract(extracted, overwrite=True)
    assert manifest(extracted)[0]["reason"] == "no_audio"
    assert not {"audio_feature/t0.mp4.jpg", "wav_file/t0.wav"} & contents(extracted).keys()


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


def test_features_of_another_config_are_rejected_without_overwrite(extracted: Path) -> None:
    other = FeatureConfig.model_validate({"video": {"top_k": 16}})
    with pytest.raises(UsageError, match=r"video\.top_k: 32 stored, 16 requested\); extract again with --overwrite"):
        extract(extracted, other)
    assert extract(extracted, other, overwrite=True).n_new == 8
    assert np.load(extracted / "trainset_raw" / "video_feature" / "t0.mp4.npy").shape == (16, 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "without a features.json that records their settings"),
        ("{", "cannot be read"),
        ("[]", "does not record the settings of the features"),
        ("{}", "does not record the settings of the features"),
        ('{"fingerprint": "x", "features": 3}', "does not record the settings of the features"),
    ],
)
def test_features_without_a_config_are_rejected(extracted: Path, content: str | None, message: str) -> None:
    path = extracted / "trainset_raw" / "features.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        extract(extracted)
    assert "--overwrite" in str(caught.value)
