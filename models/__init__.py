"""The detectors. Importing this package registers all of them."""

from models import av_experts, ffdv_cov, mel_baseline  # noqa: F401  (the import registers them)
from models.registry import MODELS, build_model, model_config

__all__ = ["MODELS", "build_model", "model_config"]
