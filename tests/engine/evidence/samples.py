"""Evidence made up for tests, with every part present and hostile text where it comes from a file."""

from __future__ import annotations

import numpy as np

from engine.detector import Score
from engine.evidence.types import (
    AudioView,
    CovarianceView,
    Evidence,
    FaceCrop,
    FaceView,
    Fact,
    FileFacts,
    LipsView,
    Mark,
    Saliency,
)
from engine.timeline.types import Finding, Span, Timeline
from utils.features.clip import ClipFacts
from utils.metrics.calibration import Calibration, ErrorRates

HOSTILE = '"><script>alert(1)</script>\u202e\x1b[31m'
RATES = ErrorRates(0.04, 0.05, 0.7, 0.6, 114, 133)
CALIBRATION = Calibration(
    "platt", 1.0, 0.0, 0.78, "target_fpr", 0.05, fitted_on="out_of_fold", n=247, real_threshold=0.29, rates=RATES
)


def timeline(windows: int = 6) -> Timeline:
    start_s = np.arange(windows, dtype=float)
    values = np.linspace(-1, 3, windows)
    evidence = {"synthetic_speech": values, "face": np.full(windows, np.nan)}
    return Timeline(start_s, start_s + 2, np.append(np.linspace(0.1, 0.9, windows - 1), np.nan), evidence)


def score(**changes) -> Score:
    return Score(
        **{
            "video": f"folder/{HOSTILE}.mp4",
            "score": 0.85,
            "logit": 1.7,
            "verdict": "fake",
            "thresholds": CALIBRATION.thresholds,
            "status": "partial",
            "reason": "truncated",
            "evidence": {"synthetic_speech": 1.4, "face": None},
        }
        | changes
    )


def whole_evidence() -> Evidence:
    rng = np.random.default_rng(0)
    found = score(
        timeline=timeline(),
        spans=(Span(3.0, 5.0, 0.9, "synthetic_speech"),),
        findings=(Finding("sync_offset", f"sound and lips do not belong together {HOSTILE}", 1.0, 4.0),),
    )
    face = rng.integers(0, 256, (224, 224, 3), np.uint8)
    wave = rng.random(300).astype(np.float32)
    times = np.arange(75) / 25
    tags = (Fact("encoder", HOSTILE), Fact(HOSTILE, "x" * 5000))
    return Evidence(
        score=found,
        calibration=CALIBRATION,
        facts=ClipFacts("partial", "truncated", 7.0, 175, 25.0, True),
        file=FileFacts(
            tags, {f"Video {HOSTILE}": tags}, (Mark("c2pa", "The file contains a C2PA manifest."),), "Scanned."
        ),
        audio=AudioView(0.0, 7.0, -wave, wave, rng.integers(0, 256, (128, 300), np.uint8), 11025.0),
        saliency=Saliency(
            "synthetic_speech",
            times[:8],
            times[:8] + 0.25,
            rng.normal(size=8),
            times[:4],
            times[1:5],
            rng.normal(size=4),
        ),
        face=FaceView(1.0, 4.0, 60.0, 1.0, (FaceCrop(1.5, face, 0.7, rng.normal(size=(28, 28))),), 16, -0.7),
        lips=LipsView(times, np.sin(times), np.cos(times), np.linspace(-0.4, 0.4, 21), rng.uniform(-1, 1, 21)),
        covariance=CovarianceView(rng.random((40, 40)), rng.normal(size=40), np.arange(10), 25.0),
        not_examined=("The identity of the people.", HOSTILE),
        provenance={"checkpoint": HOSTILE},
    )
