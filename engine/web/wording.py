"""Results in plain English: verdicts, reasons and experts."""

from __future__ import annotations

from dataclasses import dataclass

from engine.detector import Score
from engine.report.text import fixed, percent, plural
from utils.metrics.calibration import Calibration
from utils.metrics.threshold_text import fakes_measured, where_measured

TITLES = {"fake": "Fake", "inconclusive": "Inconclusive", "real": "Real", "unscored": "No score"}

EXPERTS = {
    "synthetic_speech": ("Speech", "traces of a speech synthesiser or of a copied voice"),
    "voice": ("Voice", "traces of a speech synthesiser or of a copied voice"),
    "speech_embedding": ("Speech", "traces of a speech synthesiser, found by a speech encoder"),
    "face": ("Face", "traces of a redrawn or swapped face in single frames"),
    "motion": ("Motion", "movements of the mouth and the face that do not look filmed"),
    "sync": ("Lips and speech", "lips that do not follow the speech"),
    "covariance": ("Frames", "unusual relations between the frames"),
    "head": ("Network", "the output of the network"),
    "cosine": ("Agreement", "similarity of audio and video"),
}
"""Expert -> its name on the page, and what it looks for."""

NOT_SEEN = {
    "no_video": "The clip has no video, so only the audio was scored.",
    "no_audio": "The clip has no audio, so only the video was scored.",
    "silent": "The audio is silent, so only the video was scored.",
    "no_face": "No face was found, so only the audio was scored.",
    "one_frame": "The video has a single frame, so its motion was not scored.",
    "truncated": "The file ends early or is damaged. Only the part that can be decoded was scored.",
    "too_long": "Only the first part of the clip was scored.",
}
"""Reason of a partly scored clip -> what was not scored."""

NO_SCORE = {
    "unreadable": "The file cannot be read as video or audio. Check that it plays, or download it again.",
    "refused_format": "The file is a playlist or a script that refers to other files, or has a rare format. Export it to MP4.",
    "over_limit": "A frame size, frame rate, duration or number of streams of the clip is too large. Re-encode it.",
    "no_audio": "The clip has no audio, and nothing in its video can be scored.",
    "no_video": "The clip has no video, and nothing in its audio can be scored.",
    "silent": "The audio is silent, and nothing in the video can be scored.",
    "no_face": "No face was found, and nothing in the audio can be scored.",
    "timeout": "Decoding the clip took too long. Try a shorter part.",
    "crashed": "The decoder failed on this clip, or it needed too much memory. Re-encode it.",
    "missing_modality": "Neither a face nor speech was found. The detector scores clips of people who talk.",
    "missing_file": "The clip is no longer stored.",
    "non_finite": "The output of the detector is not a number.",
}
"""Reason of a clip without a score -> what is wrong, and what to do."""

CAUTIONS = (
    "It is no proof. The score is the estimate of a model that was trained on few clips. Let a person check the evidence.",
    "Real does not mean authentic. It means that the experts found no trace that they know; newer forgeries may leave none.",
    "Clips unlike those of the developers can get any score: other languages, music, cartoons, strong compression, filters.",
    "It says nothing about who made the clip, about their intention, or about whether the statements in it are true.",
)
"""What a verdict does not mean."""


@dataclass(frozen=True)
class Expert:
    """An expert on the page.

    Attributes:
        label: name.
        looks_for: what it looks for; empty if unknown.
        evidence: its contribution to the logit; `None` where it abstains.
    """

    label: str
    looks_for: str
    evidence: float | None


def experts(score: Score) -> list[Expert]:
    """Return the experts of a score in their order."""
    return [Expert(*EXPERTS.get(name, (name.replace("_", " "), "")), value) for name, value in score.evidence.items()]


def headline(score: Score, calibration: Calibration) -> str:
    """Return a sentence on how the verdict follows from the score."""
    fake, real = calibration.threshold, calibration.real_threshold
    if score.verdict == "fake":
        return f"The score is at or above {fixed(fake, 2)}, from where the detector calls a clip fake."
    if score.verdict == "inconclusive":
        between = f"The score is between {fixed(real, 2)} and {fixed(fake, 2)}"
        return f"{between}: the detector cannot tell. The clip may be real or fake."
    if score.verdict == "real":
        below = fake if real is None else real
        return f"The score is below {fixed(below, 2)}, where the detector calls a clip real."
    return no_score_message(score.reason)


def no_score_message(reason: str) -> str:
    """Return sentences on why a clip has no score."""
    codes = [code for code in reason.split("+") if code]
    # missing_modality only says that a required input is missing; other codes say why.
    known = [NO_SCORE[code] for code in codes if code in NO_SCORE]
    return known[0] if known else "The clip could not be scored."


def not_seen(score: Score) -> list[str]:
    """Return sentences on the parts of a clip that were not scored."""
    if score.score is None:
        return []
    found = [NOT_SEEN[code] for code in score.reason.split("+") if code in NOT_SEEN]
    silent = [expert.label for expert in experts(score) if expert.evidence is None]
    if silent and not found:
        found = [f"{' and '.join(silent)}: nothing to score was found in this clip."]
    return found


def error_rates(calibration: Calibration) -> str:
    """Return sentences on how often the verdicts were wrong; says so if this was not measured."""
    rates = calibration.rates
    if rates is None:
        return "How often these verdicts are wrong has not been measured for this checkpoint."
    return (
        f"Of {plural(rates.n_real, 'real clip')}, {percent(rates.false_alarms)} were called fake and "
        f"{percent(rates.inconclusive_real)} inconclusive. Of {fakes_measured(calibration)}, {percent(rates.missed)} were "
        f"called real and {percent(rates.inconclusive_fake)} inconclusive (measured {where_measured(calibration)})."
    )
