"""What experts of the voice are trained on, kept on disk clip by clip so that an interrupted training goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dataset.pseudo_fakes.bank import BANK_VERSION, BankConfig, real_rows, synthetic_rows
from dataset.workers import run_in_workers
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.features.encoders import speech_encoder
from utils.features.extract import clip_voice
from utils.features.speech_embedding import encoder_fingerprint
from utils.features.voice import VOICE_VERSION, describe, long_enough, voice_features
from utils.files import atomic_path, is_whole_archive
from utils.media.errors import MediaError

log = logging.getLogger(__name__)

Use = Literal["real", "synthetic", "scored"]


@dataclass(frozen=True)
class VoiceTask:
    """One recording to describe.

    Attributes:
        name: what the caller calls it; with the seed it decides what the random changes are.
        path: where it lies.
        use: `real`: a real voice, which pseudo-fakes are made of; `synthetic`: a synthesiser's utterance; `scored`: only
            described as it is.
        folder: where its rows are kept.
        encoder: the speech encoder that describes its windows; `None` for the voice features.
    """

    name: str
    path: Path
    use: Use
    features: FeatureConfig
    bank: BankConfig
    seed: int
    folder: Path
    encoder: str | None = None

    @property
    def kept(self) -> Path:
        """The file of its rows; another one whenever the rows would differ."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        recipe = [self.name, size, self.use, self.features.fingerprint(), asdict(self.bank), self.seed]
        if self.encoder is not None:
            recipe.append(encoder_fingerprint(speech_encoder(self.encoder)))
        text = json.dumps([*recipe, BANK_VERSION, VOICE_VERSION, FEATURE_VERSION], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


@dataclass(frozen=True)
class VoiceRows:
    """What is known of a recording.

    Attributes:
        windows: (W, D) float32, the recording as it is; W = 0 when it has no sound.
        rows: (N, D) float32 for training; N = 0 for `scored`, and for a recording that is too short.
        kinds: (N,) what each row is: `real`, `synthetic` or the name of a pseudo-fake family.
    """

    windows: np.ndarray
    rows: np.ndarray
    kinds: np.ndarray


def load_voices(
    tasks: Iterable[VoiceTask], *, workers: int, timeout_s: float
) -> Iterator[tuple[VoiceTask, VoiceRows | None]]:
    """The rows of each recording in order, made in worker processes unless they are kept already.

    Yields:
        (task, rows), or (task, `None`) for a recording that cannot be read; the log says why.
    """
    tasks = list(tasks)
    missing = [task for task in tasks if not is_whole_archive(task.kept)]
    for folder in {task.folder for task in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    reasons: dict[Path, str] = {}
    made = run_in_workers(make_rows, missing, workers=workers, timeout_s=timeout_s) if missing else ()
    for number, (task, failure, reason) in enumerate(made, start=1):
        reasons[task.kept] = reason or failure or ""
        log.info("%d of %d recordings described", number, len(missing))
    for task in tasks:
        if reason := reasons.get(task.kept, ""):
            log.warning("%s is left out: %s", task.name, reason)
            yield task, None
        else:
            with np.load(task.kept, allow_pickle=False) as kept:
                yield task, VoiceRows(kept["windows"], kept["rows"], kept["kinds"])


def make_rows(task: VoiceTask) -> str:
    """Describe one recording and keep its rows; returns the reason code of a failure, or nothing."""
    try:
        waveform = clip_voice(task.path, task.features)
    except MediaError as error:
        return error.reason
    features = voice_features if task.encoder is None else speech_encoder(task.encoder).pooled
    windows = describe(waveform, features) if long_enough(waveform) else np.zeros((0, 0), np.float32)
    rows, kinds = np.zeros((0, 0), np.float32), np.zeros(0, "U1")
    if task.use != "scored" and long_enough(waveform):
        digest = hashlib.sha256(task.name.encode()).digest()
        rng = np.random.default_rng((task.seed, int.from_bytes(digest[:8], "big")))
        make = real_rows if task.use == "real" else synthetic_rows
        rows, names = make(waveform, rng, task.bank, features)
        kinds = np.array(names)
    with atomic_path(task.kept) as temporary, open(temporary, "wb") as file:
        np.savez(file, windows=windows, rows=rows, kinds=kinds)
    return ""
