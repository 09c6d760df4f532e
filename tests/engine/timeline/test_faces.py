"""Faces of a clip: links across windows, scores, and the clip's worst face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import ClipArrays, Detector
from engine.timeline.faces import face_tracks
from tests.support import head_frames, head_voice, random_checkpoint
from utils.features.clip import ClipFacts, ClipFeatures, ClipWindow, FacePath
from utils.features.config import FeatureConfig
from utils.metrics.calibration import Calibration

LEFT, RIGHT = [0.0, 0, 50, 50], [100.0, 0, 150, 50]


def window(start_s: float, *boxes: list[float]) -> ClipWindow:
    times_s = start_s + np.arange(3.0)
    paths = tuple(FacePath(times_s, np.array([box] * 3, np.float32)) for box in boxes)
    return ClipWindow(start_s, start_s + 10, (ClipFeatures(ClipFacts("ok")),) * max(1, len(boxes)), paths)


def row(number: int, logit: float) -> dict:
    return {"window": number, "logit": logit, "evidence_face": logit - 0.5, "evidence_voice": 0.5, "reason": ""}


def test_faces_are_linked_across_windows() -> None:
    windows = [window(0, LEFT, RIGHT), window(5, RIGHT, LEFT), window(10)]
    rows = [row(0, 1.0), row(0, 3.0), row(1, 3.0), row(1, 1.0), row(2, 0.0)]
    left, right = face_tracks(windows, rows, Calibration())
    assert (left.number, left.start_s, left.end_s) == (1, 0.0, 7.0)
    assert left.evidence == {"face": 0.5} and right.evidence == {"face": 2.5}
    assert right.score == pytest.approx(1 / (1 + np.exp(-3.0))) and left.score < right.score
    assert left.boxes.shape == (6, 4) and (left.boxes == LEFT).all()


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    path: Path = tmp_path_factory.mktemp("faces") / "best.pth"
    features = FeatureConfig.model_validate({"voice": True, "face": True})
    model = {"name": "av_experts", "experts": {"voice": {"trees": 2}, "motion": {}}}
    return Detector.load(random_checkpoint(path, model, features=features), device="cpu")


def test_a_clip_takes_its_most_suspicious_face(detector: Detector) -> None:
    one, other = head_frames(0, 40), head_frames(1, 40)
    both = np.full((40, 256, 400, 3), 90, np.uint8)
    both[:, 64:192, 8:136], both[:, 64:192, 264:392] = one, other
    alone = np.full_like(both, 90)
    alone[:, 64:192, 8:136] = one
    samples = head_voice(0, 1.6)
    found = detector.score(ClipArrays(both, 25, samples, 16_000))
    single = detector.score(ClipArrays(alone, 25, samples, 16_000))
    assert len(found.faces) == 2 and not single.faces
    assert found.score == pytest.approx(max(face.score for face in found.faces))
    assert min(abs(face.score - single.score) for face in found.faces) < 0.05
    assert found.evidence["motion"] == max(face.evidence["motion"] for face in found.faces)
