"""What the speech-embedding expert is fitted on: the voice expert's recordings and forgeries, heard by a frozen encoder."""

from __future__ import annotations

from engine.config import RunConfig
from engine.fitting.base import LabelledClips
from engine.fitting.voice import VoiceFitter
from utils.features.config import FeatureConfig
from utils.features.extract import require_parts


class SpeechEmbeddingFitter(VoiceFitter):
    """Fits the speech-embedding expert."""

    @classmethod
    def encoder(cls, features: FeatureConfig) -> str | None:
        """See `VoiceFitter.encoder`."""
        return features.speech_encoder

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> VoiceFitter | None:
        """See `VoiceFitter.gather`.

        Raises:
            UsageError: the encoder cannot be had here.
        """
        require_parts(config.features)
        return super().gather(clips, config)
