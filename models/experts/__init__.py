"""The experts that `av_experts` fuses. Importing this package registers them: one import line per file."""

from models.experts import covariance, face, speech_embedding, sync, voice  # noqa: F401  (the import registers)
from models.experts.base import EXPERTS, Expert, ExpertConfig

__all__ = ["EXPERTS", "Expert", "ExpertConfig"]
