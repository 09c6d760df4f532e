"""The interface of expert fitters, their registry, and the labelled clips that they are fitted on."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from dataset.clips import ClipTable
from dataset.workers import run_in_workers, worker_count
from engine.config import RunConfig
from models.experts.base import Expert, ExpertConfig
from utils.cache import Runner
from utils.errors import UsageError
from utils.registry import Registry

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Expert)

Part = Literal["audio", "video"]

MODALITIES = ("RVFA", "FVRA", "FVFA")
"""Values of the label column `modality` for fakes: forged audio, forged video, or both."""


@dataclass(frozen=True)
class LabelledClips:
    """The clips that experts are fitted and evaluated on.

    Attributes:
        table: labels and clip files; a `target` of 0 is a real clip.
        folds: (n,) int, the fold of each clip.
        groups: (n,) text, the group of related clips (a source or a person) that each clip belongs to.
        audio_only: (n,) bool, the clips without video; `None` if all have video.
    """

    table: ClipTable
    folds: np.ndarray
    groups: np.ndarray
    audio_only: np.ndarray | None = None

    def training_fakes(self, part: Part) -> np.ndarray:
        """Return a mask (n,) bool of the labelled fakes in which this part is forged.

        The label column `modality` (`MODALITIES`, case-insensitive) names the forged part. Fakes with an empty cell are
        excluded. Without the column, all fakes are included.

        Raises:
            UsageError: the modality of a fake is not one of `MODALITIES`.
        """
        fake = self.target == 1
        if "modality" not in self.table.labels:
            return fake
        modality = self.table.labels["modality"].fillna("").astype(str).str.strip().str.upper().to_numpy()
        for clip in np.flatnonzero(fake & ~np.isin(modality, ["", *MODALITIES])):
            raise UsageError(
                f"the modality of {self.table.names[clip]} is {modality[clip]!r}; expected one of {', '.join(MODALITIES)}"
            )
        chosen = fake & np.isin(modality, {"video": ["FVRA", "FVFA"], "audio": ["RVFA", "FVFA"]}[part])
        log.info("%d of %d labelled fakes are examples of forged %s", chosen.sum(), fake.sum(), part)
        return chosen

    @property
    def with_video(self) -> np.ndarray:
        """(n,) bool: the clips with video."""
        return np.ones(len(self), bool) if self.audio_only is None else ~self.audio_only

    @property
    def evaluated(self) -> np.ndarray:
        """(n,) bool: the clips that determine the thresholds and the main metrics.

        These are the clips with video, or all clips if no real clip has video.
        """
        real = self.target == 0
        return self.with_video if (real & self.with_video).any() else np.ones(len(self), bool)

    @property
    def target(self) -> np.ndarray:
        """(n,) 1 for fake, 0 for real."""
        return self.table.labels["target"].to_numpy(float)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.folds)


class ExpertFitter(ABC, Generic[E]):
    """Fitter of one kind of expert. It is sent to worker processes, so it contains paths or small arrays, not models."""

    key: str
    """Digest of the training examples. Out-of-fold scores are cached under it."""

    calibrates_on_pseudo_fakes: ClassVar[bool] = False
    """Whether to calibrate on held-out pseudo-fakes even if fakes are labelled.

    True for experts that detect a kind of forgery that is rare among labelled fakes.
    """

    @classmethod
    def check(cls, config: RunConfig) -> None:  # noqa: B027  (optional)
        """Check requirements before any clip is decoded.

        Raises:
            UsageError: a requirement of the fit is not available.
        """

    @classmethod
    @abstractmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> ExpertFitter[E] | None:
        """Extract the clips' features and make the training examples, cached below `config.fit.cache`.

        Returns:
            The fitter, or `None` if there are too few clips to fit the expert. The reason is logged.

        Raises:
            UsageError: the labels or settings cannot be used.
            WorkError: too few clips can be read.
        """

    @abstractmethod
    def fit(self, expert: E, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the expert on all training examples, or on those outside one fold.

        Raises:
            WorkError: no training example is left.
        """

    @abstractmethod
    def score(self, expert: E, clips: np.ndarray) -> np.ndarray:
        """Score labelled clips.

        Args:
            expert: a fitted expert.
            clips: (m,) indices of the clips.

        Returns:
            (m,) raw log-odds, equal to those of `Expert.raw`; NaN where the expert's mask is false.
        """

    @abstractmethod
    def score_pseudo_fakes(self, expert: E, fold: int) -> np.ndarray:
        """Score held-out pseudo-fakes: those made from the real clips of one fold.

        Returns:
            (p,) raw log-odds. They calibrate the expert if no fake is labelled.
        """


FITTERS: Registry[ExpertConfig, ExpertFitter] = Registry("expert fitter")
"""The fitter of each expert, registered under the expert's name."""


def cache_runner(config: RunConfig, *, fit_timeout_s: float | None = None) -> Runner:
    """Return a runner for `compute_missing` that uses the configured number of worker processes.

    Args:
        config: the number of workers and their limits of time and memory are used, all in `extraction`.
        fit_timeout_s: time limit of tasks that open no clips; these have no memory limit.
    """
    section = config.extraction

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterable[tuple[Any, Any, str]]:
        workers = worker_count(section.workers, len(tasks))
        timeout_s, memory_gb = section.timeout_s, section.memory_gb
        if fit_timeout_s is not None:
            timeout_s, memory_gb = fit_timeout_s, None
        return run_in_workers(function, tasks, workers=workers, timeout_s=timeout_s, memory_gb=memory_gb)

    return run


def enough_real_clips(expert: str, features: str, own_folds: np.ndarray, folds: np.ndarray, *, least: int) -> bool:
    """Return whether enough real clips remain to fit an expert without any one fold; if not, log why it is left out.

    Args:
        expert: the expert's name.
        features: what a real clip must have, for the message.
        own_folds: (m,) folds of the real clips that have it.
        folds: (n,) folds of all labelled clips.
        least: minimum number outside every fold.
    """
    fewest = min((own_folds != fold).sum() for fold in np.unique(folds))
    if fewest >= least:
        return True
    log.warning(
        "the %s expert is left out: %d real clips with %s, %d outside the largest fold; it needs %d",
        expert,
        len(own_folds),
        features,
        fewest,
        least,
    )
    return False


def enough_of_each_class(
    expert: str, noun: str, counts: Callable[[int | None], np.ndarray], folds: np.ndarray, *, least: int
) -> bool:
    """Return whether enough clips of both classes remain without any one fold; if not, log why the expert is left out.

    Args:
        expert: the expert's name.
        noun: name of the clips, for the message.
        counts: returns the numbers of real and of fake clips (2,) outside a fold.
        folds: (n,) folds of all labelled clips.
        least: minimum number of each class outside every fold.
    """
    fewest = min(counts(fold).min() for fold in np.unique(folds))
    if fewest >= least:
        return True
    log.warning(
        "the %s expert is left out: %d %s of one class outside a fold; it needs %d", expert, fewest, noun, least
    )
    return False
