"""Faces of a clip: links across windows, scores, and the clip's worst face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import ClipArrays, Detector
from engine.evidence.reading import ReadingTask, read_clip
from engine.score import Score
from engine.timeline.faces import face_tracks, path_overlap, whole_tracks
from tests.support import head_frames, head_voice, random_checkpoint
from utils.features.clip import ClipFacts, ClipFeatures, ClipWindow, FacePath
from utils.features.config import FeatureConfig
from utils.features.seconds import ClipSeconds, FaceSecond
from utils.metrics.calibration import Calibration

LEFT, RIGHT = [0.0, 0, 50, 50], [100.0, 0, 150, 50]


def window(start_s: float, *boxes: list[float]) -> ClipWindow:
    times_s = start_s + np.arange(3.0)
    paths = tuple(FacePath(times_s, np.array([box] * 3, np.float32)) for box in boxes)
    return ClipWindow(start_s, start_s + 10, (ClipFeatures(ClipFacts("ok")),) * max(1, len(boxes)), paths)


def row(number: int, logit: float) -> dict:
    return {
        "window": number,
        "logit": logit,
        "evidence_face": logit - 0.5,
        "evidence_voice": 0.5,
        "status": "ok",
        "reason": "",
    }


def test_faces_are_linked_across_windows() -> None:
    windows = [window(0, LEFT, RIGHT), window(5, RIGHT, LEFT), window(10)]
    rows = [row(0, 1.0), row(0, 3.0), row(1, 3.0), row(1, 1.0), row(2, 0.0)]
    left, right = face_tracks(windows, rows, Calibration())
    assert (left.number, left.start_s, left.end_s) == (1, 0.0, 7.0)
    assert left.evidence == {"face": 0.5} and right.evidence == {"face": 2.5}
    assert right.score == pytest.approx(1 / (1 + np.exp(-3.0))) and left.score < right.score
    assert left.boxes.shape == (6, 4) and (left.boxes == LEFT).all()


def test_path_overlap_compares_boxes_at_the_same_time() -> None:
    path = FacePath(np.array([0.0, 0.2, 5.0]), np.array([LEFT, LEFT, LEFT], np.float32))
    other = FacePath(np.array([0.1, 0.35, 9.0]), np.array([LEFT, RIGHT, LEFT], np.float32))
    assert path_overlap(path, other) == 1.0  # nothing is near 5 s
    assert path_overlap(path, FacePath(np.array([0.2]), np.array([[25.0, 0, 75, 50]], np.float32))) == 1 / 3
    assert path_overlap(path, FacePath(np.array([7.0]), np.array([LEFT], np.float32))) == 0.0


def test_faces_of_different_shots_have_their_own_scores() -> None:
    before, after = np.arange(0.0, 6.0), np.arange(6.0, 12.0)
    boxes = np.array([LEFT] * 6, np.float32)
    seconds = [FaceSecond(number, 6 * number, None, FacePath(t, boxes)) for number, t in enumerate((before, after))]
    rows = [row(0, 1.0), row(1, 3.0), row(2, 0.0)]
    windows = [window(1, LEFT), window(8, LEFT), window(14)]
    score = Score("a.mp4", 0.9, 2.2, "fake", {"fake": 0.5}, "ok", "", {"face": 1.5})
    clip = ClipSeconds(12.0, seconds, None, 0.0)  # type: ignore[arg-type]
    first, second = whole_tracks(clip, windows, rows, score, Calibration())
    assert (first.end_s, second.start_s) == (5.0, 6.0)
    assert first.evidence == {"face": 0.5} and second.evidence == {"face": 2.5} and first.score < second.score
    (only,) = whole_tracks(ClipSeconds(6.0, seconds[:1], None, 0.0), windows[:1], rows[:1], score, Calibration())
    assert (only.score, only.evidence) == (0.9, {"face": 1.5})


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    path: Path = tmp_path_factory.mktemp("faces") / "best.pth"
    features = FeatureConfig.model_validate({"voice": True, "face": True})
    model = {"name": "av_experts", "experts": {"voice": {"trees": 2}, "motion": {}}}
    return Detector.load(random_checkpoint(path, model, features=features), device="cpu")


@pytest.fixture(scope="module")
def both() -> np.ndarray:
    frames = np.full((40, 256, 400, 3), 90, np.uint8)
    frames[:, 64:192, 8:136], frames[:, 64:192, 264:392] = head_frames(0, 40), head_frames(1, 40)
    return frames


@pytest.fixture(scope="module")
def found(detector: Detector, both: np.ndarray) -> Score:
    return detector.score(ClipArrays(both, 25, head_voice(0, 1.6), 16_000))


def test_a_clip_takes_its_most_suspicious_face(detector: Detector, both: np.ndarray, found: Score) -> None:
    alone = both.copy()
    alone[:, :, 200:] = 90
    single = detector.score(ClipArrays(alone, 25, head_voice(0, 1.6), 16_000))
    assert len(found.faces) == 2 and not single.faces
    assert found.score == pytest.approx(max(face.score for face in found.faces))
    assert min(abs(face.score - single.score) for face in found.faces) < 0.05
    assert found.evidence["motion"] == max(face.evidence["motion"] for face in found.faces)


def test_the_evidence_shows_the_requested_face(both: np.ndarray, found: Score) -> None:
    shown = [read_clip(ReadingTask(ClipArrays(both, 25), FeatureConfig(), face=face)).face for face in found.faces]
    main = read_clip(ReadingTask(ClipArrays(both, 25), FeatureConfig())).face
    assert main is not None and main.number is None
    assert [face.number for face in shown] == [1, 2] and (shown[0].images != shown[1].images).any()
    assert sum((face.images == main.images).all() for face in shown) == 1
