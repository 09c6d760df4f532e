"""Reason codes: why a clip, or one of its modalities, could not be used. All output files contain these codes."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "missing_file": "the clip named in the label file does not exist",
    "unreadable": "no decoder can open the file, or it contains neither frames nor samples",
    "refused_format": "the file is a playlist, a script or an image sequence, which refer to other files, or has a rare format",
    "over_limit": "the clip exceeds a limit of `utils/media/limits.py` on frame size, frame rate, duration or streams",
    "encrypted": "the video or the audio is encrypted (DRM); it is not decoded",
    "no_video": "the file has no video stream, or no frame of it could be decoded",
    "no_audio": "the file has no audio stream, or no sample of it could be decoded",
    "no_face": "no face was found in the video, so the experts on faces abstain",
    "one_frame": "the clip has a single frame, so there is no covariance between frames",
    "silent": "every audio sample is zero, so the mel-spectrogram carries no information",
    "too_short": "the audio without digital silence at both ends is shorter than one second, so no speech can be scored",
    "too_quiet": "the speech is quieter than -60 dB relative to full scale, so the synthetic-speech expert abstains",
    "truncated": "the file ends early or is damaged; the features describe the part that could be decoded",
    "too_long": "the clip has more frames than `extraction.max_frames`; the features describe the first part",
    "not_degraded": "no encoder or container supports this degradation of the clip",
    "timeout": "the clip took longer than `extraction.timeout_s`",
    "crashed": "the process that decoded the clip died (decoder crash or out of memory)",
    "write_failed": "the features could not be written (disk full, or no permission)",
    "not_extracted": "the clip has no features yet; run utils/extract_ffdv.py",
    "missing_modality": "the model needs a modality that this clip lacks",
    "non_finite": "the model's logit is not a finite number: its weights have diverged",
}
"""Reason code -> meaning. Several codes of one clip are joined with `+`, in this order."""


class MediaError(Exception):
    """The clip cannot be used at all; `reason` is a key of `REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Store the reason code; `message` is a sentence for users."""
        super().__init__(message)
        self.reason = reason


def join_reasons(codes: set[str]) -> str:
    """Join the codes in the order of `REASONS`. Return an empty string for an empty set."""
    return "+".join(code for code in REASONS if code in codes)
