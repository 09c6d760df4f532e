"""The time line of a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import ClipArrays, Detector
from tests.support import head_frames, head_voice, random_checkpoint
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.seconds import timeline_starts

RATE_HZ = 24_000


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    path: Path = tmp_path_factory.mktemp("timeline") / "best.pth"
    features = FeatureConfig.model_validate({"voice": True, "face": True})
    model = {"name": "av_experts", "experts": {"voice": {"trees": 2}, "motion": {}}}
    return Detector.load(random_checkpoint(path, model, features=features), device="cpu")


@pytest.fixture(scope="module")
def clip() -> ClipArrays:
    return ClipArrays(head_frames(0, 125), 25, head_voice(0, 5.0), RATE_HZ, "head")


def test_windows_cover_every_second() -> None:
    assert timeline_starts(0.5).tolist() == [0] and timeline_starts(3.0).tolist() == [0]
    assert timeline_starts(5.2).tolist() == [0, 1, 2, 3]


def test_the_time_line_has_a_score_per_second_and_expert(detector: Detector, clip: ClipArrays) -> None:
    found = detector.score(clip, timeline=True)
    timeline = found.timeline
    assert timeline is not None and timeline.start_s.tolist() == [0.0, 1.0, 2.0] and timeline.end_s[-1] == 5.0
    assert {"voice", "motion"} <= set(timeline.evidence)
    assert np.isfinite(timeline.score).all() and all(len(values) == 3 for values in timeline.evidence.values())
    (face,) = found.faces
    assert face.start_s == 0 and face.end_s > 4.5 and face.boxes.shape == (len(face.times_s), 4)
    assert (np.diff(face.times_s) > 0).all()


def test_the_time_line_does_not_change_the_score(detector: Detector, clip: ClipArrays) -> None:
    plain, timed = detector.score(clip), detector.score(clip, timeline=True)
    assert (plain.score, plain.evidence) == (timed.score, timed.evidence)
    assert plain.timeline is None and plain.spans == plain.findings == plain.faces == ()


def test_a_clip_without_a_face_has_a_time_line_of_its_voice(detector: Detector, clip: ClipArrays) -> None:
    timeline = detector.score(ClipArrays(samples=clip.samples, rate_hz=RATE_HZ), timeline=True).timeline
    assert timeline is not None and np.isnan(timeline.evidence["motion"]).all()
    assert np.isfinite(timeline.evidence["voice"]).all()


def test_a_detector_of_whole_clips_has_no_time_line(tmp_path: Path, clip: ClipArrays) -> None:
    whole = Detector.load(random_checkpoint(tmp_path / "best.pth"), device="cpu")
    with pytest.raises(UsageError, match="has no time line"):
        whole.score(clip, timeline=True)
