"""Settings shared by the benchmarks, and the rows of their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """Settings shared by all benchmarks.

    Attributes:
        clips: the clips to measure on.
        scratch: an empty folder for temporary files.
        repetitions: how often each measurement is repeated; the minimum is reported.
        clip_counts: numbers of clips for which the cost per clip of a whole extraction is measured.
        label_rows: number of rows in the label file of the start-up benchmark.
        lengths_s: lengths of the videos for which peak memory is measured.
        reference_length_s: length of the longest video for which the memory of the published steps is measured.
        long_frame_px: width and height of those videos.
        epoch_clips: number of clips in the measured epoch.
        batch_size: clips per training step.
        packed_clips: number of clips of the packed arrays: 100 kB each.
        packed_batch_size: clips per batch that is gathered from them.
        backbone: timm name of the mel branch of the model for training and scoring.
    """

    clips: list[Path]
    scratch: Path
    repetitions: int = 5
    clip_counts: tuple[int, ...] = (10, 100, 1000)
    label_rows: int = 320_000
    lengths_s: tuple[float, ...] = (10, 120)
    reference_length_s: float = 120
    long_frame_px: tuple[int, int] = (1920, 1080)
    epoch_clips: int = 64
    batch_size: int = 16
    packed_clips: int = 4096
    packed_batch_size: int = 128
    backbone: str = "resnet18"

    @property
    def few_repetitions(self) -> int:
        """Number of repetitions for measurements over many clips at once."""
        return (self.repetitions + 1) // 2


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        benchmark: title of the benchmark.
        name: title of the measurement.
        value: the figure, in `unit`.
        unit: `ms/clip`, `s`, `MB`, ...
        to_floor: ratio of `value` to the floor of the same run; `None` if there is no floor.
        to_reference: ratio of the figure of the published steps to `value`, in the same run; `None` if the published
            code has no counterpart.
    """

    benchmark: str
    name: str
    value: float
    unit: str
    to_floor: float | None = None
    to_reference: float | None = None


Benchmark = Callable[[Setting], list[Row]]


def row(benchmark: str, name: str, value: float, unit: str, *, floor: float = 0.0, reference: float = 0.0) -> Row:
    """Build a row with its ratios. Pass 0 if there is no floor or no reference."""
    return Row(
        benchmark,
        name,
        value,
        unit,
        value / floor if floor else None,
        reference / value if reference and value else None,
    )
