"""Speech encoders of the transformers package (WavLM, wav2vec 2.0, HuBERT), from the hub or a local folder."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from utils.config import Section
from utils.errors import UsageError
from utils.features.encoders.base import ENCODER_RATE_HZ, SPEECH_ENCODERS, SpeechEncoder, one_torch_thread
from utils.hub import hub_is_reachable

PIECE_BYTES = 1 << 20


@SPEECH_ENCODERS.register("transformers", Section)
class TransformersEncoder(SpeechEncoder):
    """`transformers/<model>`: the last hidden states of a model, given as a local folder or a hub id."""

    needs = {"transformers": "transformers"}

    def __init__(self, name: str) -> None:
        """Read the model's config from the local cache, else from the hub.

        Raises:
            UsageError: the package or the model is missing, the hub cannot be reached, or the model is not a speech encoder.
        """
        super().__init__(name)
        self.model_name = name.partition("/")[2]
        if not self.model_name:
            raise UsageError("the speech encoder transformers needs a model: transformers/<hub id or folder>")
        from transformers import AutoConfig

        config = self._fetch(AutoConfig)
        if getattr(config, "is_encoder_decoder", False) or not isinstance(getattr(config, "hidden_size", None), int):
            raise UsageError(f"{self.model_name} is not a speech encoder such as WavLM, wav2vec 2.0 or HuBERT")
        self.size = config.hidden_size
        self._commit = getattr(config, "_commit_hash", None)

    @cached_property
    def version(self) -> str:
        """Version of the package, with the commit on the hub or a hash of the local files."""
        folder = Path(self.model_name)
        model = hash_of_files(folder) if folder.is_dir() else self._commit
        return f"{super().version} {model}"

    def load(self) -> Any:
        """Load the waveform preprocessor and the network."""
        from transformers import AutoFeatureExtractor, AutoModel

        return self._fetch(AutoFeatureExtractor), self._fetch(AutoModel).eval()

    def run(self, model: Any, waveform: np.ndarray) -> np.ndarray:
        """Compute the embeddings."""
        prepare, network = model
        with one_torch_thread():
            inputs = prepare(waveform, sampling_rate=ENCODER_RATE_HZ, return_tensors="pt")
            return network(**inputs).last_hidden_state[0].float().numpy()

    def _fetch(self, kind: Any) -> Any:
        """Load a part of the model from the local cache, else from the hub."""
        try:
            return kind.from_pretrained(self.model_name, local_files_only=True)
        except (OSError, ValueError) as error:
            if Path(self.model_name).is_dir():
                raise UsageError(f"{self.model_name} contains no usable model ({first_line(error)})") from error
        if not hub_is_reachable():
            raise UsageError(
                f"the speech encoder {self.name} is not cached locally and the hub cannot be reached: "
                "pass a local folder, or download it with `huggingface-cli download` on a machine with network access"
            )
        try:
            return kind.from_pretrained(self.model_name)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.model_name} cannot be loaded from the hub ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return the message of an error on one line, truncated to 200 characters."""
    return " ".join(str(error).split())[:200]


def hash_of_files(folder: Path) -> str:
    """Hash the names and contents of the files in a folder: 16 hex digits."""
    content = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        content.update(path.name.encode())
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                content.update(piece)
    return content.hexdigest()[:16]
