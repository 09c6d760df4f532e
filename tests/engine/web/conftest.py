"""A service with a detector that needs no network, on a private folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.detector import Score
from engine.scoring_progress import ClipProgress
from engine.web.limits import WebLimits
from engine.web.private_folder import PrivateFolder
from engine.web.service import ScoringService
from utils.metrics.calibration import Calibration, ErrorRates

RATES = ErrorRates(0.04, 0.05, 0.7, 0.6, 114, 133)
CALIBRATION = Calibration(
    threshold=0.78, threshold_rule="target_fpr", real_threshold=0.29, rates=RATES, fitted_on="out_of_fold"
)


def made_score(score: float | None = 0.9, **changes: Any) -> Score:
    """Return a score of two experts, or of none."""
    evidence = (
        {"synthetic_speech": 1.5, "face": None} if score is not None else dict.fromkeys(("synthetic_speech", "face"))
    )
    values: dict[str, Any] = {
        "video": "clip.mp4",
        "score": score,
        "logit": score,
        "verdict": CALIBRATION.verdict(score),
        "thresholds": CALIBRATION.thresholds,
        "status": "ok" if score is not None else "failed",
        "reason": "" if score is not None else "unreadable",
        "evidence": evidence,
    }
    return Score(**{**values, **changes})


class FakeDetector:
    """Scores readable files by their size and counts how many clips are scored at the same time."""

    terms = ("synthetic_speech", "face")
    tta = 1
    path = None
    checkpoint = SimpleNamespace(calibration=CALIBRATION)
    layout = SimpleNamespace(windowed=True)

    def __init__(self) -> None:
        self.seen: list[Path] = []

    def score_many(self, clips: Iterable[Path], **options: Any) -> Iterator[Score]:
        assert options["workers"] == 1, "uploads must be decoded in a worker process"
        options["progress"](ClipProgress("scoring", 30, 120, "windows"))
        for clip in clips:
            assert clip.is_file()
            self.seen.append(clip)
            readable = clip.read_bytes()[4:8] == b"ftyp"
            yield made_score(0.9 if readable else None, video=str(clip))

    def explain(self, clip: Path, score: Score, **options: Any) -> Score:
        assert options["workers"] == 1 and clip.is_file()
        return score


@pytest.fixture
def folder(tmp_path: Path) -> PrivateFolder:
    """Return an empty private folder."""
    root = tmp_path / "private"
    root.mkdir(mode=0o700)
    return PrivateFolder(root)


@pytest.fixture
def service(folder: PrivateFolder, monkeypatch: pytest.MonkeyPatch) -> ScoringService:
    """Return a service with small limits, which reads durations in this process."""

    def run_here(function: Any, tasks: Iterable[Any], **options: Any) -> Iterator[tuple[Any, Any, str]]:
        assert options["workers"] == 1 and options["timeout_s"] > 0 and options["memory_gb"] > 0
        for task in tasks:
            yield task, function(task), ""

    monkeypatch.setattr("dataset.workers.run_in_workers", run_here)
    monkeypatch.setattr("engine.web.service.clip_page", lambda score: f"<html>{score.video} {score.score}</html>")
    return ScoringService(FakeDetector(), folder, WebLimits(max_mb=0.5, max_minutes=1 / 60, max_files=3))


@pytest.fixture
def upload(folder: PrivateFolder, media: Any) -> Path:
    """Return an uploaded clip of 0.6 s."""
    return media.clip(folder.new_file("clip.mp4"))


@pytest.fixture(scope="session")
def web_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Serve the page with the checkpoint of an untrained tiny model."""
    pytest.importorskip("gradio", reason="gradio is not installed (requirements-app.txt)")
    from tests.engine.web.serving import served
    from tests.support import random_checkpoint

    checkpoint = random_checkpoint(tmp_path_factory.mktemp("web") / "tiny.pth", calibration=CALIBRATION)
    with served(checkpoint, WebLimits(max_mb=1.0, max_minutes=0.1, max_files=3)) as page:
        yield page
