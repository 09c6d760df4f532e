"""Training examples of the voice experts: windows of real clips, of their pseudo-fakes and of speech synthesisers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dataset.pseudo_fakes.common import REAL, clip_generator
from dataset.pseudo_fakes.voice.families import VOICE_FAKES
from dataset.pseudo_fakes.voice.post_process import post_process
from utils.cache import Runner, compute_missing, entry_key
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.features.encoders import speech_encoder
from utils.features.extract import clip_voice
from utils.features.speech_embedding import encoder_fingerprint
from utils.features.voice import (
    VOICE_RATE_HZ,
    VOICE_VERSION,
    long_enough,
    voice_features,
    voice_windows,
    window_features,
)
from utils.files import atomic_path
from utils.media.errors import MediaError

log = logging.getLogger(__name__)

VOICE_EXAMPLES_VERSION = 2
"""Increase it when the same audio clip and seed would give different examples; cached examples are then recomputed."""

CROP_S, CROP_RMS = 6, 0.1
SYNTHETIC = "synthetic"
"""Kind of the examples made by a speech synthesiser."""

SYNTHETIC_SHARE = 0.3
"""Share of synthesised utterances in the total weight of forged voices."""

NO_FOLD = -1
"""Fold number of examples that do not come from a labelled clip. They are never held out."""

LEAST_REAL_CLIPS = 2

Use = Literal["real", "synthetic", "scored"]

WindowFeatures = Callable[[np.ndarray], np.ndarray]
"""Features (D,) of a window (S,) at 16 kHz."""


@dataclass(frozen=True)
class VoiceExampleCounts:
    """Number of training examples per audio clip.

    Attributes:
        real_copies: examples of the unforged clip, each with its own post-processing.
        fake_copies: examples of each family of `VOICE_FAKES`.
        synthetic_copies: examples of a synthesiser's utterance; all but the first are post-processed.
    """

    real_copies: int = 8
    fake_copies: int = 2
    synthetic_copies: int = 3


@dataclass(frozen=True)
class VoiceTask:
    """Task of making the examples of one audio clip.

    Attributes:
        name: the clip's name; together with `seed` it determines all random choices.
        path: the clip.
        content: `content_key` of the clip.
        use: `real`: a real voice to make pseudo-fakes from; `synthetic`: a voice that is already forged; `scored`: a clip
            that only needs its own windows, not training examples.
        features: the feature config.
        counts: number of examples.
        seed: seed of all random choices.
        folder: folder of the cache.
        encoder: the speech encoder that computes a window's features; `None` for the voice features.
    """

    name: str
    path: Path
    content: str
    use: Use
    features: FeatureConfig
    counts: VoiceExampleCounts
    seed: int
    folder: Path
    encoder: str | None = None

    @property
    def cache_path(self) -> Path:
        """The file of the examples."""
        encoder = None if self.encoder is None else encoder_fingerprint(speech_encoder(self.encoder))
        versions = [VOICE_EXAMPLES_VERSION, VOICE_VERSION, FEATURE_VERSION]
        recipe = [self.name, self.use, self.features.fingerprint(), asdict(self.counts), self.seed, encoder]
        return self.folder / f"{entry_key(self.content, *recipe, *versions)}.npz"


@dataclass(frozen=True)
class ClipVoice:
    """Windows and training examples of one audio clip.

    Attributes:
        windows: (W, D) float32, features of the clip itself; W = 0 without audio.
        examples: (N, D) float32 for training; N = 0 for `scored` and for clips that are too short.
        kinds: (N,) kind of each example: `real`, `synthetic` or the name of a pseudo-fake family.
    """

    windows: np.ndarray
    examples: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class VoiceExamples:
    """Windows of the labelled clips, and the training examples of all audio clips.

    Attributes:
        windows: (W, D) float32 per labelled clip; W = 0 without audio.
        fold_of_clip: (clips,) fold of each labelled clip.
        examples: (N, D) float32.
        kinds: (N,) `real`, `synthetic` or a pseudo-fake family.
        folds: (N,) the fold of the clip that an example was made from, or `NO_FOLD`.
        groups: (N,) the group of that clip.
    """

    windows: list[np.ndarray]
    fold_of_clip: np.ndarray
    examples: np.ndarray
    kinds: np.ndarray
    folds: np.ndarray
    groups: np.ndarray

    @property
    def is_fake(self) -> np.ndarray:
        """(N,) bool: forged or synthetic examples."""
        return self.kinds != REAL

    def digest(self) -> str:
        """Return 16 hex digits that differ whenever the examples do."""
        content = hashlib.sha256(self.examples.tobytes())
        for array in (self.fold_of_clip, self.folds, *self.windows):
            content.update(array.tobytes())
        for names in (self.kinds, self.groups):
            content.update("\n".join(names.tolist()).encode())
        return content.hexdigest()[:16]


def random_crop(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `CROP_S` seconds from a random position, scaled to an RMS of `CROP_RMS`."""
    waveform = CROP_RMS * waveform / (np.sqrt((waveform**2).mean()) + 1e-6)
    start = int(rng.integers(0, max(1, len(waveform) - CROP_S * VOICE_RATE_HZ + 1)))
    return waveform[start : start + CROP_S * VOICE_RATE_HZ]


def random_window(waveform: np.ndarray, rng: np.random.Generator, features: WindowFeatures) -> np.ndarray:
    """Return the features (D,) of a random window."""
    choices = voice_windows(waveform)
    return features(choices[int(rng.integers(len(choices)))])


def real_examples(
    waveform: np.ndarray,
    rng: np.random.Generator,
    counts: VoiceExampleCounts,
    features: WindowFeatures = voice_features,
) -> tuple[np.ndarray, list[str]]:
    """Make examples of a real voice and of its pseudo-fakes, with the same kinds of post-processing.

    For a given waveform, the forgeries depend on `rng` but not on `features`.

    Args:
        waveform: (S,) at 16 kHz.
        rng: source of all random choices.
        counts: number of examples.
        features: features of a window.

    Returns:
        Features (N, D) float32, and the kind of each example: `real` or a family's name.
    """
    copies = counts.real_copies
    examples = [random_window(post_process(random_crop(waveform, rng), rng), rng, features) for _ in range(copies)]
    kinds = [REAL] * copies
    for family, forge in VOICE_FAKES.items():
        for _ in range(counts.fake_copies):
            examples.append(random_window(post_process(forge(random_crop(waveform, rng), rng), rng), rng, features))
            kinds.append(family)
    return np.stack(examples), kinds


def synthetic_examples(
    waveform: np.ndarray,
    rng: np.random.Generator,
    counts: VoiceExampleCounts,
    features: WindowFeatures = voice_features,
) -> tuple[np.ndarray, list[str]]:
    """Make examples of a voice that is already forged, all of the kind `synthetic`; see `real_examples`."""
    examples = []
    for copy in range(counts.synthetic_copies):
        crop = random_crop(waveform, rng)
        examples.append(random_window(crop if copy == 0 else post_process(crop, rng), rng, features))
    return np.stack(examples), [SYNTHETIC] * len(examples)


def load_voices(tasks: Sequence[VoiceTask], run: Runner) -> list[ClipVoice | None]:
    """Make the examples of audio clips that are not in the training cache.

    Returns:
        One per task, in order; `None` for a clip that cannot be read. The reason is logged.
    """
    failures = compute_missing(tasks, store_voice, run, step="voice examples")
    return [None if task.cache_path in failures else read_voice(task.cache_path) for task in tasks]


def read_voice(path: Path) -> ClipVoice:
    """Read a file written by `store_voice`."""
    with np.load(path, allow_pickle=False) as stored:
        return ClipVoice(stored["windows"], stored["examples"], stored["kinds"])


def store_voice(task: VoiceTask) -> str:
    """Make and store one audio clip's examples; return the reason code of a failure, or an empty string."""
    try:
        waveform = clip_voice(task.path, task.features)
    except MediaError as error:
        return error.reason
    features = voice_features if task.encoder is None else speech_encoder(task.encoder).pooled
    windows = window_features(waveform, features) if long_enough(waveform) else np.zeros((0, 0), np.float32)
    examples, kinds = np.zeros((0, 0), np.float32), np.zeros(0, "U1")
    if task.use != "scored" and long_enough(waveform):
        make = real_examples if task.use == "real" else synthetic_examples
        examples, names = make(waveform, clip_generator(task.seed, task.name), task.counts, features)
        kinds = np.array(names)
    with atomic_path(task.cache_path) as temporary, open(temporary, "wb") as file:
        np.savez(file, windows=windows, examples=examples, kinds=kinds)
    return ""


def assemble(voices: list[ClipVoice | None], folds: np.ndarray, groups: np.ndarray) -> VoiceExamples | None:
    """Join the examples of labelled clips with those of synthesised utterances, in this order.

    Returns:
        The examples, or `None` if too few real clips remain outside a fold; the numbers are logged.
    """
    windows, parts = [], []
    for number, voice in enumerate(voices):
        is_clip = number < len(folds)
        if is_clip:
            windows.append(np.zeros((0, 0), np.float32) if voice is None else voice.windows)
        if voice is not None and len(voice.examples):
            fold, group = (folds[number], groups[number]) if is_clip else (NO_FOLD, SYNTHETIC)
            count = len(voice.examples)
            parts.append((voice.examples, voice.kinds, np.full(count, fold), np.full(count, group, object)))
    fold_of_real = np.array([part[2][0] for part in parts if part[1][0] == REAL])
    n_real, fewest = len(fold_of_real), min((fold_of_real != fold).sum() for fold in np.unique(folds))
    if n_real < LEAST_REAL_CLIPS or fewest == 0:
        log.warning(
            "the voice expert is left out: %d real clips with usable audio, %d outside the largest fold; it needs %d",
            n_real,
            fewest,
            LEAST_REAL_CLIPS,
        )
        return None
    examples, kinds, fold_of_example, group_of_example = (np.concatenate(part) for part in zip(*parts, strict=True))
    log.info(
        "voice: %d training examples from %d real clips, %d of them synthetic",
        len(examples),
        n_real,
        (kinds == SYNTHETIC).sum(),
    )
    return VoiceExamples(windows, folds, examples, kinds, fold_of_example, group_of_example)


def balanced_weights(kinds: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return sample weights (N,) for examples of these kinds and groups.

    Both classes have the same total weight, and synthesisers have `SYNTHETIC_SHARE` of the fakes' weight. Within a class an
    example's weight falls with the square root of its group's size.
    """
    is_fake, synthetic = kinds != REAL, kinds == SYNTHETIC
    keys = np.array([f"{group} {fake}" for group, fake in zip(groups, is_fake, strict=True)])
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[inverse])
    share = SYNTHETIC_SHARE if synthetic.any() else 0.0
    for chosen, total in (
        (~is_fake, 0.5),
        (is_fake & ~synthetic, 0.5 * (1 - share)),
        (synthetic, 0.5 * share),
    ):
        if chosen.any():
            weights[chosen] *= total / weights[chosen].sum()
    return weights * len(weights)
