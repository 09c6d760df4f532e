"""Names of experts and sentences on verdicts for people who do not know the detector."""

from __future__ import annotations

EXPERTS = {
    "synthetic_speech": ("Speech", "traces of speech synthesis or voice conversion in the sound"),
    "voice": ("Voice", "traces of speech synthesis or editing in the sound"),
    "speech_embedding": ("Speech encoder", "traces of speech synthesis, found by a pretrained speech encoder"),
    "face": ("Face", "traces of a generated or swapped face in single frames and between neighbouring frames"),
    "motion": ("Motion", "a face that moves more smoothly than filmed faces do"),
    "sync": ("Lips and voice", "a mouth that does not move with the speech"),
    "covariance": ("Frame colours", "an unusual covariance between the colours of the frames"),
    "head": ("Network", "the output of the trained network"),
    "cosine": ("Audio-video cosine", "similarity of the audio and the video features of the network"),
    "mel": ("Spectrogram", "the output of a network on the mel-spectrogram image"),
}
"""Expert or term -> its name on a page, and what it looks for."""

CAUTIONS = (
    "It is the estimate of a model, not proof. Errors occur in both directions, more often on clips unlike those that the "
    "model was developed on.",
    "\u201cReal\u201d does not mean authentic: it means that the detector found fewer traces of forgery than in almost all "
    "fakes that it was tested on.",
    "\u201cFake\u201d does not say who changed the clip, when, or with what intent. Filters, dubbing, strong compression and "
    "screen recording can cause it.",
    "\u201cInconclusive\u201d is an answer: the score is in a range in which real clips and fakes both occur.",
)
"""What a verdict does not mean."""

SPAN_REASONS = {"score": "scored as fake", "contrast": "stands out from the rest"}
"""Basis of a suspicious part -> its name on a page."""


def expert_label(name: str) -> str:
    """Return the name of an expert on a page."""
    return EXPERTS.get(name, (name.replace("_", " ").capitalize(), ""))[0]


def expert_purpose(name: str) -> str:
    """Return what an expert looks for; empty if unknown."""
    return EXPERTS.get(name, ("", ""))[1]
