"""Conversion of decoded frames to numpy arrays."""

from __future__ import annotations

import av
import numpy as np

from utils.media.frames import channel_samples


def test_mean_of_packed_stereo() -> None:
    frame = av.AudioFrame.from_ndarray(np.array([[1000, 3000, -1000, -3000]], np.int16), format="s16", layout="stereo")
    np.testing.assert_allclose(channel_samples(frame).mean(), [2000 / 32768, -2000 / 32768])
