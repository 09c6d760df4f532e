"""Files of the time line, and the evaluation of spans against labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from engine.score import Score
from engine.timeline.evaluate import evaluate_timeline, format_figures
from engine.timeline.files import timeline_dict, write_timeline
from engine.timeline.lanes import face_lanes
from engine.timeline.picture import timeline_picture
from engine.timeline.types import FaceTrack, Finding, Span, Timeline
from utils.errors import WorkError

NAN = float("nan")


def scored(name: str, *spans: Span, scores: tuple[float, ...] = (0.2, 0.9, NAN)) -> Score:
    start_s = np.arange(float(len(scores)))
    values = np.array(scores)
    timeline = Timeline(
        start_s, start_s + 3, values, {"voice": values * 4 - 2, "face": np.full(len(scores), NAN), "sync": values / 10}
    )
    face = FaceTrack(1, 0.0, 2.0, np.array([0.0, 1.0]), np.ones((2, 4), np.float32), 0.7, {"face": None})
    finding = Finding("sync_offset", "sound and lips do not belong together: offset 0.24 s", 0.0, 3.0)
    return Score(
        name, 0.8, 1.2, "fake", {"fake": 0.7}, "ok", "", {"voice": 1.2},
        timeline=timeline, spans=spans, findings=(finding,), faces=(face,),
    )  # fmt: skip


def test_json_and_picture_are_written(tmp_path: Path) -> None:
    path = write_timeline(scored("a/<b>&.mp4", Span(1.0, 2.5, 0.9, "voice")), tmp_path)
    found = json.loads(path.read_text())
    assert found["timeline"]["score"] == [0.2, 0.9, None] and found["timeline"]["evidence"]["face"] == [None] * 3
    assert found["spans"] == [{"start_s": 1.0, "end_s": 2.5, "score": 0.9, "expert": "voice", "basis": "score"}]
    assert found["findings"][0]["code"] == "sync_offset" and found["faces"][0]["boxes"] == [[1.0] * 4] * 2
    drawing = ElementTree.parse(path.with_suffix(".svg")).getroot()
    text = "".join(drawing.itertext())
    assert "<b>&.mp4: 0.80 (fake)" in text and "offset 0.24 s" in text and "gain if shifted, up to 0.3" in text


def test_picture_explains_its_marks_and_shows_cuts_and_faces() -> None:
    score = scored("a.mp4", Span(1.0, 2.5, 0.9, "voice"))
    (face,) = score.faces
    two = replace(score, faces=(face, replace(face, number=2, start_s=2.5, end_s=4.0, score=None)), cuts_s=(2.4,))
    assert score.timeline is not None
    drawing = str(timeline_picture(two, score.timeline))
    assert "red band: suspicious span; blue band: sound and lips; dashed: thresholds; dotted: cuts" in drawing
    assert ">face 1: 0.70, 0 s to 2 s<" in drawing and ">face 2, 2.5 s to 4 s<" in drawing and drawing.count("V") == 1
    plain = str(timeline_picture(replace(score, spans=(), findings=(), faces=()), score.timeline))
    assert "band" not in plain and "cuts" not in plain and ">faces<" not in plain
    assert timeline_dict(two)["cuts_s"] == [2.4]


def test_faces_that_overlap_get_lanes_of_their_own() -> None:
    (face,) = scored("a.mp4").faces
    times = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]
    faces = [replace(face, number=number, start_s=a, end_s=b) for number, (a, b) in enumerate(times, 1)]
    assert [[one.number for one in lane] for lane in face_lanes(faces)] == [[1, 3], [2]]


def test_the_parts_of_a_time_line_do_not_overlap() -> None:
    timeline = Timeline(np.array([0.0, 1.0, 1.4]), np.array([3.0, 4.0, 4.4]), np.zeros(3))
    assert timeline.parts(4.4) == [(0.0, 2.0), (2.0, 3.0), (3.0, 4.4)]


def test_an_unscored_clip_has_json_only(tmp_path: Path) -> None:
    failed = Score("gone.mp4", None, None, "unscored", {"fake": 0.7}, "failed", "missing_file")
    path = write_timeline(failed, tmp_path)
    assert json.loads(path.read_text())["timeline"] is None and not path.with_suffix(".svg").exists()
    assert timeline_dict(failed)["spans"] == []


class FixedScores:
    """A detector that returns prepared scores."""

    def __init__(self, *scores: Score) -> None:
        self._scores = {Path(score.video).name: score for score in scores}

    def score_many(self, clips: list[Path], **_: object) -> Iterator[Score]:
        return (self._scores[clip.name] for clip in clips)


def test_spans_are_compared_with_the_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("video_name,target,start_s,end_s\nfake.mp4,1,1.0,3.0\nreal.mp4,0,,\nwhole.mp4,1,,\n")
    fake = scored("fake.mp4", Span(1.0, 3.0, 0.9, "voice"), scores=(0.9, 0.9, 0.2))
    real = scored("real.mp4", Span(0.0, 1.0, 0.8, "voice"), scores=(0.3, 0.3, 0.3))
    figures = evaluate_timeline(FixedScores(fake, real), labels, tmp_path)  # type: ignore[arg-type]
    assert (figures["n_partial_fakes"], figures["n_real"]) == (1, 1)
    assert figures["ap"] == {"0.5": 1.0, "0.75": 1.0, "0.95": 1.0} and figures["ar"]["1"] == 1.0
    # Windows 0-3 and 1-4 of the fake are at least half fake; window 2-5 is not, and is left out.
    assert figures["window_auc"] == 1.0 and figures["false_spans_per_minute"] == pytest.approx(12.0)
    assert "1 partial fakes, 1 real clips" in format_figures(figures)


def test_labels_without_spans_are_an_error(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("video_name,target,start_s,end_s\nreal.mp4,0,,\n")
    with pytest.raises(WorkError, match="no clip has a fake part"):
        evaluate_timeline(FixedScores(), labels, tmp_path)  # type: ignore[arg-type]
