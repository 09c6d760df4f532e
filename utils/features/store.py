"""Where a split's features lie, and how they are written and read back: the `data/<split>_raw` folder."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from tokenize import TokenError

import numpy as np

from utils.errors import UsageError
from utils.features.config import FACE_VERSION, FEATURE_VERSION, FeatureConfig
from utils.features.covariance import N_BINS, smaller_block
from utils.features.extract import ClipFacts, ClipFeatures, failed
from utils.features.face.features import read_face
from utils.features.voice import pcm_of_wav
from utils.files import UNFINISHED_PREFIX, write_text_atomic

PICTURES, COVARIANCES, WAVES, FACES = "audio_feature", "video_feature", "wav_file", "face_feature"
EMBEDDINGS = "speech_embedding"
KINDS = (PICTURES, COVARIANCES, WAVES, FACES)
REDO = "extract again with --overwrite"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


class FeatureStore:
    """Paths, config and contents of one split's feature folder."""

    def __init__(self, root: Path, config: FeatureConfig) -> None:
        """`root` is `data/<split>_raw`; it need not exist yet."""
        self.root = Path(root)
        self.config = config
        self._stored_top_k = config.video.top_k

    def picture_path(self, name: str) -> Path:
        """The mel picture of the clip `name` (a path below the split's folder)."""
        return self.root / PICTURES / f"{name}.jpg"

    def covariance_path(self, name: str) -> Path:
        """The frame covariance of the clip `name`."""
        return self.root / COVARIANCES / f"{name}.npy"

    def face_path(self, name: str) -> Path:
        """The face of the clip `name`."""
        return self.root / FACES / f"{name}.npz"

    @property
    def embeddings(self) -> Path:
        """Folder of speech embeddings, by encoder, version and recording."""
        return self.root / EMBEDDINGS

    def wave_path(self, name: str, *, shared_stem: bool = False) -> Path:
        """The waveform of the clip `name`; the whole name is kept where two clips share a stem."""
        return self.root / WAVES / f"{name if shared_stem else stem_of(name)}.wav"

    def check(self) -> None:
        """Refuse features that were made in another way.

        Raises:
            UsageError: when `features.json` is absent or its fingerprint is another one; the fields are named.
        """
        stored = self._read_config()
        if stored.get("fingerprint") != self.config.fingerprint():
            fields = self.config.differences(stored["features"])
            if stored.get("version") != FEATURE_VERSION:
                fields.append(f"version: {stored.get('version')!r} there, {FEATURE_VERSION!r} here")
            fields = fields or [f"fingerprint: {stored.get('fingerprint')!r} there, {self.config.fingerprint()!r} here"]
            raise UsageError(f"the features in {self.root} were made differently ({'; '.join(fields)}); {REDO}")

    def open(self) -> None:
        """Make ready to `load`: as `check`, but features that hold more serve as well.

        Of a larger K the smaller one's block is cut, and faces that nobody asks for are passed over.

        Raises:
            UsageError: see `check`.
        """
        stored = self._read_config()
        video = stored["features"].get("video")
        top_k = video.get("top_k") if isinstance(video, dict) else None
        own_k = self.config.video.top_k
        larger_k = max(own_k, top_k) if isinstance(top_k, int) else own_k
        larger = self.config.model_copy(
            update={
                "video": self.config.video.model_copy(update={"top_k": larger_k}),
                "face": self.config.face or stored["features"].get("face") == FACE_VERSION,
            }
        )
        if stored.get("fingerprint") == larger.fingerprint():
            self._stored_top_k = larger_k
        else:
            self.check()

    def _read_config(self) -> dict:
        path = self.root / "features.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"{self.root} holds features without a features.json that says how they were made; {REDO}"
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({error}); {REDO}") from None
        if not isinstance(stored, dict) or not isinstance(stored.get("features"), dict):
            raise UsageError(f"{path} does not say how the features were made; {REDO}")
        return stored

    def matches(self) -> bool:
        """Whether what lies here was made with this config."""
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

    def existing(self) -> dict[str, set[str]]:
        """Names of the files that are there, by kind: one walk over the folders instead of a look per clip."""
        return {kind: set(files_below(self.root / kind)) for kind in KINDS}

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
        try:
            covariance = self._load_covariance(name, facts.n_frames) if facts.n_frames else None
            mel_jpeg = self._load_picture(name) if facts.has_audio else None
            face = read_face(self.face_path(name)) if facts.n_frames and self.config.face else None
            features = ClipFeatures(facts, covariance, mel_jpeg, face=face)
            if not facts.has_audio or not (self.config.voice or self.config.speech_encoder or face):
                return features
            return features.with_sound(*self._load_wave(name), self.config, embeddings=self.embeddings)
        except FileNotFoundError:
            return failed("not_extracted")
        except (OSError, ValueError, EOFError, MemoryError, SyntaxError, TokenError):
            # The header of a damaged .npy file can declare any size, and numpy reads it as Python text.
            return failed("unreadable")

    def _load_covariance(self, name: str, n_frames: int) -> np.ndarray:
        covariance = np.load(self.covariance_path(name), allow_pickle=False)
        shape = (self._stored_top_k,) * 2
        if not isinstance(covariance, np.ndarray) or covariance.shape != shape or covariance.dtype != np.float32:
            raise ValueError("not a frame covariance of this config")
        video = self.config.video
        if video.top_k == self._stored_top_k:
            return covariance
        return smaller_block(covariance, n_frames if video.covariance == "frames" else N_BINS, video.top_k)

    def _load_wave(self, name: str) -> tuple[np.ndarray, int]:
        whole = self.wave_path(name, shared_stem=True)
        return pcm_of_wav(whole if whole.is_file() else self.wave_path(name))

    def _load_picture(self, name: str) -> bytes:
        encoded = self.picture_path(name).read_bytes()
        if not encoded.startswith(JPEG_START) or not encoded.endswith(JPEG_END):
            raise ValueError("not a whole JPG")
        return encoded


def normal_name(name: str) -> str:
    """A clip's name as a walk over the folders spells it: without `./` and doubled slashes."""
    return str(PurePosixPath(name)) if "/" in name else name


def stem_of(name: str) -> str:
    """A clip's name without its suffix; sub-folders stay."""
    return os.path.splitext(normal_name(name))[0]


def files_below(folder: Path) -> list[str]:
    """Names of all files below `folder`, with `/`, relative to it; files still being written are left out."""
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
                if entry.name.startswith(UNFINISHED_PREFIX):
                    continue
                if entry.is_dir():
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    found.append(prefix + entry.name)
    return found
