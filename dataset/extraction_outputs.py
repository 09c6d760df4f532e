"""Output files of an extraction, and the rows of clips whose files are complete."""

from __future__ import annotations

import itertools
import logging
from collections import ChainMap, Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset.manifest import DONE, ManifestRows, Row
from dataset.splits import Split
from utils.features.base import Feature
from utils.features.store import normal_name, normal_names, stems_of

log = logging.getLogger(__name__)


@dataclass
class KnownRows:
    """Rows of a split.

    Attributes:
        old: rows from earlier runs, one per name.
        new: rows that replace them.
    """

    old: ManifestRows = field(default_factory=ManifestRows.empty)
    new: dict[str, Row] = field(default_factory=dict)

    def all(self) -> Mapping[str, Row]:
        """Return the current rows by clip name."""
        return ChainMap(self.new, self.old)  # type: ignore[arg-type]

    def count(self, column: str) -> Counter[str]:
        """Return the number of rows per status or reason."""
        kept = self.old
        if self.new:
            kept = self.old.where(~self.old.table["video_name"].isin(list(self.new)).to_numpy())
        return kept.count(column) + Counter(getattr(row.facts, column) for row in self.new.values())


class OutputPaths:
    """Output paths of each clip's features. Clips that share a stem get distinct wav names."""

    def __init__(self, split: Split, names: list[str]) -> None:
        """Find the shared stems among all names of the label file."""
        self._store = split.store
        self._features = split.store.stored_features()
        self._names = names
        self._stems = stems_of(names)
        self._shared = shared_stems(names, self._stems)
        if self._shared:
            log.info("%s: %d clips share a stem; their wav files use the whole name", split.name, len(self._shared))

    def of(self, name: str) -> dict[str, Path]:
        """Return the clip's paths by feature name."""
        shared = name in self._shared
        return {feature.name: self._store.path(feature.name, name, shared_stem=shared) for feature in self._features}

    def known_rows(self, names: list[str], rows: ManifestRows) -> tuple[KnownRows, list[str]]:
        """Return the rows that are still valid, and the names to extract.

        A failed row is valid until its clip is retried. A row with missing files is not valid.
        """
        rows = rows.of(names)
        whole = self.whole(rows)
        if len(rows) == len(names) and whole.all():
            return KnownRows(rows), []
        failed = (rows.table["status"] == "failed").to_numpy()
        found = {name for name, is_whole in zip(rows.names, whole, strict=True) if is_whole}
        return KnownRows(rows.where(whole | failed)), [name for name in names if name not in found]

    def unseen_rows(self, written: ManifestRows, seen: Collection[str]) -> ManifestRows:
        """Return the rows of clips that are not in `seen` and whose files are complete."""
        unseen = written.where(np.array([name not in seen for name in written], bool))
        return unseen.where(self.whole(unseen))

    def whole(self, rows: ManifestRows) -> np.ndarray:
        """Return a (N,) bool mask of the rows that report success and whose files all exist."""
        whole = rows.table["status"].isin(DONE).to_numpy(copy=True)
        if not whole.any():
            return whole
        combination, facts = rows.combinations()
        for feature in self._features:
            expected = np.array([feature.expected(clip) for clip in facts], bool)[combination]
            existing = self._store.existing(feature)
            files = self._files(feature, rows.names)
            wanted = files if expected.all() else list(itertools.compress(files, expected.tolist()))
            if not same_names(wanted, existing):
                whole &= ~expected | np.fromiter(map(set(existing).__contains__, files), bool, len(rows))
        return whole

    def _files(self, feature: Feature, names: list[str]) -> list[str]:
        """Return the file of a feature below its folder for each clip."""
        suffix, shared = feature.suffix, self._shared
        if not feature.named_by_stem:
            return [name + suffix for name in normal_names(names)]
        stems = self._stems if names == self._names else stems_of(names)
        if not shared:
            return [stem + suffix for stem in stems]
        return [
            (normal_name(name) if name in shared else stem) + suffix for name, stem in zip(names, stems, strict=True)
        ]


def same_names(left: list[str], right: list[str]) -> bool:
    """Return whether two lists of distinct names have the same names in any order.

    Sums of 64-bit hashes are compared. Sets of a million names take three times as long, because each look-up misses the
    processor's cache.
    """
    return len(left) == len(right) and sum(map(hash, left)) == sum(map(hash, right))


def shared_stems(names: list[str], stems: list[str]) -> set[str]:
    """Return the names whose stem is also the stem or the full name of another clip.

    `a.mp4.avi` must not use `a.mp4.wav`: `a.mp4` has this file when it shares its stem with another clip.
    """
    distinct = set(stems)
    if len(distinct) == len(names) and distinct.isdisjoint(normal_names(names)):
        return set()
    counts = Counter(stems)
    taken = {normal_name(name) for name in names}
    return {name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1 or stem in taken}
