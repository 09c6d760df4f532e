"""What the benchmarks run on and how often, and the rows that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """What all benchmarks share.

    Attributes:
        clips: the clips to measure on.
        scratch: an empty folder for everything that is made on the way.
        repetitions: how often each thing is measured; the minimum counts.
        clip_counts: numbers of clips over which the cost of a whole extraction is followed.
        label_rows: rows of the label file that start-up is measured on.
        lengths_s: lengths of the videos that peak memory is measured on; the published steps run up to `reference_length_s`.
        reference_length_s: longest video on which the memory of the published steps is measured.
        long_frame_px: width and height of those videos.
        epoch_clips: clips of the measured epoch.
        batch_size: clips per training step.
        backbone: timm name of the mel branch of the model that trains and scores.
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
    backbone: str = "resnet18"

    @property
    def few_repetitions(self) -> int:
        """How often what goes over many clips at once is measured."""
        return (self.repetitions + 1) // 2


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        benchmark: the question that it answers.
        name: what was measured.
        value: in `unit`.
        unit: `ms/clip`, `s`, `MB`, ...
        to_floor: value over that of the benchmark's floor, in the same run; `None` where there is no floor.
        to_reference: the published steps' value over this one, in the same run: how many times less it takes; `None` where the
            published code has nothing to compare with.
    """

    benchmark: str
    name: str
    value: float
    unit: str
    to_floor: float | None = None
    to_reference: float | None = None


Benchmark = Callable[[Setting], list[Row]]


def row(benchmark: str, name: str, value: float, unit: str, *, floor: float = 0.0, reference: float = 0.0) -> Row:
    """Build a row with its ratios. A floor or reference of 0 means that there is none."""
    return Row(
        benchmark,
        name,
        value,
        unit,
        value / floor if floor else None,
        reference / value if reference and value else None,
    )
