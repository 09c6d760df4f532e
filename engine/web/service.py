"""Scoring for the web page: one clip at a time per process, in worker processes with time and memory limits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dataset.workers import run_in_worker
from engine.detector import Detector, Score
from engine.report import clip_page
from engine.scoring_progress import ClipProgress
from engine.web.limits import WebLimits
from engine.web.private_folder import PrivateFolder
from utils.media.errors import MediaError
from utils.media.probe import probe_container

PROBE_TIMEOUT_S, PROBE_MEMORY_GB = 60.0, 4.0
OVER_LIMIT, MISSING = "over_limit", "missing_file"
GONE = "The clip is no longer stored: uploads are deleted after scoring, and after half an hour. Choose it again."

STEPS = ("decoding", "scoring", "time line", "evidence")
"""Steps on a clip, each of which counts for a quarter on the progress bar."""

Say = Callable[[str, float], object]
"""Receives the current step in words, and the share of the steps that is done, 0 to 1."""


@dataclass(frozen=True)
class Outcome:
    """Result of one clip.

    Attributes:
        score: the score; `unscored` for a clip that exceeds the limits of the page.
        message: a sentence about a clip that exceeds them, or that is gone; otherwise empty.
        page: the evidence page, a complete HTML document; empty unless requested, and for a clip without a score.
    """

    score: Score
    message: str = ""
    page: str = ""


class ScoringService:
    """Scores uploads and deletes them.

    Attributes:
        detector: the detector.
        folder: the folder of the uploads.
        limits: limits on uploads.
    """

    def __init__(self, detector: Detector, folder: PrivateFolder, limits: WebLimits) -> None:
        """Bind the service to a detector and a folder."""
        self.detector = detector
        self.folder = folder
        self.limits = limits
        self._turn = threading.Lock()

    def score(self, upload: Path, say: Say = lambda text, share: None, *, page: bool = False) -> Outcome:
        """Score an upload and delete it. Waits while another clip is being scored.

        Args:
            upload: a file below the folder of uploads, or an example, which is kept.
            say: receives the progress, also from another thread.
            page: whether to write the evidence page, which decodes the clip again.
        """
        with self._turn:
            if upload.is_relative_to(self.folder.examples):
                return self._score(upload, say, page)
            try:
                if not upload.resolve().is_relative_to(self.folder.uploads):
                    raise FileNotFoundError(upload)
                with self.folder.job(upload) as clip:
                    return self._score(clip, say, page)
            except FileNotFoundError:
                return Outcome(self._unscored(upload.name, MISSING), GONE)

    def _score(self, clip: Path, say: Say, page: bool) -> Outcome:
        def report(progress: ClipProgress) -> None:
            share = (STEPS.index(progress.step) + progress.done / progress.total) / len(STEPS)
            say(str(progress).capitalize(), share)

        say("Reading the clip", 0.0)
        refusal = self.refusal(clip)
        if refusal:
            return Outcome(self._unscored(clip.name, OVER_LIMIT), refusal)
        say("Scoring the clip", 0.0)
        timeline = page and self.detector.layout.windowed
        (score,) = self.detector.score_many([clip], workers=1, timeline=timeline, progress=report)
        score = replace(score, video=clip.name)
        if score.score is None or not page:
            return Outcome(score)
        say("Collecting the evidence", 1 - 1 / len(STEPS))
        evidence = self.detector.explain(clip, score, workers=1, report=report)
        return Outcome(score, page=clip_page(evidence))

    def refusal(self, clip: Path) -> str:
        """Return a sentence about a clip that exceeds the limits of the page; empty if it does not."""
        too_large = self.limits.size_refusal(clip.stat().st_size)
        if too_large:
            return too_large
        seconds, _ = run_in_worker(duration_s, clip, timeout_s=PROBE_TIMEOUT_S, memory_gb=PROBE_MEMORY_GB)
        return self.limits.duration_refusal(seconds or 0.0)

    def _unscored(self, name: str, reason: str) -> Score:
        thresholds = self.detector.checkpoint.calibration.thresholds
        nothing = dict.fromkeys(self.detector.terms)
        return Score(name, None, None, "unscored", thresholds, "failed", reason, nothing)


def duration_s(clip: Path) -> float:
    """Return the duration of a clip in seconds; 0 for a clip that cannot be read, which scoring reports."""
    try:
        probe = probe_container(clip)
    except MediaError:
        return 0.0
    streams = [stream for stream in (probe.video, probe.audio) if stream is not None]
    return max([probe.duration_s, *(stream.duration_s for stream in streams)])
