"""The `fit` section: settings of fitted experts. Importing it does not load torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from utils.config import Section


class FitConfig(Section):
    """Settings for fitting the experts of `av_experts`."""

    cache: str = Field("data/expert_bank", description="training cache: extracted features, pseudo-fakes and fits")
    bank_seed: int = Field(0, ge=0, lt=2**32, description="seed of the pseudo-fakes; `seed` is the seed of the fits")
    synthetic_voices: str | None = Field(
        None, description="folder of utterances made by speech synthesisers, used as training fakes"
    )
    labelled_fakes: bool = Field(False, description="train on labelled fakes too, not on pseudo-fakes alone")

    @property
    def cache_dir(self) -> Path:
        """The cache folder as a path."""
        return Path(self.cache)
