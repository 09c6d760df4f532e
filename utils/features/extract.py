"""From a clip to its features: the one function behind the extractor, training on the fly and inference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from utils.features.config import FeatureConfig
from utils.features.covariance import bin_covariance, frame_covariance
from utils.features.encoders import speech_encoder
from utils.features.face import FaceFeatures, FaceWindow, clip_faces, describe_faces
from utils.features.face.detector import require_weights
from utils.features.mel import MelSpectrogram, encode_picture, mel_image
from utils.features.speech import LEAST_MOUTH_FRAMES, speech_of_pcm
from utils.features.speech_embedding import embedding_of_pcm
from utils.features.voice import VoiceSamples, voice_of_pcm, voice_waveform
from utils.features.waveform import MonoResampler, WavWriter
from utils.media.decode import AudioBlock, ClipStream, StreamFacts
from utils.media.errors import MediaError, join_reasons

if TYPE_CHECKING:
    from utils.features.histogram import HistogramRows


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip beside its features; a row of `extraction.csv` less its name.

    Attributes:
        status: `ok`, `partial` (a modality missing or cut), `failed` or `pending`.
        reason: reason codes joined with `+`; empty when ok.
        duration_s: duration of the longer stream; 0 when unknown.
        n_frames: frames decoded.
        fps: average frame rate; 0 without video.
        has_audio: whether any audio sample was decoded.
    """

    status: str
    reason: str = ""
    duration_s: float = 0.0
    n_frames: int = 0
    fps: float = 0.0
    has_audio: bool = False

    @property
    def reasons(self) -> frozenset[str]:
        """The reason codes as a set."""
        return frozenset(code for code in self.reason.split("+") if code)


@dataclass(frozen=True)
class ClipFeatures:
    """A clip's features and facts.

    Attributes:
        facts: what the decoder found.
        covariance: (K, K) float32 in [0, 1]; `None` without video.
        mel_jpeg: the mel picture's JPG bytes (one channel, square); `None` without audio.
        voice: (W, D) float32, see `voice_of_pcm`; `None` without audio, and unless the config asks for it.
        embedding: (W, E) float32, see `embedding_of_pcm`; `None` without audio, and unless the config names an encoder.
        face: what the experts see of the face; `None` where none was found, and unless the config asks for it.
        speech: (T' + 2 PAD, 40) float32, see `speech_of_pcm`; `None` without a face or without sound beside it.
    """

    facts: ClipFacts
    covariance: np.ndarray | None = None
    mel_jpeg: bytes | None = None
    voice: np.ndarray | None = None
    embedding: np.ndarray | None = None
    face: FaceFeatures | None = None
    speech: np.ndarray | None = None

    @property
    def has_covariance(self) -> bool:
        """Whether the covariance says anything: a single frame's is all zeros."""
        return self.covariance is not None and "one_frame" not in self.facts.reasons

    @property
    def has_mel(self) -> bool:
        """Whether the mel picture says anything: a silent track's is all zeros."""
        return self.mel_jpeg is not None and "silent" not in self.facts.reasons

    @property
    def has_voice(self) -> bool:
        """Whether the voice features say anything."""
        return self.voice is not None and "silent" not in self.facts.reasons

    @property
    def has_embedding(self) -> bool:
        """Whether the speech embeddings say anything."""
        return self.embedding is not None and "silent" not in self.facts.reasons

    @property
    def has_sync(self) -> bool:
        """Whether mouth and speech can be compared."""
        return self.face is not None and self.speech is not None and len(self.face.mouth) >= LEAST_MOUTH_FRAMES

    def with_sound(
        self, pcm: np.ndarray, rate_hz: int, config: FeatureConfig, *, embeddings: Path | None = None
    ) -> ClipFeatures:
        """The features with what the config asks for of the waveform: (S,) int16, as the wav file holds it.

        The one function for it, so that features on disk and features on the fly are the same. `embeddings` is where speech
        embeddings are kept, if anywhere.
        """
        voice, embedding, speech = None, None, None
        if config.voice:
            voice = voice_of_pcm(pcm, rate_hz)
        if config.speech_encoder is not None:
            embedding = embedding_of_pcm(pcm, rate_hz, config.speech_encoder, embeddings)
        if self.face is not None:
            speech = speech_of_pcm(pcm, rate_hz, self.face.start_s, len(self.face.mouth))
        return replace(self, voice=voice, embedding=embedding, speech=speech)


def require_parts(config: FeatureConfig) -> None:
    """Make sure, before any clip is read, that what the features need is on this machine.

    Raises:
        UsageError: the face detector's weights, or a package or model of the speech encoder are missing.
    """
    if config.face:
        require_weights()
    if config.speech_encoder is not None:
        speech_encoder(config.speech_encoder)


def failed(reason: str) -> ClipFeatures:
    """The features of a clip that has none, for this reason code."""
    return ClipFeatures(ClipFacts(status="failed", reason=reason))


def extract_clip(
    path: Path,
    config: FeatureConfig,
    *,
    max_frames: int | None = None,
    wav_path: Path | None = None,
    embeddings: Path | None = None,
) -> ClipFeatures:
    """Decode a clip once and make its features.

    Args:
        path: any container that libav reads.
        config: how the features are made.
        max_frames: stop after this many frames (`too_long`).
        wav_path: also write the waveform here: mono 16-bit PCM at the config's sample rate. Nothing is written for a clip
            without audio.
        embeddings: folder of speech embeddings that were made before.

    Returns:
        The features; a clip that cannot be used has status `failed` and its reason, it does not raise.
    """
    stream = ClipStream(path, max_frames=max_frames)
    histograms = new_histograms()
    window = FaceWindow(stream.facts, max_frames=max_frames) if config.face else None
    resampler = MonoResampler(config.audio.sample_rate_hz, stream.facts, match_clip=config.audio.length == "clip")
    with _SoundSinks(config, wav_path) as sound:
        try:
            for item in stream:
                if isinstance(item, np.ndarray):
                    histograms.add(item)
                    if window is not None:
                        window.add(item)
                else:
                    sound.take(resampler.feed(item))
            face = None if window is None else _face_of(path, window, stream.facts, max_frames)
        except MediaError as error:
            return failed(error.reason)
        sound.take(resampler.finish())
    covariance = None
    if stream.facts.n_frames:
        between = frame_covariance if config.video.covariance == "frames" else bin_covariance
        covariance = between(histograms.array(), config.video.top_k)
    # An hour's histograms take as much memory as its mel picture needs next.
    del histograms
    features = replace(_assemble(stream.facts, covariance, sound.mel, config), face=face)
    if sound.samples is None or not features.facts.has_audio:
        return features
    return features.with_sound(sound.samples.pcm, config.audio.sample_rate_hz, config, embeddings=embeddings)


def _face_of(path: Path, window: FaceWindow, facts: StreamFacts, max_frames: int | None) -> FaceFeatures | None:
    """What the experts see of the face that a pass has followed, on the clock of the clip's sound."""
    # A container that promises frames which never come is looked through again, now that their number is known.
    crops = clip_faces(path, max_frames=max_frames, n_frames=facts.n_frames) if window.misplaced else window.crops()
    if crops is None:
        return None
    face = describe_faces(crops)
    return replace(face, start_s=face.start_s - (facts.sound_start_s or 0.0))


class _SoundSinks(contextlib.ExitStack):
    """Everything that a clip's waveform goes to, block by block."""

    def __init__(self, config: FeatureConfig, wav_path: Path | None) -> None:
        super().__init__()
        self._rate_hz = config.audio.sample_rate_hz
        self._wav_path = wav_path
        self._wav: WavWriter | None = None
        keep = config.voice or config.face or config.speech_encoder is not None
        self.samples = VoiceSamples(self._rate_hz) if keep else None
        self.mel = MelSpectrogram(config.audio)

    def take(self, blocks: Iterable[np.ndarray]) -> None:
        """Hand blocks (S,) float32 on. The wav file is begun with the first one: a clip without audio has none."""
        for samples in blocks:
            if self._wav_path is not None:
                self._wav = self._wav or self.enter_context(WavWriter(self._wav_path, self._rate_hz))
                self._wav.write(samples)
            self.mel.feed(samples)
            if self.samples is not None:
                self.samples.keep(samples)


def _assemble(
    facts: StreamFacts, covariance: np.ndarray | None, mel: MelSpectrogram, config: FeatureConfig
) -> ClipFeatures:
    if facts.n_frames == 0 and facts.n_samples == 0:
        return failed("unreadable")
    problems = set(facts.problems)
    mel_jpeg = None
    if facts.n_frames == 0:
        problems.add("no_video")
    elif facts.n_frames == 1:
        problems.add("one_frame")
    if facts.n_samples == 0:
        problems.add("no_audio")
    else:
        mel_jpeg = encode_picture(mel_image(mel.power(), config.audio.image_size_px), config.audio.jpeg_quality)
        if mel.silent:
            problems.add("silent")
    reason = join_reasons(problems)
    return ClipFeatures(
        ClipFacts(
            status="partial" if reason else "ok",
            reason=reason,
            duration_s=round(facts.duration_s, 3),
            n_frames=facts.n_frames,
            fps=round(facts.fps, 3),
            has_audio=facts.n_samples > 0,
        ),
        covariance,
        mel_jpeg,
    )


def clip_voice(path: Path, config: FeatureConfig, *, trim: bool = True) -> np.ndarray:
    """A clip's sound at 16 kHz, (S,) float32, as its voice features are made of; S = 0 without audio.

    Without `trim`, digital silence at both ends stays, so that the sound keeps its place beside the pictures.

    Raises:
        MediaError: `missing_file` or `unreadable`.
    """
    stream = ClipStream(path, video=False)
    resampler = MonoResampler(config.audio.sample_rate_hz, stream.facts, match_clip=False)
    voice = VoiceSamples(config.audio.sample_rate_hz)
    # Without video the stream yields sound only.
    for block in cast(Iterable[AudioBlock], stream):
        for samples in resampler.feed(block):
            voice.keep(samples)
    for samples in resampler.finish():
        voice.keep(samples)
    return voice_waveform(voice.pcm, config.audio.sample_rate_hz, trim=trim)


def new_histograms() -> HistogramRows:
    """Room for a clip's histograms. What counts them loads a compiler (50 MB) that only a decoding process should pay for."""
    from utils.features.histogram import HistogramRows

    return HistogramRows()


def frame_histograms(path: Path, max_frames: int | None = None) -> np.ndarray:
    """The colour histogram of every frame of a clip, (T, 256) int32; T = 0 for a clip without video.

    Raises:
        MediaError: `missing_file` or `unreadable`.
    """
    histograms = new_histograms()
    # Without audio the stream yields frames only.
    for frame in cast(Iterable[np.ndarray], ClipStream(path, audio=False, max_frames=max_frames)):
        histograms.add(frame)
    return histograms.array()
