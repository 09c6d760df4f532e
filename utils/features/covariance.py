"""Frame covariance: covariance of the frame histograms of a clip, reduced to the K frames with the smallest row sums.

This follows the technical report of the multi-ffdv entry: C is the (T, T) covariance *between frames*, and the 256
histogram bins of a frame are its observations. The released code of the entry computes the covariance between bins instead.
All histograms of a clip sum to the same pixel count, so the row sums used for sorting are then zero up to round-off. The
setting `bins` selects that variant for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from utils.config import Section
from utils.features.base import FEATURES, FRAMES, MAX_HEADER_BYTES, ArraySpec, ClipPass, Extractor, Feature
from utils.features.clip import ClipFacts

if TYPE_CHECKING:
    from utils.features.config import FeatureConfig

N_BINS = 256
"""Number of levels of a histogram."""

FRAMES_PER_BLOCK = 4096
FLOAT64_ROUND_OFF = 1e-12
FLOAT32_ROUND_OFF = 4 * float(np.finfo(np.float32).eps)


class VideoFeatureConfig(Section):
    """Settings of the histogram covariance (technical report of the multi-ffdv entry, section on the video branch)."""

    covariance: Literal["frames", "bins"] = Field(
        "frames", description="between frames, as the report defines it, or between histogram bins, as the code did"
    )
    top_k: int = Field(128, ge=2, le=1024, description="number of selected frames: those with the smallest row sums")


@FEATURES.register("covariance", VideoFeatureConfig)
class CovarianceFeature(Feature):
    """The frame covariance. Its value is (K, K) float32 in [0, 1]."""

    name, key, fed, inputs = "covariance", "video", (FRAMES,), ("covariance",)
    folder, suffix = "video_feature", ".npy"

    @classmethod
    def enabled(cls, config: FeatureConfig) -> bool:
        """Return true: both published systems use this feature, and the extractor always stores it."""
        return True

    @classmethod
    def adapt(cls, config: FeatureConfig, stored: Mapping[str, Any]) -> FeatureConfig:
        """Accept files with a larger K, from which the block of the smaller K is computed."""
        video = stored.get("video")
        top_k = video.get("top_k") if isinstance(video, dict) else None
        if not isinstance(top_k, int) or not config.video.top_k < top_k <= 1024:
            return config
        return config.with_setting("video", {**config.video.model_dump(), "top_k": top_k})

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Declare one array: (K, K) float32."""
        return (ArraySpec("covariance", (self.config.video.top_k,) * 2, np.float32, fixed_point=True),)

    def to_arrays(self, value: Any, facts: ClipFacts) -> Mapping[str, np.ndarray | None]:
        """Return the matrix, or `None` for a clip of a single frame, whose matrix is all zeros."""
        return {"covariance": None if "one_frame" in facts.reasons else value}

    def extractor(self, clip: ClipPass) -> Extractor:
        """Return an extractor that collects one histogram per frame."""
        return CovarianceExtractor(self.config.video, clip)

    def write(self, path: Path, value: Any) -> None:
        """Write the matrix as `.npy`."""
        np.save(path, value, allow_pickle=False)

    def read(self, path: Path, facts: ClipFacts) -> Any:
        """Return the matrix. A larger stored matrix is reduced to the requested K."""
        stored_k, video = self.stored_config.video.top_k, self.config.video
        expected = (stored_k, stored_k)
        if path.stat().st_size > 4 * stored_k**2 + MAX_HEADER_BYTES:
            raise ValueError(f"{path} is larger than a frame covariance of this config")
        covariance = np.load(path, allow_pickle=False)
        if not isinstance(covariance, np.ndarray) or covariance.shape != expected or covariance.dtype != np.float32:
            raise ValueError(f"{path} is not a frame covariance of this config")
        if not np.isfinite(covariance).all():
            raise ValueError(f"{path} has values that are not finite")
        if video.top_k == stored_k:
            return covariance
        return smaller_block(covariance, facts.n_frames if video.covariance == "frames" else N_BINS, video.top_k)


class CovarianceExtractor(Extractor):
    """Extractor that computes the histogram of every frame, then the covariance."""

    def __init__(self, config: VideoFeatureConfig, clip: ClipPass) -> None:
        """Create an extractor without frames."""
        # Imported here because the module loads a compiler (50 MB) that only decoding processes need.
        from utils.features.histogram import HistogramRows

        self._config = config
        self._clip = clip
        self._histograms = HistogramRows()

    def add_frame(self, frame: np.ndarray) -> None:
        """Add the histogram of a frame."""
        self._histograms.add(frame)

    def finish(self) -> Any:
        """Return the matrix; `None` without video."""
        if not self._clip.facts.n_frames:
            return None
        between = frame_covariance if self._config.covariance == "frames" else bin_covariance
        covariance = between(self._histograms.array(), self._config.top_k)
        # Free memory for the mel-spectrogram, which is finished next. For an hour of video both have the same size.
        del self._histograms
        return covariance


def frame_covariance_row_sums(histograms: np.ndarray) -> np.ndarray:
    """Return the row sums of the (T, T) frame covariance without computing the matrix.

    Let Hc be the histograms minus the mean of each row. Then C = Hc Hc' / 255, and its row sums are Hc (sum of the rows of
    Hc) / 255. Frames are processed in blocks to avoid a (T, 256) float array for long videos.

    Args:
        histograms: (T, 256) integers.

    Returns:
        (T,) float64.
    """
    n_frames, n_bins = histograms.shape
    column_sums = np.zeros(n_bins)
    for start in range(0, n_frames, FRAMES_PER_BLOCK):
        column_sums += centred_rows(histograms[start : start + FRAMES_PER_BLOCK]).sum(axis=0)
    row_sums = np.empty(n_frames)
    for start in range(0, n_frames, FRAMES_PER_BLOCK):
        block = slice(start, start + FRAMES_PER_BLOCK)
        row_sums[block] = centred_rows(histograms[block]) @ column_sums / (n_bins - 1)
    return row_sums


def centred_rows(histograms: np.ndarray) -> np.ndarray:
    """Subtract the mean of each row of (T, 256) and return float64."""
    rows = histograms.astype(np.float64)
    return rows - rows.mean(axis=1, keepdims=True)


def select_frames(row_sums: np.ndarray, top_k: int) -> np.ndarray:
    """Return the indices of the `top_k` smallest row sums in ascending order. Equal sums keep their temporal order."""
    return np.argsort(row_sums, kind="stable")[:top_k]


def frame_covariance(histograms: np.ndarray, top_k: int) -> np.ndarray:
    """Compute the video feature of the report.

    Args:
        histograms: (T, 256) integers, one row per frame.
        top_k: K, the number of selected frames.

    Returns:
        (K, K) float32 in [0, 1]: the covariance of the K frames with the smallest row sums, in ascending order of the sum,
        min-max scaled. With T < K the scaled (T, T) block is followed by zeros. All zeros for T < 2 and for a constant matrix.
    """
    n_frames = len(histograms)
    if n_frames < 2:
        return np.zeros((top_k, top_k), np.float32)
    selected = select_frames(frame_covariance_row_sums(histograms), top_k)
    centred = centred_rows(histograms[selected])
    return scaled_and_padded(centred @ centred.T / (histograms.shape[1] - 1), top_k)


def bin_covariance(histograms: np.ndarray, top_k: int) -> np.ndarray:
    """Compute the variant of the released code, for comparison only: covariance between histogram bins over time.

    Round-off noise determines the selected bins (see the module docstring), so the result depends on the numpy version.

    Args:
        histograms: (T, 256) integers.
        top_k: K, the number of selected bins. For K > 256 the matrix is padded with zeros.

    Returns:
        (K, K) float32 in [0, 1].
    """
    if len(histograms) < 2:
        return np.zeros((top_k, top_k), np.float32)
    matrix = np.cov(histograms, rowvar=False)
    selected = select_frames(matrix.sum(axis=1), top_k)
    return scaled_and_padded(matrix[np.ix_(selected, selected)], top_k)


def smaller_block(feature: np.ndarray, n_rows: int, top_k: int) -> np.ndarray:
    """Compute the feature for a smaller K from a stored feature.

    Frames (or bins) are in ascending order of their row sums, so the first K are the smallest. Min-max scaling cancels the
    scaling of the stored matrix. Up to float32 rounding, the result equals extraction with K.

    Args:
        feature: (N, N) float32 in [0, 1], from `frame_covariance` or `bin_covariance`.
        n_rows: number of frames of the clip, or of bins. Later rows are padding.
        top_k: K <= N.

    Returns:
        (K, K) float32 in [0, 1].
    """
    kept = min(n_rows, top_k)
    return scaled_and_padded(feature[:kept, :kept].astype(np.float64), top_k, round_off=FLOAT32_ROUND_OFF)


def scaled_and_padded(matrix: np.ndarray, size: int, round_off: float = FLOAT64_ROUND_OFF) -> np.ndarray:
    """Min-max scale a square matrix to [0, 1] and pad it with zeros to (size, size) float32.

    A matrix counts as constant, and gives zeros, if its range is at most `round_off` times the largest absolute value.
    Otherwise scaling would amplify round-off errors to [0, 1].
    """
    low, high = matrix.min(), matrix.max()
    padded = np.zeros((size, size), np.float32)
    if high - low > round_off * max(abs(low), abs(high)):
        padded[: len(matrix), : len(matrix)] = (matrix - low) / (high - low)
    return padded


def block_mean_covariance(histograms: np.ndarray, max_frames: int = 512) -> np.ndarray:
    """Compute the (T, T) frame covariance or, for a long clip, its mean over equal blocks of frames.

    Covariance is linear in each frame, so the mean over a block of the matrix equals the covariance of the mean
    histograms of the blocks. The (T, T) matrix is never formed.

    Args:
        histograms: (T, 256) integers, T >= 1.
        max_frames: Maximum number of rows and columns of the result.

    Returns:
        (min(T, max_frames), min(T, max_frames)) float64.
    """
    n_frames, n_bins = histograms.shape
    edges = np.linspace(0, n_frames, min(n_frames, max_frames) + 1).round().astype(int)
    blocks = np.stack([centred_rows(histograms[a:b]).mean(axis=0) for a, b in zip(edges[:-1], edges[1:], strict=True)])
    return blocks @ blocks.T / (n_bins - 1)
