"""Advice on clips without a score. `engine.report.clip_verdict` words the verdicts."""

from __future__ import annotations

from engine.detector import Score
from engine.evidence.limits import MISSING
from engine.report.clip_verdict import headline
from engine.report.wording import expert_label

ADVICE = {
    "unreadable": "Check that it plays, or download it again.",
    "refused_format": "Export it to an MP4 file.",
    "over_limit": "Re-encode it with a common size and frame rate.",
    "encrypted": "Export it without copy protection (DRM).",
    "timeout": "Choose a shorter part.",
    "crashed": "Re-encode it, or choose a shorter part.",
    "missing_modality": "Choose a clip of a person who talks and whose face is visible.",
    "no_audio": "Choose a clip in which the face is large enough, or one with audio.",
    "no_video": "Choose a clip with clear speech.",
    "no_face": "Choose a clip in which the face is large enough, or one with clear speech.",
    "too_short": "Choose a longer clip, or one in which the face is large enough.",
    "too_quiet": "Choose a clip with louder speech, or one in which the face is large enough.",
    "silent": "Choose a clip with audio, or one in which the face is large enough.",
}
"""Reason of a clip without a score -> what to do."""


def verdict_sentence(score: Score) -> str:
    """Return how the verdict follows from the score; for a clip without one, the reason and what to do."""
    found = [] if score.score is not None else [ADVICE[code] for code in score.reason.split("+") if code in ADVICE]
    return " ".join([headline(score), *found[:1]])


def not_seen(score: Score) -> list[str]:
    """Return sentences on the parts of a clip that were not scored."""
    if score.score is None:
        return []
    found = [MISSING[code] for code in score.reason.split("+") if code in MISSING]
    absent = [expert_label(name) for name, value in score.evidence.items() if value is None]
    if absent and not found:
        found = [f"Not scored, because nothing suitable was found in this clip: {', '.join(absent)}."]
    return found
