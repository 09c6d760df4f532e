"""Feature store: layout and config of a `data/<split>_raw` folder, and reading of its features."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from utils.errors import UsageError
from utils.features.base import FEATURES, Feature, feature_classes, with_sources
from utils.features.clip import ClipFacts, ClipFeatures, failed
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.files import DAMAGED_ARRAY, UNFINISHED_PREFIX, write_text_atomic

REDO = "extract again with --overwrite"


class FeatureStore:
    """Paths, config and contents of the feature folder of one split."""

    def __init__(self, root: Path, config: FeatureConfig) -> None:
        """Bind the store to `root`, the folder `data/<split>_raw`, which may not exist yet."""
        self.root = Path(root)
        self.config = config
        self._stored_config = config

    def path(self, feature: str, name: str, *, shared_stem: bool = False) -> Path:
        """Return the file of a stored feature of the clip `name`, a path below the split's folder.

        For features named by the clip's stem, the full name is used if two clips share a stem (`shared_stem`).
        """
        kind = FEATURES.get(feature).built_class
        stem = stem_of(name) if kind.named_by_stem and not shared_stem else name
        return self.root / kind.folder / f"{stem}{kind.suffix}"

    def stored_features(self) -> list[Feature]:
        """Return the enabled features that are stored as one file per clip."""
        return [feature for feature in self.config.build(self.config.enabled()) if feature.folder]

    def extracted_features(self) -> tuple[str, ...]:
        """Return the names of the features that extraction computes: stored ones and cached ones."""
        features = self.config.build(self.config.enabled())
        return tuple(feature.name for feature in features if feature.folder or feature.cached)

    def check(self) -> None:
        """Check that the features were extracted with this config.

        Raises:
            UsageError: `features.json` is absent or has another fingerprint; the message names the fields.
        """
        stored = self._read_config()
        if stored.get("fingerprint") != self.config.fingerprint():
            fields = self.config.differences(stored["features"])
            if stored.get("version") != FEATURE_VERSION:
                fields.append(f"version: {stored.get('version')!r} stored, {FEATURE_VERSION!r} requested")
            # If no field differs, the file was edited or damaged.
            fields = fields or [
                f"fingerprint: {stored.get('fingerprint')!r} stored, {self.config.fingerprint()!r} requested"
            ]
            raise UsageError(
                f"the features in {self.root} were extracted with other settings ({'; '.join(fields)}); {REDO}"
            )

    def open(self) -> None:
        """Prepare to `load`. Unlike `check`, accept a folder with a larger K or with additional features.

        `load` crops a stored covariance to a smaller K and skips features that are not requested.

        Raises:
            UsageError: see `check`.
        """
        stored = self._read_config()
        adapted = self.config.adapted_to(stored["features"])
        if stored.get("fingerprint") == adapted.fingerprint():
            self._stored_config = adapted
        else:
            self.check()

    def _read_config(self) -> dict[str, Any]:
        path = self.root / "features.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"{self.root} contains features without a features.json that records their settings; {REDO}"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path} cannot be read ({error}); {REDO}") from None
        if not isinstance(stored, dict) or not isinstance(stored.get("features"), dict):
            raise UsageError(f"{path} does not record the settings of the features; {REDO}")
        return stored

    def matches(self) -> bool:
        """Return whether `check` passes."""
        try:
            self.check()
        except UsageError:
            return False
        return True

    def write_config(self) -> None:
        """Write `features.json`."""
        content = {
            "fingerprint": self.config.fingerprint(),
            "version": FEATURE_VERSION,
            "features": self.config.stored(),
        }
        write_text_atomic(self.root / "features.json", json.dumps(content, indent=2) + "\n")

    def has_features(self) -> bool:
        """Return whether the folder of any feature exists."""
        return any((self.root / kind.folder).is_dir() for kind in feature_classes().values() if kind.folder)

    def existing(self, feature: Feature) -> list[str]:
        """List the files of a stored feature. One directory walk replaces a look-up per clip."""
        folder = self.root / feature.folder
        flat = flat_files(folder, feature.suffix)
        return files_below(folder) if flat is None else flat

    def load(self, name: str, facts: ClipFacts, features: Collection[str] | None = None) -> ClipFeatures:
        """Read the stored features of a clip.

        Args:
            name: name of the clip.
            facts: its row of `extraction.csv`, which determines the expected files.
            features: names of the features to load; `None` for `requested()`.

        Returns:
            The features. The reason is `not_extracted` if an expected file is absent, `unreadable` if it is damaged.
        """
        if facts.status not in ("ok", "partial"):
            return ClipFeatures(facts)
        requested = self.requested() if features is None else tuple(features)
        values: dict[str, Any] = {}
        try:
            for feature in self.config.build(with_sources(requested), self._stored_config):
                if not feature.is_derived:
                    values[feature.name] = self._read(feature, name, facts)
                elif all(values[source] is not None for source in feature.fed):
                    values[feature.name] = feature.derive({key: values[key] for key in feature.fed}, self.root)
                else:
                    values[feature.name] = None
        except FileNotFoundError:
            return failed("not_extracted")
        except DAMAGED_ARRAY:
            return failed("unreadable")
        return ClipFeatures(facts, {feature: values[feature] for feature in requested})

    def requested(self) -> tuple[str, ...]:
        """Return the names of the enabled features that provide model inputs."""
        return tuple(feature.name for feature in self.config.build(self.config.enabled()) if feature.inputs)

    def _read(self, feature: Feature, name: str, facts: ClipFacts) -> Any:
        if not feature.expected(facts):
            return None
        path = self.path(feature.name, name, shared_stem=True)
        if feature.named_by_stem and not path.is_file():
            path = self.path(feature.name, name)
        return feature.read(path, facts)


def normal_name(name: str) -> str:
    """Normalise a clip's name: remove `./` and repeated slashes."""
    return str(PurePosixPath(name)) if "/" in name else name


def normal_names(names: list[str]) -> list[str]:
    """Normalise clip names as `normal_name` does; names without sub-folders are returned as they are."""
    return [normal_name(name) for name in names] if "/" in "\n".join(names) else names


def stem_of(name: str) -> str:
    """Return a clip's name with its sub-folders and without its suffix."""
    if "/" not in name:
        stem, _, _ = name.rpartition(".")
        # The suffix of a name such as `..mp4` is not one to `splitext`.
        if stem and not stem.startswith("."):
            return stem
    return os.path.splitext(normal_name(name))[0]


def stems_of(names: list[str]) -> list[str]:
    """Return `stem_of` each name."""
    if "/" not in "\n".join(names):
        # Without sub-folders, the stem ends before the last dot unless only dots precede it.
        stems = [name.rpartition(".")[0] for name in names]
        if all(stems) and "\n." not in "\n".join(["", *stems]):
            return stems
    return [stem_of(name) for name in names]


def files_below(folder: Path) -> list[str]:
    """List all finished files below `folder` as relative paths with `/`."""
    found: list[str] = []
    waiting = [(str(folder), "")]
    while waiting:
        path, prefix = waiting.pop()
        try:
            listing = os.scandir(path)
        except FileNotFoundError:
            continue
        folders: list[os.DirEntry] = []
        with listing:
            # Folders are set aside. One expression is three times as fast as a loop, and folders have up to 10^6 files.
            names = [entry.name for entry in listing if not entry.is_dir() or folders.append(entry)]  # type: ignore[func-returns-value]
        waiting += [(entry.path, f"{prefix}{entry.name}/") for entry in folders if is_finished(entry.name)]
        # One search of all names is ten times as fast as one per name, and few folders contain unfinished files.
        if UNFINISHED_PREFIX in "\n".join(names):
            names = [name for name in names if is_finished(name)]
        found += [prefix + name for name in names] if prefix else names
    return found


def flat_files(folder: Path, suffix: str) -> list[str] | None:
    """List a folder that has only finished files with a suffix and no sub-folder, or return `None` if that is not certain.

    A folder without sub-folders has two links on most local file systems. Its names can be listed without the type of each
    entry, in two thirds of the time. On file systems that always report two links, sub-folders lack the suffix.
    """
    try:
        if folder.stat().st_nlink != 2:
            return None
        names = os.listdir(folder)
    except OSError:
        return None
    is_plain = all([name.endswith(suffix) for name in names]) and UNFINISHED_PREFIX not in "\n".join(names)
    return names if is_plain else None


def is_finished(name: str) -> bool:
    """Return whether a file or folder is not one that is being written."""
    return not name.startswith(UNFINISHED_PREFIX)
