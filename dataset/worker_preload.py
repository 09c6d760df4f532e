"""Imported once by the fork server: loads what the workers need, so that each of them starts with it in memory.

librosa and numba load lazily; their first use costs a second or more, which every new worker would pay again.
"""

from __future__ import annotations

import numpy as np

import dataset.extraction_worker  # noqa: F401  (the import is the purpose)
from utils.features.histogram import rgb_histogram
from utils.features.mel import MelSpectrogram, mel_image
from utils.features.waveform import AudioFeatureConfig

ONE_SECOND = np.sin(np.arange(22050, dtype=np.float32))

rgb_histogram(np.zeros((8, 8, 3), np.uint8))
spectrogram = MelSpectrogram(AudioFeatureConfig())
spectrogram.feed(ONE_SECOND)
mel_image(spectrogram.power(), AudioFeatureConfig().image_size_px)
