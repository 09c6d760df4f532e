"""Where a split's features lie, and how they are written and read back: the `data/<split>_raw` folder."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

import numpy as np

from utils.errors import UsageError
from utils.features.config import FEATURE_VERSION, FeatureConfig
from utils.features.extract import ClipFacts, ClipFeatures, failed
from utils.files import write_text_atomic

PICTURES, COVARIANCES, WAVES = "audio_feature", "video_feature", "wav_file"


class FeatureStore:
    """Paths, config and contents of one split's feature folder."""

    def __init__(self, root: Path, config: FeatureConfig) -> None:
        """`root` is `data/<split>_raw`; it need not exist yet."""
        self.root = Path(root)
        self.config = config

    def picture_path(self, name: str) -> Path:
        """The mel picture of the clip `name` (a path below the split's folder)."""
        return self.root / PICTURES / f"{name}.jpg"

    def covariance_path(self, name: str) -> Path:
        """The frame covariance of the clip `name`."""
        return self.root / COVARIANCES / f"{name}.npy"

    def wave_path(self, name: str, *, shared_stem: bool = False) -> Path:
        """The waveform of the clip `name`; the whole name is kept where two clips share a stem."""
        return self.root / WAVES / (f"{name}.wav" if shared_stem else f"{PurePosixPath(name).with_suffix('')}.wav")

    def check(self) -> None:
        """Refuse features that were made in another way.

        Raises:
            UsageError: when `features.json` is absent or its fingerprint is another one; the fields are named.
        """
        path = self.root / "features.json"
        redo = "extract again with --overwrite"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"{self.root} holds features without a features.json that says how they were made; {redo}"
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({error}); {redo}") from None
        if stored.get("fingerprint") != self.config.fingerprint():
            fields = self.config.differences(stored.get("features", {}))
            if stored.get("version") != FEATURE_VERSION:
                fields.append(f"version: {stored.get('version')!r} there, {FEATURE_VERSION!r} here")
            raise UsageError(f"the features in {self.root} were made differently ({'; '.join(fields)}); {redo}")

    def write_config(self) -> None:
        """Write `features.json`."""
        content = {
            "fingerprint": self.config.fingerprint(),
            "version": FEATURE_VERSION,
            "features": self.config.model_dump(),
        }
        write_text_atomic(self.root / "features.json", json.dumps(content, indent=2) + "\n")

    def existing(self) -> dict[str, set[str]]:
        """Names of the files that are there, by kind: one walk over the folders instead of a look per clip."""
        return {kind: set(files_below(self.root / kind)) for kind in (PICTURES, COVARIANCES, WAVES)}

    def load(self, name: str, facts: ClipFacts) -> ClipFeatures:
        """Read a clip's features back.

        Args:
            name: the clip.
            facts: its row of `extraction.csv`, which says which modalities to expect.

        Returns:
            The features; `not_extracted` or `unreadable` when a file that should be there is absent or broken.
        """
        if facts.status not in ("ok", "partial"):
            return ClipFeatures(facts)
        covariance = mel_jpeg = None
        try:
            if facts.n_frames:
                covariance = np.load(self.covariance_path(name), allow_pickle=False)
                top_k = self.config.video.top_k
                if covariance.shape != (top_k, top_k) or covariance.dtype != np.float32:
                    return failed("unreadable")
            if facts.has_audio:
                mel_jpeg = self.picture_path(name).read_bytes()
        except FileNotFoundError:
            return failed("not_extracted")
        except (OSError, ValueError, EOFError):
            return failed("unreadable")
        return ClipFeatures(facts, covariance, mel_jpeg)


def files_below(folder: Path) -> list[str]:
    """Names of all files below `folder`, with `/`, relative to it; hidden ones are left out."""
    found: list[str] = []
    waiting = [(str(folder), "")]
    while waiting:
        path, prefix = waiting.pop()
        try:
            entries = os.scandir(path)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    found.append(prefix + entry.name)
    return found
