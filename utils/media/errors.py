"""Why a clip, or one of its modalities, could not be used: the reason codes that every output file speaks in."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "missing_file": "the label file names a clip that is not there",
    "unreadable": "no decoder can open the file, or it holds neither a frame nor a sample",
    "no_video": "the file has no video stream, or not one frame of it could be decoded",
    "no_audio": "the file has no audio stream, or not one sample of it could be decoded",
    "one_frame": "a single frame: there is no covariance between frames",
    "silent": "every audio sample is zero: the mel-spectrogram says nothing",
    "truncated": "the file ends early or is damaged; the features are of the part that could be decoded",
    "too_long": "the clip has more frames than `extraction.max_frames`; the features are of the first part",
    "not_degraded": "no encoder or container takes the clip for this degradation",
    "timeout": "the clip took longer than `extraction.timeout_s`",
    "crashed": "the process that decoded the clip died (a decoder's fault, or out of memory)",
    "write_failed": "the features could not be written (disk full, or no permission)",
    "not_extracted": "the clip has no features yet; run utils/extract_ffdv.py",
    "missing_modality": "the model needs a modality that this clip lacks",
    "non_finite": "the model's logit is not a finite number: its weights have diverged",
}
"""Reason code -> meaning. Several codes of one clip are joined with `+`, in this order."""


class MediaError(Exception):
    """A clip that cannot be used at all; `reason` is a key of `REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the stable code beside the sentence for people."""
        super().__init__(message)
        self.reason = reason


def join_reasons(codes: set[str]) -> str:
    """Join the codes in the order of `REASONS`; without codes, return an empty string."""
    return "+".join(code for code in REASONS if code in codes)
