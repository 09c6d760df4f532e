"""Config sections for data paths, extraction and augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataset.workers import CLIP_MEMORY_GB
from utils.config import Section

MAX_TIMEOUT_S = 7 * 24 * 3600.0
"""Longest time limit per clip, in seconds. Checkpoints store the limits, so a hostile one must not lift them."""

MAX_MEMORY_GB = 1024.0
"""Highest memory limit per process, in GB."""


class LabelNames(Section):
    """Label file of each split, below the data root."""

    trainset: str = "trainset_label.txt"
    valset: str = "valset_label.txt"
    testset: str = "testset_label.csv"


class VideoDirs(Section):
    """Folder of each split's clips, below the data root. Defaults to the name of the split."""

    trainset: str = "trainset"
    valset: str = "valset"
    testset: str = "testset"


class DataConfig(Section):
    """Source of clips and features."""

    source: Literal["features", "packed", "video"] = Field(
        "features",
        description="features: read the extractor's output; packed: read it as packed by utils/pack_features.py, for fast "
        "training; video: decode the clip each time",
    )
    video_dir: VideoDirs = VideoDirs()
    raw_suffix: str = Field(
        "_raw",
        pattern=r"^[\w.-]+$",
        description="features are stored in <split><raw_suffix>; use another suffix for another kind of features",
    )
    workers: int = Field(
        2, ge=0, le=256, description="number of processes that load batches; 0 loads in the main process"
    )


class ExtractionConfig(Section):
    """Settings of feature extraction."""

    workers: int = Field(0, ge=0, le=1024, description="number of processes, one clip each; 0 for one per core")
    timeout_s: float = Field(
        1800.0, gt=0, le=MAX_TIMEOUT_S, description="time limit per clip; a clip that exceeds it is skipped (`timeout`)"
    )
    memory_gb: float | None = Field(
        CLIP_MEMORY_GB,
        ge=1,
        le=MAX_MEMORY_GB,
        description="memory limit per process; a clip that needs more is skipped (`crashed`); null: none",
    )
    max_frames: int | None = Field(
        None, ge=1, description="maximum number of frames per clip (else `too_long`); null: all"
    )


class AugmentConfig(Section):
    """Augmentation, applied to training clips only."""

    mel_flip: float = Field(
        0.25, ge=0, le=1, description="probability of each of the two flips of the mel-spectrogram image"
    )
    covariance_noise: float = Field(0.5, ge=0, le=1, description="probability of noise on the covariance")
    noise_gain: float = Field(0.01, ge=0, description="g of the noise (g R)(g R)', R standard normal")
