"""Figure of the frame covariance of clips, as in the technical report.

For each clip it shows the covariance between the histograms of its frames as an image and, below it, the row sum of each
frame over time, with the K selected frames marked. Clips are drawn next to each other for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.features.covariance import block_mean_covariance, frame_covariance_row_sums, select_frames
from utils.files import atomic_path

MAX_IMAGE_FRAMES = 512
MAX_NAME_CHARS = 38
CLIPS_PER_ROW = 4
_SELECTED, _SUM = "#b4400f", "#3b4cca"


@dataclass(frozen=True)
class ClipHistograms:
    """A clip of the figure.

    Attributes:
        name: Title above the clip.
        histograms: (T, 256) integers, one row per frame; T = 0 for a clip without video.
    """

    name: str
    histograms: np.ndarray


def draw_covariance(path: str | Path, clips: Sequence[ClipHistograms], top_k: int = 128, dpi: int = 130) -> Path:
    """Draw the clips next to each other and write the figure atomically.

    Args:
        path: PNG file to write.
        clips: One or more clips.
        top_k: K, the number of frames that the video feature selects.
        dpi: Resolution in dots per inch.

    Returns:
        The path written.

    Raises:
        ValueError: There is no clip, or a histogram array is not (T, 256).
    """
    if not clips:
        raise ValueError("there is no clip to draw")
    for clip in clips:
        if clip.histograms.ndim != 2 or clip.histograms.shape[1] != 256:
            raise ValueError(f"{clip.name}: histograms must be (T, 256), not {clip.histograms.shape}")
    columns = min(len(clips), CLIPS_PER_ROW)
    rows = -(-len(clips) // columns)
    figure = Figure(figsize=(4.2 * columns, 6.0 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3.4, 1.6] * rows)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, clip in enumerate(clips):
        row, column = divmod(index, columns)
        _draw_clip(figure, grid[2 * row, column], grid[2 * row + 1, column], clip, top_k)
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)
    return Path(path)


def _draw_clip(figure: Figure, image: Axes, sums: Axes, clip: ClipHistograms, top_k: int) -> None:
    name = "".join(char if char.isprintable() else "\ufffd" for char in clip.name)
    name = name if len(name) <= MAX_NAME_CHARS else "…" + name[1 - MAX_NAME_CHARS :]
    image.set_title(name, fontsize=9, loc="left", pad=12, parse_math=False)
    n_frames = len(clip.histograms)
    if n_frames == 0:
        image.text(0.5, 0.5, "no video", ha="center", va="center", transform=image.transAxes)
        return
    for axes in (image, sums):
        axes.set_axis_on()
    covariance = block_mean_covariance(clip.histograms, MAX_IMAGE_FRAMES)
    # Otherwise a few bright frames (a cut, a flash) would compress the colour range of all others.
    low, high = np.percentile(covariance, (1, 99))
    shown = image.imshow(
        covariance,
        cmap="cividis",
        vmin=low,
        vmax=high if high > low else low + 1,
        extent=(-0.5, n_frames - 0.5, n_frames - 0.5, -0.5),
        interpolation="nearest",
    )
    image.set_ylabel("frame")
    image.locator_params(integer=True, nbins=5)
    bar = figure.colorbar(shown, ax=image, shrink=0.85, pad=0.02, extend="both")
    bar.ax.ticklabel_format(axis="y", scilimits=(-2, 3))
    row_sums = frame_covariance_row_sums(clip.histograms)
    selected = select_frames(row_sums, top_k)
    sums.plot(row_sums, color=_SUM, linewidth=0.9, marker="o" if n_frames == 1 else None, markersize=4)
    sums.plot(selected, row_sums[selected], linestyle="none", marker=".", markersize=3.5, color=_SELECTED)
    sums.set_xlim(-0.5, n_frames - 0.5)
    sums.locator_params(axis="x", integer=True, nbins=5)
    sums.ticklabel_format(axis="y", scilimits=(-2, 3))
    sums.set_xlabel(f"frame; the {len(selected)} of {n_frames} selected are marked", fontsize=9)
    sums.set_ylabel("row sum", fontsize=9)
    sums.grid(alpha=0.25)
