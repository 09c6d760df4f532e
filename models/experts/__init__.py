"""The experts that `av_experts` fuses. Importing this package registers them; each file needs an import here."""

from models.experts import covariance, face, motion, speech_embedding, sync, synthetic_speech, voice  # noqa: F401  (imported for registration)
from models.experts.base import EXPERTS, Expert, ExpertConfig

__all__ = ["EXPERTS", "Expert", "ExpertConfig"]
