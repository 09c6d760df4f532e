"""What fits an expert: something that gathers material once, then fits and judges as often as folds and seeds ask."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np

from dataset.clips import ClipTable
from engine.config import RunConfig
from models.experts.base import Expert
from utils.errors import UsageError

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Expert)

Part = Literal["audio", "video"]

MODALITIES = ("RVFA", "FVRA", "FVFA")
"""What can be forged of a fake: the voice, the picture, or both."""


@dataclass(frozen=True)
class LabelledClips:
    """The clips that experts are fitted on and judged by.

    Attributes:
        table: labels and where the clips lie; a `target` of 0 is a real clip.
        folds: (n,) int, the fold of each.
        groups: (n,) text, what relates clips: a source or a person.
    """

    table: ClipTable
    folds: np.ndarray
    groups: np.ndarray

    def teaching_fakes(self, part: Part) -> np.ndarray:
        """(n,) bool: fakes that can teach what a forged picture or sound is.

        The labels' `modality` (`MODALITIES`, in any case) says which part of a clip is forged; without the column every fake
        counts, and a fake whose cell is empty teaches nothing.

        Raises:
            UsageError: a fake's modality is something else.
        """
        fake = self.target == 1
        if "modality" not in self.table.labels:
            return fake
        modality = self.table.labels["modality"].fillna("").astype(str).str.strip().str.upper().to_numpy()
        for clip in np.flatnonzero(fake & ~np.isin(modality, ["", *MODALITIES])):
            raise UsageError(
                f"the modality of {self.table.names[clip]} is {modality[clip]!r}; a fake's is one of {', '.join(MODALITIES)}"
            )
        teaching = fake & np.isin(modality, {"video": ["FVRA", "FVFA"], "audio": ["RVFA", "FVFA"]}[part])
        log.info("%d of %d labelled fakes can teach a forged %s", teaching.sum(), fake.sum(), part)
        return teaching

    @property
    def target(self) -> np.ndarray:
        """(n,) 1 for fake, 0 for real."""
        return self.table.labels["target"].to_numpy(float)

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.folds)


class ExpertFitter(ABC, Generic[E]):
    """Fits one kind of expert. It is sent to worker processes, so it holds paths or small arrays, no models."""

    key: str
    """Text that differs whenever the material does; judged folds are kept under it."""

    calibrates_on_stand_ins: ClassVar[bool] = False
    """Whether stand-ins set the expert's calibration even where fakes are labelled, since those are seldom of its kind."""

    @classmethod
    def check(cls, config: RunConfig) -> None:  # noqa: B027  (an expert that needs nothing says nothing)
        """Refuse what would fail later, before any clip is described.

        Raises:
            UsageError: something that the expert is fitted with cannot be had.
        """

    @classmethod
    @abstractmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> ExpertFitter[E] | None:
        """Describe the clips and make what the expert is fitted on, kept below `config.fit.cache`.

        Returns:
            The fitter; `None`, with a line in the log, when these clips cannot teach the expert, which then stays out.

        Raises:
            UsageError: the labels or settings cannot be used.
            WorkError: too few clips can be read.
        """

    @abstractmethod
    def fit(self, expert: E, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the expert on all real clips, or on those outside one fold.

        Raises:
            WorkError: nothing is left to fit on.
        """

    @abstractmethod
    def judge(self, expert: E, clips: np.ndarray) -> np.ndarray:
        """Raw log-odds (len(clips),) of the labelled clips of these numbers; NaN where the expert has no opinion."""

    @abstractmethod
    def stand_ins(self, expert: E, fold: int) -> np.ndarray:
        """Raw log-odds of pseudo-fakes made of that fold's real clips: fakes to calibrate with where none is labelled."""
