"""Preload of worker dependencies. The fork server imports this module once, and every worker inherits it.

numba loads lazily: without preloading, its first use would delay every new worker by half a second.
"""

from __future__ import annotations

import numpy as np

import dataset.extraction_worker  # noqa: F401  (imported to preload it)
from utils.features.histogram import rgb_histogram
from utils.features.mel import MelSpectrogram, mel_image
from utils.features.waveform import AudioFeatureConfig

ONE_SECOND = np.sin(np.arange(22050, dtype=np.float32))

rgb_histogram(np.zeros((8, 8, 3), np.uint8))
spectrogram = MelSpectrogram(AudioFeatureConfig())
spectrogram.feed(ONE_SECOND)
mel_image(spectrogram.power(), AudioFeatureConfig().image_size_px)
