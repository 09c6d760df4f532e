"""`inference.py` and `Detector` on audio files: clips without video."""

from __future__ import annotations

import numpy as np
import pytest

from engine import Detector
from tests.cli.inference.conftest import call, rows_of
from tests.support import random_checkpoint, tiny_model, write_video
from utils.media.writer import write_clip

CODECS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "m4a": "aac", "opus": "libopus"}


def write_audio(folder, suffix):
    wave = 0.3 * np.sin(2 * np.pi * 300 * np.arange(48_000) / 48_000)
    path = folder / f"{suffix} file.{suffix}"
    write_clip(path, None, 25, wave.astype(np.float32), 48_000, audio_codec=CODECS[suffix])
    return path


@pytest.fixture
def voices(tmp_path):
    (tmp_path / "voices").mkdir()
    return [write_audio(tmp_path / "voices", suffix) for suffix in sorted(CODECS)]


def test_folder_of_audio_files_is_scored_by_its_audio(voices, tmp_path, capsys):
    path = random_checkpoint(tmp_path / "mel.pth", tiny_model("mel_baseline"))
    assert call("--video_dir", voices[0].parent, "--checkpoint", path) == 0
    rows = rows_of()
    assert [row["video"] for row in rows] == [str(voice) for voice in voices]
    assert {row["reason"] for row in rows} == {"no_video"} and all(0 < float(row["score"]) < 1 for row in rows)
    assert "no_video: only the audio of 6 clips was scored" in capsys.readouterr().out


def test_detector_scores_an_audio_file(voices, checkpoint):
    score = Detector.load(checkpoint, device="cpu").score(voices[0])
    assert (score.status, score.reason) == ("partial", "no_video") and score.score is not None


def test_note_counts_clips_without_video_only(voices, checkpoint, tmp_path, capsys):
    video = write_video(tmp_path / "a.mp4", 0)
    assert call("--video_path", video, voices[0], "--checkpoint", checkpoint) == 0
    assert "audio of 1 clip was" in capsys.readouterr().out
    assert call("--video_path", video, "--checkpoint", checkpoint) == 0
    assert "no_video" not in capsys.readouterr().out
