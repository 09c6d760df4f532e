"""The `eval` section: scoring, calibration and metrics. Importing it does not load torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from utils.config import Section


class EvalConfig(Section):
    """Settings of scoring and metrics."""

    batch_size: int = Field(64, ge=1)
    tta: Literal[1, 2, 4] = Field(
        1, description="test-time views of the mel-spectrogram image. 1: as is; 2: also mirrored in time; 4: all flips"
    )
    bootstrap: int = Field(2000, ge=100, description="bootstrap resamples for the confidence intervals")
    target_fpr: float = Field(0.01, gt=0, lt=1, description="share of real clips that may be called fake")
    target_fnr: float = Field(0.05, gt=0, lt=1, description="share of fakes that may be called real")
    audit: bool = Field(False, description="run the shortcut audit on the evaluated clips and add it to the report")
    calibrate: bool = Field(True, description="fit temperature and bias on the validation scores")
