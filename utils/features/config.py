"""How features are made, and the fingerprint by which two ways of making them are told apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from utils.config import Section
from utils.errors import UsageError
from utils.features.encoders import check_encoder_name

FEATURE_VERSION = 1
"""Raise it when the same config would give other numbers than before: every cache then asks to be made again."""

FACE_VERSION = 1
"""The same for face features alone: only features that hold faces are then made again."""


class VideoFeatureConfig(Section):
    """The histogram covariance (technical report of the multi-ffdv entry, section on the video branch)."""

    covariance: Literal["frames", "bins"] = Field(
        "frames", description="between frames, as the report defines it, or between histogram bins, as its code did"
    )
    top_k: int = Field(128, ge=2, le=1024, description="frames kept: the ones with the smallest covariance row sums")


class AudioFeatureConfig(Section):
    """The mel-spectrogram picture; the defaults are librosa's own, which both systems used."""

    sample_rate_hz: int = Field(22050, ge=4000, le=96000)
    n_fft: int = Field(2048, ge=64, multiple_of=2)
    hop_length: int = Field(512, ge=16)
    n_mels: int = Field(128, ge=8, le=512)
    image_size_px: int = Field(256, ge=16, le=2048, description="width and height of the picture")
    jpeg_quality: int = Field(95, ge=1, le=100)
    length: Literal["clip", "stream"] = Field(
        "clip", description="clip: pad with silence to the clip's length in steps of 10 ms, as the published code did"
    )

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> AudioFeatureConfig:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length {self.hop_length} is longer than n_fft {self.n_fft}: samples would be skipped"
            )
        return self


class FeatureConfig(Section):
    """Everything that decides a clip's features."""

    video: VideoFeatureConfig = VideoFeatureConfig()
    audio: AudioFeatureConfig = AudioFeatureConfig()
    voice: bool = Field(False, description="also describe the voice; made from the waveform whenever it is needed")
    speech_encoder: str | None = Field(
        None, description="also embed the voice with this frozen encoder: its name, or transformers/<model>"
    )
    face: bool = Field(False, description="also find the face in the clip's middle, its mouth and the speech beside it")

    @field_validator("speech_encoder")
    @classmethod
    def _known_encoder(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                check_encoder_name(name)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return name

    def stored(self) -> dict:
        """The fields that decide what lies on disk.

        `voice` and speech embeddings are made from the stored waveform, so they are not among them. `face` adds files to
        those of the same clips without it: it is among them only where it is on, by its version.
        """
        fields = self.model_dump(exclude={"voice", "speech_encoder", "face"})
        return {**fields, "face": FACE_VERSION} if self.face else fields

    def fingerprint(self) -> str:
        """16 hex digits that differ whenever the stored features would."""
        canonical = json.dumps({"version": FEATURE_VERSION, **self.stored()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def differences(self, other: dict) -> list[str]:
        """The dotted fields in which a stored config (`stored` of another one) differs from this one."""
        mine, theirs = flatten(self.stored()), flatten(other)
        return [
            f"{key}: {theirs.get(key)!r} there, {mine.get(key)!r} here"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]


def flatten(nested: dict, prefix: str = "") -> dict:
    """A nested mapping as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
