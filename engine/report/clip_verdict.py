"""The verdict on one clip in words, and its score on a scale with the thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from markupsafe import Markup

from engine.evidence.types import Evidence
from engine.report.svg import Plot, Scale
from engine.report.text import fixed, percent, plural
from utils.metrics.calibration import Calibration, Verdict
from utils.metrics.threshold_text import fake_rule, fakes_measured, real_rule, where_measured

if TYPE_CHECKING:
    from engine.detector import Score

TITLES: dict[Verdict, str] = {"fake": "Fake", "inconclusive": "Inconclusive", "real": "Real", "unscored": "Not scored"}

NO_SCORE = {
    "missing_file": "The file does not exist.",
    "unreadable": "The file cannot be read as audio or video.",
    "refused_format": "The file has a format that is refused, for example a playlist that refers to other files.",
    "over_limit": "The clip exceeds a limit on frame size, frame rate, duration or number of streams.",
    "encrypted": "The video or the audio is encrypted, and the rest has nothing that the experts can score.",
    "timeout": "Decoding took longer than the time limit.",
    "crashed": "The decoder failed, or it needed too much memory.",
    "missing_modality": "The clip has neither a face nor speech that the experts can score.",
    "no_audio": "The clip has no audio, and its video has nothing that the experts can score.",
    "no_video": "The clip has no video, and its audio has nothing that the experts can score.",
    "no_face": "No face was found in the video, and the audio has nothing that the experts can score.",
    "silent": "The audio is silent, and the video has nothing that the experts can score.",
    "too_short": "The clip has less than one second of sound, and the video has nothing that the experts can score.",
    "too_quiet": "The speech is too quiet, and the video has nothing that the experts can score.",
    "non_finite": "The output of the detector is not a number.",
}
"""Reason code of an unscored clip -> sentence."""


def verdict_title(verdict: Verdict) -> str:
    """Return a verdict as a heading."""
    return TITLES[verdict]


def headline(score: Score) -> str:
    """Return the verdict as a sentence with the score and the threshold."""
    if score.score is None:
        found = [NO_SCORE[code] for code in score.reason.split("+") if code in NO_SCORE]
        return " ".join(found[:1] or ["The clip could not be scored."]) + " It may be real or fake."
    fake, real = score.thresholds["fake"], score.thresholds.get("real", score.thresholds["fake"])
    value = fixed(score.score, 2)
    if score.verdict == "fake":
        return f"The score {value} is at or above {fixed(fake, 2)}, from which clips are called fake."
    if score.verdict == "real":
        return f"The score {value} is below {fixed(real, 2)}, below which clips are called real."
    return f"The score {value} lies between {fixed(real, 2)} and {fixed(fake, 2)}: the detector cannot tell."


def meaning(evidence: Evidence) -> Iterator[str]:
    """Yield the rules of the thresholds and their measured error rates."""
    calibration, rates = evidence.calibration, evidence.calibration.rates
    alarms = missed = ""
    if rates is not None:
        measured = f" Measured {where_measured(calibration)}"
        alarms = f"{measured}: {percent(rates.false_alarms)} of {plural(rates.n_real, 'real clip')} were called fake."
        missed = f"{measured}: {percent(rates.missed)} of {fakes_measured(calibration)} were called real."
    yield f"Fake from {fixed(calibration.threshold)}: {_unbroken(fake_rule(calibration))}.{alarms}"
    if calibration.real_threshold is not None:
        yield f"Real below {fixed(calibration.real_threshold)}: {_unbroken(real_rule(calibration))}.{missed}"
    if rates is not None and (rates.inconclusive_real or rates.inconclusive_fake):
        yield (
            f"{percent(rates.inconclusive_real)} of the real clips and {percent(rates.inconclusive_fake)} of the fakes were "
            "inconclusive."
        )
    if rates is None:
        yield "The error rates of this detector were not measured."


def score_scale(score: float | None, calibration: Calibration) -> Markup:
    """Draw a score on the scale from 0 to 1 with the range of each verdict."""
    fake = calibration.threshold
    real = fake if calibration.real_threshold is None else calibration.real_threshold
    plot = Plot(Scale(0, 1, 8.0, 352.0), Scale(0, 1, 26.0, 14.0), width=360, height=52)
    for low, high, verdict in ((0.0, real, "real"), (real, fake, "inconclusive"), (fake, 1.0, "fake")):
        plot.rect(low, high, 0, 1, f"zone {verdict}")
        if high - low > 0.12:
            plot.text(plot.x((low + high) / 2), 46, TITLES[verdict].lower(), f"t {verdict}", "middle")  # type: ignore[index]
    if score is not None:
        plot.dot(score, 0.5, 9, "mark")
    words = "No score" if score is None else f"Score {fixed(score, 2)} on a scale from 0 to 1"
    return plot.render("scale", words, f"Real below {fixed(real, 2)}, fake from {fixed(fake, 2)}.")


def _unbroken(text: str) -> str:
    return text.replace(" %", "\u00a0%")
