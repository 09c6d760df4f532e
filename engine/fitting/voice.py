"""Fitters of the voice and speech-embedding experts, from real voices, pseudo-fakes and synthetic speech."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Generic, TypeVar, cast

import numpy as np
import torch

from engine.config import RunConfig
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips, cache_runner
from engine.fitting.discriminant import fit_discriminant
from engine.fitting.forest import fit_forest
from engine.fitting.voice_examples import (
    Use,
    VoiceExampleCounts,
    VoiceExamples,
    VoiceTask,
    assemble,
    balanced_weights,
    load_voices,
)
from models.experts.forest import PackedForest
from models.experts.speech_embedding import SpeechEmbeddingConfig, SpeechEmbeddingExpert
from models.experts.voice import VoiceConfig, VoiceExpert
from models.experts.windows import WindowExpert
from utils.cache import content_key
from utils.errors import UsageError, WorkError
from utils.features.config import FeatureConfig
from utils.features.extract import require_parts
from utils.features.store import files_below
from utils.features.voice import BLOCK_SIZES

W = TypeVar("W", bound=WindowExpert)


class WindowFitter(ExpertFitter[W], Generic[W]):
    """Base class of the fitters of experts that score a waveform window by window."""

    def __init__(self, examples: VoiceExamples) -> None:
        """Store the training examples."""
        self.examples = examples
        self.key = examples.digest()

    @classmethod
    def encoder(cls, features: FeatureConfig) -> str | None:
        """Return the speech encoder whose embeddings are the windows' features; `None` for the voice features."""
        del features
        return None

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> WindowFitter[W] | None:
        """Make the examples of labelled clips and synthetic voices; see `ExpertFitter.gather`.

        Raises:
            UsageError: `fit.synthetic_voices` is not a folder, or is empty.
        """
        uses: list[Use] = ["scored" if target else "real" for target in clips.target]
        if config.fit.labelled_fakes:
            for number in np.flatnonzero(clips.training_fakes("audio")):
                uses[number] = "synthetic"
        tasks = [
            cls._task(name, clips.table.split.video_path(name), use, config)
            for name, use in zip(clips.table.names, uses, strict=True)
        ]
        for path in utterances(config.fit.synthetic_voices):
            tasks.append(cls._task(f"synthetic/{path.name}", path, "synthetic", config))
        examples = assemble(load_voices(tasks, cache_runner(config)), clips.folds, clips.groups)
        return None if examples is None else cls(examples)

    @classmethod
    def _task(cls, name: str, path: Path, use: Use, config: RunConfig) -> VoiceTask:
        encoder, counts = cls.encoder(config.features), VoiceExampleCounts()
        seed, folder = config.fit.bank_seed, config.fit.cache_dir
        return VoiceTask(name, path, content_key(path), use, config.features, counts, seed, folder, encoder)

    def fit(self, expert: W, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the expert on weighted examples; see `ExpertFitter.fit`."""
        examples = self.examples
        chosen = np.ones(len(examples.examples), bool) if without_fold is None else examples.folds != without_fold
        is_fake = examples.is_fake[chosen]
        if is_fake.all():
            raise WorkError("all real clips with usable audio are in one fold, so none is left to fit on")
        weights = balanced_weights(examples.kinds[chosen], examples.groups[chosen])
        self.fit_windows(expert, examples.examples[chosen], is_fake.astype(int), weights, seed)

    @abstractmethod
    def fit_windows(self, expert: W, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, seed: int) -> None:
        """Fit the expert on windows.

        Args:
            expert: receives the result.
            features: (N, D) float32.
            is_fake: (N,) 1 for a forged or synthetic voice, 0 for a real one; both must occur.
            weights: (N,) sample weights, with the same sum for both classes.
            seed: the same examples and seed give the same expert.
        """

    @torch.inference_mode()
    def score(self, expert: W, clips: np.ndarray) -> np.ndarray:
        """Return each clip's mean score over its windows, NaN if it has none."""

        def mean_score(windows: np.ndarray) -> float:
            return float(expert.score_windows(torch.from_numpy(windows)).mean()) if len(windows) else float("nan")

        return np.array([mean_score(self.examples.windows[clip]) for clip in clips])

    @torch.inference_mode()
    def score_pseudo_fakes(self, expert: W, fold: int) -> np.ndarray:
        """Score held-out pseudo-fakes; see `ExpertFitter.score_pseudo_fakes`."""
        held = (self.examples.folds == fold) & self.examples.is_fake
        return expert.score_windows(torch.from_numpy(self.examples.examples[held])).numpy()


@FITTERS.register("voice", VoiceConfig)
class VoiceFitter(WindowFitter[VoiceExpert]):
    """The fitter of the voice expert: a forest per block of voice features."""

    def fit_windows(
        self, expert: VoiceExpert, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, seed: int
    ) -> None:
        """Grow one forest per block of features; see `WindowFitter.fit_windows`."""
        ends = np.cumsum(list(BLOCK_SIZES.values()))[:-1]
        for number, (block, columns) in enumerate(zip(BLOCK_SIZES, np.split(features, ends, axis=1), strict=True)):
            forest = cast(PackedForest, expert.forests[block])
            fit_forest(forest, columns, is_fake, weights, trees=expert.trees, seed=seed + number)


@FITTERS.register("speech_embedding", SpeechEmbeddingConfig)
class SpeechEmbeddingFitter(WindowFitter[SpeechEmbeddingExpert]):
    """The fitter of the speech-embedding expert. It uses the voice expert's examples, embedded by a frozen encoder."""

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """Check that the encoder can be loaded."""
        require_parts(config.features)

    @classmethod
    def encoder(cls, features: FeatureConfig) -> str | None:
        """Return the configured speech encoder."""
        return features.speech_encoder

    def fit_windows(
        self, expert: SpeechEmbeddingExpert, features: np.ndarray, is_fake: np.ndarray, weights: np.ndarray, seed: int
    ) -> None:
        """Fit the discriminant. No random choice is made, so every seed gives the same result."""
        fit_discriminant(expert, features, is_fake, ridge=expert.ridge, weights=weights)


def utterances(folder: str | None) -> list[Path]:
    """Return the files of a folder of synthetic voices in path order; an empty list for `None`.

    Raises:
        UsageError: it is not a folder, or has no files.
    """
    if folder is None:
        return []
    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"--synthetic_voices is not a folder: {place}")
    names = sorted(name for name in files_below(place) if not Path(name).name.startswith("."))
    if not names:
        raise UsageError(f"--synthetic_voices {place}: no files in it")
    return [place / name for name in names]
