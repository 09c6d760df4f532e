"""Clips that training shares with the splits it is judged on, looked for before a run starts.

Three questions, each about pairs of one training clip and one clip of another split:

- `same_bytes`: are the clip files equal? Sizes first, then 8 KiB of each candidate, then SHA-256: about 0.1 ms a clip.
- `same_visual`: do the clips show the same frames?
- `same_audio`: do they sound alike, wherever they were cut and however they were encoded?

How the last two are answered is `split.check`. Decoding every clip again before every run would cost more than the run, so the
default, `stored`, asks what the extractor left: equal covariance files mean equal frame histograms (a re-mux, or a fake whose
frames were not touched), equal mel pictures the same for sound, and the stored waveform gives the audio fingerprint (about 5 ms
a clip, once: it is kept in `<split>_raw/fingerprints.waves.npz`). A re-encoded picture track changes the covariance too much to
be recognised by it; `clips` therefore decodes each clip once and compares frame fingerprints too (kept in
`<split>_raw/fingerprints.clips.npz`). `files` asks the first question only, `off` none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dataset.clips import ClipTable
from dataset.equal_files import equal_files
from dataset.extraction import OutputPaths
from dataset.fingerprints import FingerprintTable, find_near_duplicates, fingerprint_clips
from dataset.fingerprints.clip import fingerprint_clip, fingerprint_wave
from engine.config import RunConfig
from utils.errors import UsageError
from utils.features.mel import decode_picture
from utils.files import write_text_atomic

Pair = tuple[str, str]

PAIRS_IN_METRICS = 100
PAIRS_IN_MESSAGE = 3
IN_PROCESS_BELOW = 1000
"""Fewer waveforms than this are read here: starting worker processes would take longer."""


@dataclass(frozen=True)
class Leakage:
    """Pairs of a training clip and a clip of another split, each named `<split>/<clip>`.

    Attributes:
        check: the value of `split.check`.
        found: pairs by question: `same_bytes`, `same_visual`, `same_audio`; a question that was not asked is absent.
        n_blind: clips without a fingerprint (no sound, not extracted, unreadable), about which less is known.
    """

    check: str
    found: dict[str, list[Pair]] = field(default_factory=dict)
    n_blind: int = 0

    def as_metrics(self) -> dict[str, Any]:
        """Counts and the first pairs, for metrics.json."""
        counts = {question: len(pairs) for question, pairs in self.found.items()}
        return {
            "check": self.check,
            **counts,
            "without_fingerprint": self.n_blind,
            "pairs": {
                question: [list(pair) for pair in pairs[:PAIRS_IN_METRICS]] for question, pairs in self.found.items()
            },
        }

    def sentence(self) -> str:
        """The counts in one line."""
        if not self.found:
            return "leakage: not checked (split.check is off)"
        counts = ", ".join(f"{len(pairs)} {question.replace('_', ' ')}" for question, pairs in self.found.items())
        blind = f"; {self.n_blind} clips have no fingerprint" if self.n_blind else ""
        return f"leakage: pairs of a training clip and an evaluated one: {counts} (split.check: {self.check}{blind})"


def check_leakage(train: ClipTable, others: Sequence[ClipTable], config: RunConfig) -> Leakage:
    """Compare the training clips with those of the splits that the run is judged on.

    Args:
        train: the training clips.
        others: validation first, then the test split when it is evaluated.
        config: `split.check`, `split.strict` and the extraction's workers.

    Raises:
        UsageError: a training and a validation clip have the same bytes, or, with `split.strict`, any pair was found.
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
            pairs |= {"same_visual": equal_covariances(train, other), "same_audio": equal_pictures(train, other)}
        if prints:
            alike = alike_clips(prints[0], prints[index], alike_cache(other, config))
            pairs |= {question: [*pairs.get(question, []), *some] for question, some in alike.items()}
        for question, some in pairs.items():
            found[question] += [
                (f"{train.split.name}/{mine}", f"{other.split.name}/{theirs}") for mine, theirs in sorted(set(some))
            ]
        if pairs["same_bytes"] and other.split.name == "valset":
            refuse("have the same bytes", found["same_bytes"], "remove one of each pair, or set split.check=off")
    shared = list(dict.fromkeys(pair for pairs in found.values() for pair in pairs))
    if shared and config.split.strict:
        hint = "divide the clips with utils/make_splits.py --near_duplicates, or set split.strict=false"
        refuse("share frames or sound", shared, hint)
    return Leakage(config.split.check, found, sum(int((table.reasons != "").sum()) for table in prints))


def refuse(what: str, pairs: list[Pair], hint: str) -> None:
    """Raise the `UsageError` that names the first pairs."""
    first = "; ".join(f"{mine} = {theirs}" for mine, theirs in pairs[:PAIRS_IN_MESSAGE])
    more = f" and {len(pairs) - PAIRS_IN_MESSAGE} more" if len(pairs) > PAIRS_IN_MESSAGE else ""
    raise UsageError(f"{len(pairs)} pair(s) of training and evaluated clips {what}: {first}{more}; {hint}")


def clip_paths(clips: ClipTable) -> dict[str, Path]:
    """Where each clip lies."""
    return {name: clips.split.video_path(name) for name in clips.names}


def wave_paths(clips: ClipTable) -> dict[str, Path]:
    """Where each clip's stored waveform lies."""
    outputs = OutputPaths(clips.split, clips.names)
    return {name: outputs.of(name)["wave"] for name in clips.names}


def equal_covariances(train: ClipTable, other: ClipTable) -> list[Pair]:
    """Pairs whose stored covariances are equal and say something."""
    path_of = train.split.store.covariance_path
    others = {name: other.split.store.covariance_path(name) for name in other.names}
    pairs = equal_files({name: path_of(name) for name in train.names}, others)
    return [pair for pair in pairs if varies(load_covariance(path_of(pair[0])))]


def equal_pictures(train: ClipTable, other: ClipTable) -> list[Pair]:
    """Pairs whose stored mel pictures are equal and show sound."""
    path_of = train.split.store.picture_path
    others = {name: other.split.store.picture_path(name) for name in other.names}
    pairs = equal_files({name: path_of(name) for name in train.names}, others)
    return [pair for pair in pairs if varies(decode_picture(path_of(pair[0]).read_bytes()))]


def load_covariance(path: Path) -> np.ndarray | None:
    """A stored covariance; `None` when the file is not one."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def varies(feature: np.ndarray | None) -> bool:
    """Whether a feature is not constant: those of silence and of single frames are, and equal by that alone."""
    return feature is not None and bool(feature.min() != feature.max())


def fingerprints_of(clips: ClipTable, config: RunConfig) -> FingerprintTable:
    """A split's fingerprints, of its stored waveforms or of its clips, kept in its feature folder where there is one."""
    stored = config.split.check == "stored"
    paths = wave_paths(clips) if stored else clip_paths(clips)
    few = stored and len(paths) < IN_PROCESS_BELOW
    return fingerprint_clips(
        paths,
        kept_in_store(clips, f"fingerprints.{'waves' if stored else 'clips'}.npz"),
        function=fingerprint_wave if stored else fingerprint_clip,
        workers=config.extraction.workers,
        timeout_s=config.extraction.timeout_s,
        in_process=few,
        quiet=few,
    )


def kept_in_store(clips: ClipTable, name: str) -> Path | None:
    """A file in the split's feature folder; `None` where there is no such folder."""
    raw = clips.split.store.root
    return raw / name if raw.is_dir() else None


def alike_cache(clips: ClipTable, config: RunConfig) -> Path | None:
    """Where the pairs with the training clips are kept: the search takes minutes for hundreds of thousands of clips."""
    return kept_in_store(clips, f"alike_to_training.{config.split.check}.json")


def alike_clips(mine: FingerprintTable, theirs: FingerprintTable, cache: Path | None) -> dict[str, list[Pair]]:
    """Pairs of a clip of each table that look or sound alike; from the cache when it is of these very fingerprints."""
    key = f"{mine.digest()}-{theirs.digest()}"
    found = read_alike(cache, key)
    if found is None:
        side = np.arange(len(mine) + len(theirs)) >= len(mine)
        alike = find_near_duplicates(mine.joined(theirs), side)
        found = {
            question: [(mine.names[first], theirs.names[second - len(mine)]) for first, second in pairs.tolist()]
            for question, pairs in (("same_visual", alike.visual), ("same_audio", alike.audio))
        }
        if cache is not None:
            write_text_atomic(cache, json.dumps({"key": key, "pairs": found}) + "\n")
    return found


def read_alike(cache: Path | None, key: str) -> dict[str, list[Pair]] | None:
    """The cached pairs; `None` when there are none of this key."""
    try:
        stored = json.loads(cache.read_text(encoding="utf-8")) if cache is not None else {}
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or stored.get("key") != key:
        return None
    return {question: [(mine, theirs) for mine, theirs in pairs] for question, pairs in stored["pairs"].items()}
