"""Collection of the evidence about scored clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from dataset.workers import results_of
from engine.detector import Clip, Detector, Score, checked
from engine.evidence.faces import face_view
from engine.evidence.limits import not_examined
from engine.evidence.lips import lips_view
from engine.evidence.reading import ClipReading, ReadingTask, read_clip
from engine.evidence.types import Evidence, FaceView, Saliency
from engine.scoring_progress import DecodingWatch, Report
from engine.timeline.faces import worst_face
from utils.features.clip import failed
from utils.features.windows import CLIP_WINDOW_S, SINGLE_S, part_of


def explain_many(
    detector: Detector,
    scored: Iterable[tuple[Clip, Score]],
    *,
    workers: int | None = None,
    report: Report | None = None,
) -> Iterator[Evidence]:
    """Collect the evidence about scored clips lazily, in input order.

    Args:
        detector: the detector that scored the clips.
        scored: clips with their scores, read a few ahead.
        workers: number of decoding processes, as in `Detector.score_many`.
        report: receives the progress of decoding clips, from another thread.
    """
    scores: deque[Score] = deque()
    watch = DecodingWatch(report, "evidence")

    def tasks() -> Iterator[ReadingTask]:
        for index, (clip, score) in enumerate(scored):
            scores.append(score)
            settings = (detector.checkpoint.features, detector.limits.max_frames)
            yield ReadingTask(checked(clip), *settings, focus_of(score), worst_face(score.faces), watch.path(index))

    limits = detector.limits
    with watch:
        readings = results_of(
            read_clip, tasks(), workers=workers, timeout_s=limits.timeout_s, memory_gb=limits.memory_gb
        )
        for index, (reading, reason) in enumerate(readings):
            watch.finished(index)
            yield evidence_of(detector, scores.popleft(), reading or ClipReading(failed(reason).facts))


def evidence_of(detector: Detector, score: Score, reading: ClipReading) -> Evidence:
    """Return the evidence about a clip from its score and its content."""
    face, saliency = _attributed(detector, around_focus(reading, focus_of(score)))
    mouth = reading.face
    lips = None
    if mouth is not None and reading.pcm is not None:
        lips = lips_view(mouth.mouth, mouth.start_s, reading.pcm, reading.audio_start_s)
    checkpoint = detector.checkpoint
    return Evidence(
        score=score,
        calibration=checkpoint.calibration,
        facts=reading.facts,
        file=reading.file,
        audio=reading.audio,
        saliency=saliency,
        face=face,
        lips=lips,
        covariance=reading.covariance,
        not_examined=tuple(not_examined(score, reading)),
        provenance={
            "checkpoint": "unsaved" if detector.path is None else detector.path.name,
            "model": str(checkpoint.model["name"]),
            "experts": ", ".join(detector.terms),
            "trained at commit": str(checkpoint.provenance.get("commit", "unknown")),
        },
    )


def focus_of(score: Score) -> float | None:
    """Return the middle of the most suspicious window of a long clip; `None` for a short clip or without a time line.

    If the clip has several faces, the window is one in which the worst face is tracked.
    """
    timeline = score.timeline
    if timeline is None or not np.isfinite(timeline.score).any() or timeline.end_s.max() <= SINGLE_S:
        return None
    scores, face = timeline.score, worst_face(score.faces)
    if face is not None:
        middle_s = (timeline.start_s + timeline.end_s) / 2
        inside = (face.start_s <= middle_s) & (middle_s <= face.end_s) & np.isfinite(scores)
        scores = np.where(inside, scores, np.nan) if inside.any() else scores
    worst = int(np.nanargmax(scores))
    return float(timeline.start_s[worst] + timeline.end_s[worst]) / 2


def around_focus(reading: ClipReading, focus_s: float | None) -> ClipReading:
    """Return a reading whose waveform is that of the window around the focus, or of the middle; all of a short clip."""
    if reading.pcm is None or reading.facts.duration_s <= SINGLE_S:
        return reading
    middle_s = reading.facts.duration_s / 2 if focus_s is None else focus_s
    start_s = min(max(middle_s - CLIP_WINDOW_S / 2, 0.0), reading.facts.duration_s - CLIP_WINDOW_S)
    shift_s = max(0.0, start_s - reading.audio_start_s)
    return replace(
        reading,
        pcm=part_of(reading.pcm, shift_s, shift_s + CLIP_WINDOW_S),
        audio_start_s=reading.audio_start_s + shift_s,
    )


def _attributed(detector: Detector, reading: ClipReading) -> tuple[FaceView | None, Saliency | None]:
    """Return the parts of the evidence that need the detector's network; it exists in the torch form only."""
    if detector.network is None:
        return None if reading.face is None else face_view(reading.face, None), None
    from engine.evidence import attribution

    found = None if reading.face is None else attribution.face_map(reading.face.pairs, detector.network)
    face = None if reading.face is None else face_view(reading.face, found)
    return face, attribution.saliency(reading, detector.network, detector.layout)
