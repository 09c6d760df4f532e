"""The fitter of the synthetic-speech expert, trained on real voices and labelled synthetic voices."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from sklearn.svm import SVC

from dataset.pseudo_fakes.common import clip_generator
from dataset.pseudo_fakes.voice.noise_suppression import noisy_voices, require_suppressors
from dataset.pseudo_fakes.voice.post_process import post_process
from engine.config import RunConfig
from engine.fitting.base import FITTERS, ExpertFitter, LabelledClips, cache_runner, enough_of_each_class
from engine.fitting.voice import utterances as utterance_files
from engine.fitting.voice_examples import NO_FOLD, random_crop
from models.blocks.speech_texture import SpeechTexture, Weights
from models.blocks.support_vectors import SupportVectors
from models.experts.synthetic_speech import STATISTICS, SyntheticSpeechConfig, SyntheticSpeechExpert
from utils.cache import compute_missing, content_key, entry_key
from utils.errors import WorkError
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.features.extract import clip_voice
from utils.features.utterance import UTTERANCE_VERSION, Utterances, utterances
from utils.features.voice import VOICE_SIZE, VOICE_VERSION, long_enough
from utils.files import atomic_path
from utils.media.errors import MediaError

log = logging.getLogger(__name__)

EXAMPLES_VERSION = 5
"""Increase it when the same audio clip and seed would give different examples; cached examples are then recomputed."""

COPIES = 2
"""Number of post-processed copies of each labelled voice."""

LEAST_PER_CLASS = 8
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class SpeechTask:
    """Task of computing the statistics of one audio clip's utterances.

    Attributes:
        name: the clip's name; together with `seed` it determines the post-processing.
        path: the clip.
        content: `content_key` of the clip.
        copies: number of post-processed copies.
        noisy: whether to add the copies of `noisy_voices`.
        features: the feature config.
        weights: weights of the network, see `SpeechTexture.start`.
        seed: seed of the post-processing.
        folder: folder of the cache.
    """

    name: str
    path: Path
    content: str
    copies: int
    noisy: bool
    features: FeatureConfig
    weights: Weights
    seed: int
    folder: Path

    @property
    def cache_path(self) -> Path:
        """The file of the clip's statistics."""
        recipe = [self.name, self.copies, self.noisy, self.features.audio.sample_rate_hz, self.weights, self.seed]
        versions = [EXAMPLES_VERSION, UTTERANCE_VERSION, VOICE_VERSION, FEATURE_VERSION]
        return self.folder / f"{entry_key(self.content, *recipe, *versions)}.npz"


@dataclass(frozen=True)
class ClipSpeech:
    """Statistics of one clip's utterances, see `SyntheticSpeechExpert.statistics`.

    Attributes:
        own: (W, D) float32; W = 0 without usable audio.
        processed: (C, D) float32, of post-processed, noisy and noise-suppressed copies.
    """

    own: np.ndarray
    processed: np.ndarray


NO_SPEECH = ClipSpeech(np.zeros((0, STATISTICS), np.float32), np.zeros((0, STATISTICS), np.float32))


@FITTERS.register("synthetic_speech", SyntheticSpeechConfig)
class SyntheticSpeechFitter(ExpertFitter[SyntheticSpeechExpert]):
    """The fitter of the synthetic-speech expert. It requires labelled synthetic voices."""

    def __init__(
        self, speech: list[ClipSpeech], is_real: np.ndarray, is_synthetic: np.ndarray, folds: np.ndarray
    ) -> None:
        """Store the speech of the labelled clips; clips that are neither real nor synthetic are only scored."""
        self.speech = speech
        self.is_real = is_real
        self.is_synthetic = is_synthetic
        self.folds = folds
        content = hashlib.sha256()
        for clip in speech:
            content.update(clip.own.tobytes())
            content.update(clip.processed.tobytes())
        for array in (is_real, is_synthetic, folds.astype(np.int64)):
            content.update(array.tobytes())
        self.key = content.hexdigest()[:16]

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """Check that the network's weights and the noise suppression can be loaded."""
        section = cls.section(config)
        SpeechTexture().start(section.weights)
        if section.noise_suppression == "package":
            require_suppressors()

    @staticmethod
    def section(config: RunConfig) -> SyntheticSpeechConfig:
        """Return the expert's config section."""
        return SyntheticSpeechConfig.model_validate(config.model["experts"]["synthetic_speech"])

    @classmethod
    def gather(cls, clips: LabelledClips, config: RunConfig) -> SyntheticSpeechFitter | None:
        """Compute the statistics of the labelled clips; see `ExpertFitter.gather`."""
        is_real, is_synthetic = clips.target == 0, clips.training_fakes("audio")
        files = [(name, clips.table.split.video_path(name)) for name in clips.table.names]
        # Utterances of a folder of synthetic voices belong to no fold: they are never held out.
        further = [(f"synthetic/{path.name}", path) for path in utterance_files(config.fit.synthetic_voices)]
        trained_on = np.append(is_real | is_synthetic, np.ones(len(further), bool))
        section, folder = cls.section(config), config.fit.cache_dir / "utterances"
        noisy = section.noise_suppression == "package"
        tasks = [
            SpeechTask(
                name=name,
                path=path,
                content=content_key(path),
                copies=COPIES if use else 0,
                noisy=noisy and bool(use),
                features=config.features,
                weights=section.weights,
                seed=config.fit.bank_seed,
                folder=folder,
            )
            for (name, path), use in zip([*files, *further], trained_on, strict=True)
        ]
        failures = compute_missing(tasks, store_speech, cache_runner(config), step="utterances")
        speech = [NO_SPEECH if task.cache_path in failures else read_speech(task.cache_path) for task in tasks]
        fitter = cls(
            speech,
            np.append(is_real, np.zeros(len(further), bool)),
            np.append(is_synthetic, np.ones(len(further), bool)),
            np.append(clips.folds, np.full(len(further), NO_FOLD)),
        )
        if not enough_of_each_class(
            "synthetic_speech", "labelled voices", fitter.counts, clips.folds, least=LEAST_PER_CLASS
        ):
            return None
        log.info("synthetic_speech: %d real and %d synthetic voices", *fitter.counts())
        return fitter

    def chosen(self, without_fold: int | None = None) -> np.ndarray:
        """Return the indices of the clips to fit on: labelled voices with usable audio, outside the fold."""
        audible = np.array([len(clip.own) > 0 for clip in self.speech])
        labelled = (self.is_real | self.is_synthetic) & audible
        return np.flatnonzero(labelled if without_fold is None else labelled & (self.folds != without_fold))

    def counts(self, without_fold: int | None = None) -> np.ndarray:
        """Return the numbers of real and of synthetic voices to fit on, (2,)."""
        return np.bincount(self.is_synthetic[self.chosen(without_fold)].astype(int), minlength=2)

    @torch.no_grad()
    def fit(self, expert: SyntheticSpeechExpert, *, seed: int, without_fold: int | None = None) -> None:
        """Fit the expert. No random choice is made, so every seed gives the same result."""
        if not self.counts(without_fold).all():
            raise WorkError(
                "all labelled voices outside one fold are of one class; the synthetic_speech expert needs both"
            )
        expert.texture.start(expert.config.weights)
        examples, is_synthetic, weights = [], [], []
        for number in self.chosen(without_fold):
            clip = self.speech[number]
            examples += [clip.own, clip.processed]
            # A clip's own utterances have a weight of 1 in total, so long clips do not outweigh short ones.
            weights += [1 / len(clip.own)] * len(clip.own) + [expert.config.processed_weight] * len(clip.processed)
            is_synthetic += [self.is_synthetic[number]] * (len(clip.own) + len(clip.processed))
        fit_machine(expert, np.concatenate(examples), np.array(is_synthetic), np.array(weights))

    @torch.inference_mode()
    def score(self, expert: SyntheticSpeechExpert, clips: np.ndarray) -> np.ndarray:
        """Score labelled clips; see `ExpertFitter.score`."""
        own = [self.speech[clip].own for clip in clips]
        return np.array([float(expert.score(torch.from_numpy(rows))) if len(rows) else np.nan for rows in own])

    def score_pseudo_fakes(self, expert: SyntheticSpeechExpert, fold: int) -> np.ndarray:
        """Return no scores: the expert is calibrated on labelled voices, which it requires."""
        return np.zeros(0)


def fit_machine(
    expert: SyntheticSpeechExpert, examples: np.ndarray, is_synthetic: np.ndarray, weights: np.ndarray
) -> None:
    """Fit the support-vector machine. Voice features and network statistics have equal weight in its distances.

    Args:
        expert: receives the result.
        examples: (N, D) float32.
        is_synthetic: (N,) bool; both classes occur.
        weights: (N,) sample weights. Both classes are scaled to the same total.
    """
    machine: SupportVectors = expert.machine
    parts = np.repeat([VOICE_SIZE, STATISTICS - VOICE_SIZE], [VOICE_SIZE, STATISTICS - VOICE_SIZE])
    spread = np.maximum(examples.std(axis=0), LEAST_SPREAD) * np.sqrt(parts)
    machine.centre.copy_(torch.from_numpy(examples.mean(axis=0)))
    machine.scale.copy_(torch.from_numpy(1 / spread))
    rows = machine.scaled(torch.from_numpy(examples))
    machine.set_step(rows)
    levels = machine.levels(rows)
    # The fit sees the examples in the precision in which its vectors are stored.
    stored = (levels * machine.step).numpy()
    balanced = weights.astype(float)
    for members in (is_synthetic, ~is_synthetic):
        balanced[members] *= weights.sum() / 2 / weights[members].sum()
    fitted = SVC(C=expert.config.cost, gamma=expert.config.gamma).fit(stored, is_synthetic, sample_weight=balanced)
    machine.set_vectors(
        levels[torch.from_numpy(fitted.support_)], torch.from_numpy(fitted.dual_coef_[0].astype(np.float32))
    )
    machine.offset.fill_(float(fitted.intercept_[0]))


def read_speech(path: Path) -> ClipSpeech:
    """Read a file written by `store_speech`."""
    with np.load(path, allow_pickle=False) as stored:
        return ClipSpeech(stored["own"], stored["processed"])


def store_speech(task: SpeechTask) -> str:
    """Compute and store the statistics of one clip's utterances; return the reason code of a failure, or an empty string."""
    try:
        waveform = clip_voice(task.path, task.features)
    except MediaError as error:
        return error.reason
    expert = untrained_expert(task.weights)
    rng = clip_generator(task.seed, task.name)
    copies = []
    if long_enough(waveform):
        copies = [processed_utterance(waveform, rng) for _ in range(task.copies)]
        if task.noisy:
            copies += [utterances(copy, count=1) for copy in noisy_voices(random_crop(waveform, rng), rng)]
    own = statistics(expert, [utterances(waveform)])
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, own=own, processed=statistics(expert, copies))
    return ""


@lru_cache(maxsize=1)
def untrained_expert(weights: Weights) -> SyntheticSpeechExpert:
    """Return an expert with these network weights. A process loads them once, not for every clip."""
    expert = SyntheticSpeechExpert(SyntheticSpeechConfig(weights=weights))
    expert.texture.start(weights)
    return expert


def processed_utterance(waveform: np.ndarray, rng: np.random.Generator) -> Utterances:
    """Return one utterance from a random position of a waveform (S,), after random post-processing."""
    return utterances(post_process(random_crop(waveform, rng), rng), count=1)


@torch.inference_mode()
def statistics(expert: SyntheticSpeechExpert, parts: list[Utterances]) -> np.ndarray:
    """Return the statistics (W, D) float32 of all utterances."""
    rows = [
        expert.statistics(torch.from_numpy(part.waveforms), torch.from_numpy(part.voice)).numpy()
        for part in parts
        if len(part.waveforms)
    ]
    return np.concatenate(rows) if rows else NO_SPEECH.own
