"""Helpers for tests of decoding: extraction facts, masks and decoded streams of a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataset.samples import InputLayout
from utils.features.clip import ClipFacts, ClipFeatures
from utils.features.config import FeatureConfig
from utils.features.extract import ExtractionOptions, extract_clip
from utils.media.decode import ClipStream
from utils.media.mono import AudioBlock

CONFIG = FeatureConfig()
CONTAINERS: dict[str, dict[str, Any]] = {
    ".mp4": {},
    ".mov": {},
    ".mkv": {},
    ".webm": {"video_codec": "libvpx-vp9", "audio_codec": "libopus", "sample_rate_hz": 48_000},
    ".mpg": {"video_codec": "mpeg1video", "audio_codec": "mp2"},
    ".avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
}


def facts_of(path: Path, **options: Any) -> ClipFacts:
    """Return the facts of a clip; check that its features agree with them."""
    features = extract_clip(path, CONFIG, options=ExtractionOptions(**options))
    covariance, mel = features.values.get("covariance"), features.values.get("mel")
    assert (covariance is not None) == (features.facts.n_frames > 0)
    assert (mel is not None) == features.facts.has_audio
    assert (features.facts.status == "ok") == (features.facts.reason == "")
    if covariance is not None:
        assert covariance.shape == (128, 128) and np.isfinite(covariance).all()
    return features.facts


def writing(path: Path) -> ExtractionOptions:
    return ExtractionOptions(output_paths={"waveform": path})


def masks_of(clip: ClipFeatures) -> dict[str, bool]:
    layout = InputLayout(CONFIG, ("covariance", "mel"))
    return {name: bool(array.mask) for name, array in layout.arrays(clip).items()}


def decode(path: Path, **options: Any) -> tuple[list[np.ndarray], np.ndarray, ClipStream]:
    stream = ClipStream(path, **options)
    frames, blocks = [], [np.empty(0, np.float32)]
    for item in stream:
        if isinstance(item, AudioBlock):
            blocks.append(item.samples)
        else:
            frames.append(item.copy())
    return frames, np.concatenate(blocks), stream
