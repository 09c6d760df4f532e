"""Progress within clips: seconds decoded by a worker, windows scored, and the bars on a terminal."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import ClipArrays, Detector
from engine.evidence.reading import ReadingTask, read_clip
from engine.scoring_progress import POLL_S, ClipProgress, DecodingWatch, ScoringProgress, StepBar
from tests.support import head_frames, random_checkpoint
from utils.features.config import FeatureConfig
from utils.features.extract import ExtractionOptions, extract_clip
from utils.progress_file import ProgressFile, read_progress

RATE_HZ = 16_000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_file_holds_whole_seconds(tmp_path: Path) -> None:
    path = tmp_path / "0"
    progress = ProgressFile(path, lambda: 20.4)
    progress.at(0.96)
    assert read_progress(path) is None
    for time_s in (1.0, 1.5, 2.2, 1.9):
        progress.at(time_s)
    assert read_progress(path) == (2, 20)
    progress.at(25.0)
    assert read_progress(path) == (20, 20)
    ProgressFile(tmp_path / "missing" / "0", lambda: 20).at(3.0)
    ProgressFile(None, lambda: 20).at(3.0)


@pytest.mark.parametrize("is_long", [True, False])
def test_watch_reports_the_oldest_clip_in_flight(is_long: bool) -> None:
    seen: list[ClipProgress] = []
    total_s = 31 if is_long else 8
    with DecodingWatch(seen.append) as watch:
        ProgressFile(watch.path(0), lambda: 0).at(5)
        time.sleep(2 * POLL_S)
        assert not seen, "without a declared duration, there is no share to report"
        ProgressFile(watch.path(1), lambda: total_s).at(6)
        watch.finished(0)
        end = time.monotonic() + 60
        while not seen and time.monotonic() < end:
            time.sleep(0.01)
    assert seen[-1] == ClipProgress("decoding", 6, total_s, "s", is_long)
    assert str(seen[-1]) == f"decoding: 6 of {total_s} s"
    assert DecodingWatch(None).path(0) is None


def test_worker_reports_the_seconds_of_a_file(tmp_path: Path, media: Any) -> None:
    clip = media.clip(tmp_path / "long.mp4", seconds=13)
    extract_clip(clip, FeatureConfig(), features=(), options=ExtractionOptions(progress_path=tmp_path / "0"))
    assert read_progress(tmp_path / "0") == (12, 13)
    read_clip(ReadingTask(clip, FeatureConfig(), progress_path=tmp_path / "1"))
    assert read_progress(tmp_path / "1") == (12, 13)


def test_bar_counts_scored_clips_and_shows_steps_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        with ScoringProgress(True, 1) as progress:
            assert (progress.report is None) is (not stream.isatty())
            if progress.report is not None:
                progress.report(ClipProgress("decoding", 150, 600, "s"))
                progress.report(ClipProgress("decoding", 5, 9, "s", is_long=False))
            assert "1/1" not in stream.getvalue()
            progress.scored()
        assert "1/1" in stream.getvalue()
        assert ("25%" in stream.getvalue() and "150 of 600 s" in stream.getvalue()) is stream.isatty()
        assert "5 of 9 s" not in stream.getvalue()
    assert StepBar().report is None


def noise_of(seconds: int) -> ClipArrays:
    """Return a still head with noise."""
    voice = np.random.default_rng(0).normal(0, 0.1, seconds * RATE_HZ).astype(np.float32)
    return ClipArrays(np.repeat(head_frames(0, 1), 2 * seconds, axis=0), 2, voice, RATE_HZ)


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    features = FeatureConfig.model_validate({"voice": True})
    model = {"name": "av_experts", "experts": {"voice": {"trees": 2}}}
    return Detector.load(random_checkpoint(tmp_path / "best.pth", model, features=features), device="cpu")


def test_clip_scored_as_a_whole_reports_its_steps(detector: Detector) -> None:
    seen: list[ClipProgress] = []
    next(detector.score_many([noise_of(6)], progress=seen.append, timeline=True))
    assert seen[:2] == [ClipProgress("scoring", done, 1, "windows", is_long=False) for done in (0, 1)]
    assert str(seen[0]) == "scoring"
    assert [(one.step, one.done, one.is_long) for one in seen[2:]] == [
        ("time line", done, False) for done in range(1, 5)
    ]


def test_long_clip_reports_its_windows_and_keeps_its_score(detector: Detector) -> None:
    clip = noise_of(21)
    seen: list[ClipProgress] = []
    (score,) = detector.score_many([clip], progress=seen.append, timeline=True)
    assert [str(one) for one in seen if one.step == "scoring"][-1] == "scoring: 4 of 4 windows"
    assert [one.done for one in seen if one.step == "time line"] == list(range(1, 20))
    assert score.logit == detector.score(clip, timeline=True).logit
