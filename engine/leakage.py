"""Search, before a run starts, for training clips that also occur in the evaluated splits.

Three checks compare each training clip with each clip of another split:

- `same_bytes`: the clip files are equal. Sizes are compared, then 8 KiB of each candidate, then SHA-256: about 0.1 ms a clip.
- `same_visual`: the clips show the same frames.
- `same_audio`: the clips have the same audio, even if it was cut or re-encoded.

`split.check` selects the checks:

- `stored` (default) runs the last two on the extracted features, because decoding every clip before every run would take longer
  than the run. Equal covariance files mean equal frame histograms (a re-mux, or a fake with unchanged frames); equal
  mel-spectrogram images mean equal audio. Audio fingerprints are computed from the stored waveforms (about 5 ms a clip) and
  cached in `<split>_raw/fingerprints.waves.npz`.
- `clips` decodes each clip once and also compares frame fingerprints, cached in `<split>_raw/fingerprints.clips.npz`. It finds
  re-encoded video, whose covariance differs too much to be recognised.
- `files` runs the first check only, `off` none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataset.clips import ClipTable
from dataset.equal_files import equal_files
from dataset.extraction import OutputPaths
from dataset.fingerprints import FingerprintTable, find_near_duplicates, fingerprint_clips
from dataset.fingerprints.fingerprint import fingerprint_clip, fingerprint_wave
from engine.config import RunConfig
from utils.errors import UsageError
from utils.features.mel import decode_image
from utils.files import DAMAGED_ARRAY, write_text_atomic

Pair = tuple[str, str]

ALIKE = ("same_visual", "same_audio")
"""Checks of `find_near_duplicates`."""

PAIRS_IN_METRICS = 100
PAIRS_IN_MESSAGE = 3
IN_PROCESS_BELOW = 1000
"""Below this number, waveforms are read in this process, because starting worker processes would take longer."""


@dataclass(frozen=True)
class Leakage:
    """Matching pairs of a training clip and a clip of another split, each named `<split>/<clip>`.

    Attributes:
        check: the value of `split.check`.
        found: pairs by check: `same_bytes`, `same_visual`, `same_audio`; a check that was not run is absent.
        n_blind: number of clips without a fingerprint (no audio, not extracted or unreadable); not all checks apply to them.
    """

    check: str
    found: dict[str, list[Pair]] = field(default_factory=dict)
    n_blind: int = 0

    def as_metrics(self) -> dict[str, Any]:
        """Return the counts and the first pairs, for `metrics.json`."""
        counts = {check: len(pairs) for check, pairs in self.found.items()}
        return {
            "check": self.check,
            **counts,
            "without_fingerprint": self.n_blind,
            "pairs": {check: [list(pair) for pair in pairs[:PAIRS_IN_METRICS]] for check, pairs in self.found.items()},
        }

    def sentence(self) -> str:
        """Return the counts in one line."""
        if not self.found:
            return "leakage: not checked (split.check is off)"
        counts = ", ".join(f"{len(pairs)} {check.replace('_', ' ')}" for check, pairs in self.found.items())
        blind = f"; {self.n_blind} clips have no fingerprint" if self.n_blind else ""
        return f"leakage: pairs of a training and an evaluated clip: {counts} (split.check: {self.check}{blind})"


def check_leakage(train: ClipTable, others: Sequence[ClipTable], config: RunConfig) -> Leakage:
    """Compare the training clips with those of the evaluated splits.

    Args:
        train: the training clips.
        others: the validation split, then the test split if it is evaluated.
        config: the run config; `split.check`, `split.strict` and `extraction.workers` are used.

    Raises:
        UsageError: a training and a validation clip have the same bytes, or any pair was found and `split.strict` is set.
    """
    if config.split.check == "off":
        return Leakage("off")
    tables = [train, *others]
    found: dict[str, list[Pair]] = {"same_bytes": []}
    prints: list[FingerprintTable] = []
    if config.split.check != "files":
        found |= {"same_visual": [], "same_audio": []}
        prints = [fingerprints_of(table, config) for table in tables]
    for index, other in enumerate(others, start=1):
        pairs = {"same_bytes": equal_files(clip_paths(train), clip_paths(other))}
        if config.split.check == "stored":
            pairs |= {"same_visual": equal_covariances(train, other), "same_audio": equal_mel_images(train, other)}
        if prints:
            alike = near_duplicates(prints[0], prints[index], duplicates_cache(other, config))
            pairs |= {check: [*pairs.get(check, []), *some] for check, some in alike.items()}
        for check, some in pairs.items():
            found[check] += [
                (f"{train.split.name}/{mine}", f"{other.split.name}/{theirs}") for mine, theirs in sorted(set(some))
            ]
        if pairs["same_bytes"] and other.split.name == "valset":
            refuse("have the same bytes", found["same_bytes"], "remove one of each pair, or set split.check=off")
    shared = list(dict.fromkeys(pair for pairs in found.values() for pair in pairs))
    if shared and config.split.strict:
        hint = "divide the clips with utils/make_splits.py --near_duplicates, or set split.strict=false"
        refuse("share frames or audio", shared, hint)
    return Leakage(config.split.check, found, sum(int((table.reasons != "").sum()) for table in prints))


def refuse(what: str, pairs: list[Pair], hint: str) -> None:
    """Raise a `UsageError` that names the first pairs."""
    first = "; ".join(f"{mine} = {theirs}" for mine, theirs in pairs[:PAIRS_IN_MESSAGE])
    more = f" and {len(pairs) - PAIRS_IN_MESSAGE} more" if len(pairs) > PAIRS_IN_MESSAGE else ""
    raise UsageError(f"{len(pairs)} pair(s) of training and evaluated clips {what}: {first}{more}; {hint}")


def clip_paths(clips: ClipTable) -> dict[str, Path]:
    """Return the path of each clip."""
    return {name: clips.split.video_path(name) for name in clips.names}


def wave_paths(clips: ClipTable) -> dict[str, Path]:
    """Return the path of each clip's stored waveform."""
    outputs = OutputPaths(clips.split, clips.names)
    return {name: outputs.of(name)["waveform"] for name in clips.names}


def equal_covariances(train: ClipTable, other: ClipTable) -> list[Pair]:
    """Return pairs whose stored covariances are equal and not constant."""
    path_of = partial(train.split.store.path, "covariance")
    others = {name: other.split.store.path("covariance", name) for name in other.names}
    pairs = equal_files({name: path_of(name) for name in train.names}, others)
    return [pair for pair in pairs if varies(load_covariance(path_of(pair[0])))]


def equal_mel_images(train: ClipTable, other: ClipTable) -> list[Pair]:
    """Return pairs whose stored mel-spectrogram images are equal and not constant."""
    path_of = partial(train.split.store.path, "mel")
    others = {name: other.split.store.path("mel", name) for name in other.names}
    pairs = equal_files({name: path_of(name) for name in train.names}, others)
    return [pair for pair in pairs if varies(decode_image(path_of(pair[0]).read_bytes()))]


def load_covariance(path: Path) -> np.ndarray | None:
    """Load a stored covariance; return `None` if the file is not a valid one."""
    try:
        stored = np.load(path, allow_pickle=False)
    except DAMAGED_ARRAY:
        return None
    return stored if isinstance(stored, np.ndarray) and stored.size else None


def varies(feature: np.ndarray | None) -> bool:
    """Return whether a feature is not constant. All silent or single-frame clips have the same constant features."""
    return feature is not None and bool(feature.min() != feature.max())


def fingerprints_of(clips: ClipTable, config: RunConfig) -> FingerprintTable:
    """Return the fingerprints of a split's stored waveforms or clips, cached in its feature folder if that exists."""
    stored = config.split.check == "stored"
    paths = wave_paths(clips) if stored else clip_paths(clips)
    few = stored and len(paths) < IN_PROCESS_BELOW
    return fingerprint_clips(
        paths,
        cache_path(clips, f"fingerprints.{'waves' if stored else 'clips'}.npz"),
        function=fingerprint_wave if stored else fingerprint_clip,
        workers=config.extraction.workers,
        timeout_s=config.extraction.timeout_s,
        in_process=few,
        quiet=few,
    )


def cache_path(clips: ClipTable, name: str) -> Path | None:
    """Return the path of a cache file in the split's feature folder; `None` if the folder does not exist."""
    raw = clips.split.store.root
    return raw / name if raw.is_dir() else None


def duplicates_cache(clips: ClipTable, config: RunConfig) -> Path | None:
    """Return the cache file of the pairs with training clips; searching hundreds of thousands of clips takes minutes."""
    return cache_path(clips, f"alike_to_training.{config.split.check}.json")


def near_duplicates(mine: FingerprintTable, theirs: FingerprintTable, cache: Path | None) -> dict[str, list[Pair]]:
    """Return pairs of near-duplicates, one clip of each table; use cached pairs if the fingerprints are unchanged."""
    key = f"{mine.digest()}-{theirs.digest()}"
    found = read_duplicates(cache, key)
    if found is None:
        side = np.arange(len(mine) + len(theirs)) >= len(mine)
        alike = find_near_duplicates(mine.joined(theirs), side)
        found = {
            check: [(mine.names[first], theirs.names[second - len(mine)]) for first, second in pairs.tolist()]
            for check, pairs in zip(ALIKE, (alike.visual, alike.audio), strict=True)
        }
        if cache is not None:
            write_text_atomic(cache, json.dumps({"key": key, "pairs": found}) + "\n")
    return found


def read_duplicates(cache: Path | None, key: str) -> dict[str, list[Pair]] | None:
    """Return the cached pairs; `None` if there are none with this key, or the cache is damaged."""
    if cache is None:
        return None
    try:
        stored = json.loads(cache.read_text(encoding="utf-8"))
        pairs = {check: [(mine, theirs) for mine, theirs in stored["pairs"][check]] for check in ALIKE}
        return pairs if stored["key"] == key else None
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return None
