"""Frozen speech encoders. Importing this package registers them; their dependencies are imported on first use."""

from utils.features.encoders import packaged, transformer  # noqa: F401  (imported for registration)
from utils.features.encoders.base import SPEECH_ENCODERS, SpeechEncoder, check_encoder_name, speech_encoder

__all__ = ["SPEECH_ENCODERS", "SpeechEncoder", "check_encoder_name", "speech_encoder"]
