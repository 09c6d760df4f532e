"""Measurements of one clip for the probes, made in a worker process; the result is about 100 KB."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import soxr

from engine.audit.mitigations import mitigate_audio, re_encode
from engine.audit.waveform_facts import MAX_AUDIO_S, band_facts, level_facts, offset_facts, read_audio, silence_facts
from utils.features.config import FeatureConfig
from utils.features.mel import MelSpectrogram, mel_image
from utils.media.decode import ClipStream
from utils.media.errors import MediaError
from utils.media.mono import AudioBlock
from utils.media.probe import ContainerProbe, probe_container

MEL_IMAGE_PX = 128
FRAME_PX = 64
FRAME_STEPS = (0, 8, 16, 32)
"""Indices of the sampled frames. They are early frames, so a long clip takes no longer than a short one."""

THUMBNAIL_PX = 8

FactRow = dict[str, float | str]
Facts = dict[str, FactRow]


@dataclass(frozen=True)
class MeasureTask:
    """One clip to measure.

    Attributes:
        path: Media file.
        mitigations: Names of `MITIGATIONS` to apply first.
        window_s: Window length for `fixed_window`.
    """

    path: Path
    mitigations: frozenset[str] = frozenset()
    window_s: float = 0.0


@dataclass(frozen=True)
class Measurements:
    """Measurements of one clip.

    Attributes:
        container: Family -> fact -> number or text, read from the container; only the audio duration needs decoding.
        audio: Family -> fact -> number; empty without audio.
        mel: (MEL_IMAGE_PX, MEL_IMAGE_PX) uint8 mel-spectrogram image, as used by the detectors; `None` without audio.
        frames: (K, FRAME_PX, FRAME_PX, 3) uint8 with K = len(FRAME_STEPS); `None` without video.
        first_frame: (F,) float32 features of the first frame; `None` without video.
        reason: Reason code if the clip could not be measured; all other fields are then empty.
    """

    container: Facts = field(default_factory=dict)
    audio: Facts = field(default_factory=dict)
    mel: np.ndarray | None = None
    frames: np.ndarray | None = None
    first_frame: np.ndarray | None = None
    reason: str = ""


def measure_clip(task: MeasureTask) -> Measurements:
    """Measure a clip. An unreadable clip yields its reason code instead of an exception."""
    try:
        if "re_encode" not in task.mitigations:
            return _measure(task.path, task)
        with tempfile.TemporaryDirectory(prefix="audit-") as folder:
            copy = Path(folder) / "clip.mp4"
            re_encode(task.path, copy)
            return _measure(copy, task)
    except MediaError as error:
        return Measurements(reason=error.reason)
    except (av.error.FFmpegError, OSError, ValueError, MemoryError):
        return Measurements(reason="unreadable")


def _measure(path: Path, task: MeasureTask) -> Measurements:
    probe = probe_container(path)
    samples, rate_hz = read_audio(path)
    container = container_facts(probe, len(samples) / rate_hz if rate_hz else 0.0)
    if "fixed_window" in task.mitigations:
        _set_window_duration(container, task.window_s)
    audio: Facts = {}
    mel = None
    if len(samples):
        samples, rate_hz = mitigate_audio(samples, rate_hz, task.mitigations, task.window_s)
    if len(samples):
        audio = {
            **silence_facts(samples, rate_hz),
            **level_facts(samples),
            "DC offset": offset_facts(samples),
            "band limit": band_facts(samples, rate_hz),
        }
        mel = _mel_image(samples, rate_hz)
    frames, first = _sample_frames(path)
    return Measurements(container, audio, mel, frames, first)


def container_facts(probe: ContainerProbe, decoded_audio_s: float) -> Facts:
    """Return the facts of a container by family.

    Facts whose name ends in `_bytes`, `_bps` or `_px` span orders of magnitude.
    """
    video, audio = probe.video, probe.audio
    nan = float("nan")
    gap_s = probe.audio_minus_video_s
    length_s = max(probe.duration_s, *(stream.duration_s for stream in (video, audio) if stream is not None))
    size: FactRow = {
        "width_px": video.width_px if video else nan,
        "height_px": video.height_px if video else nan,
        "aspect": video.width_px / max(video.height_px, 1) if video else nan,
        "file_bytes": probe.file_bytes,
    }
    rates: FactRow = {
        "fps": video.fps if video else nan,
        "sample_rate_hz": audio.sample_rate_hz if audio else nan,
        "channels": audio.channels if audio else nan,
        "video_tick_s": video.time_base_s if video else nan,
    }
    measurable = audio is not None and 0 < decoded_audio_s < MAX_AUDIO_S
    durations: FactRow = {
        "container_s": probe.duration_s or nan,
        "video_s": video.duration_s if video else nan,
        "audio_s": audio.duration_s if audio else nan,
        "video_start_s": video.start_s if video else nan,
        "audio_start_s": audio.start_s if audio else nan,
        "decoded_minus_declared_s": decoded_audio_s - audio.duration_s if audio and measurable else nan,
    }
    return {
        "size": size,
        "rates": rates,
        "codecs": _codec_facts(probe),
        "bit rate": _bit_rate_facts(probe, length_s),
        "durations": durations,
        "audio minus video duration": {"gap_s": nan if gap_s is None else gap_s},
        "duration": {"duration_s": length_s},
        "frame count": {"n_frames": video.n_packets if video else nan},
    }


def _codec_facts(probe: ContainerProbe) -> FactRow:
    facts: FactRow = {"format": probe.format, "encoder": probe.encoder, "n_streams": probe.n_streams}
    for kind, stream in (("video", probe.video), ("audio", probe.audio)):
        facts[f"{kind}_codec"] = stream.codec if stream else "none"
        facts[f"{kind}_profile"] = stream.profile if stream else "none"
        facts[f"{kind}_tag"] = stream.tag if stream else "none"
        facts[f"{kind}_format"] = stream.sample_format if stream else "none"
    facts["video_level"] = probe.video.level if probe.video else float("nan")
    facts["b_frames"] = float(probe.video.b_frames) if probe.video else float("nan")
    return facts


def _bit_rate_facts(probe: ContainerProbe, length_s: float) -> FactRow:
    video, audio = probe.video, probe.audio
    facts: FactRow = {
        "total_bps": 8 * probe.file_bytes / length_s if length_s > 0 else float("nan"),
        "audio_bps": audio.bit_rate_bps if audio else float("nan"),
        "overhead_bytes": max(probe.overhead_bytes, 0),
    }
    if video is not None and video.n_bytes:
        pixels = max(video.width_px * video.height_px * video.n_packets, 1)
        facts |= {
            "video_bps": video.bit_rate_bps,
            "bits_per_pixel": 8 * video.n_bytes / pixels,
            "first_packet_share": video.first_packet_bytes / video.n_bytes,
            "frames_per_key_frame": video.n_packets / max(video.n_key_packets, 1),
        }
    return facts


def _set_window_duration(container: Facts, window_s: float) -> None:
    """Replace duration and frame count: with a fixed window, a model sees only the frame rate, not the duration."""
    fps = container["rates"]["fps"]
    container["duration"] = {"duration_s": window_s}
    container["frame count"] = {"n_frames": float(np.round(window_s * float(fps)))}


def _mel_image(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    config = FeatureConfig().audio
    mel = MelSpectrogram(config)
    mel.feed(soxr.resample(samples, rate_hz, config.sample_rate_hz, quality="HQ"))
    return mel_image(mel.power(), MEL_IMAGE_PX)


def _sample_frames(path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return a few small frames and the features of the first one. A short clip repeats its last frame."""
    small, first = [], None
    frames = itertools.islice(ClipStream(path, audio=False), FRAME_STEPS[-1] + 1)
    for index, frame in enumerate(frames):
        if isinstance(frame, AudioBlock):
            continue
        if index == 0:
            first = first_frame_facts(frame)
        if index in FRAME_STEPS:
            small.append(cv2.resize(frame, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_AREA))
    if not small:
        return None, None
    return np.stack(small + [small[-1]] * (len(FRAME_STEPS) - len(small))), first


def first_frame_facts(frame: np.ndarray) -> np.ndarray:
    """Return a grey thumbnail, colour histograms, sharpness and brightness of an (H, W, 3) uint8 frame: (F,) float32."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA).ravel() / 255
    histograms = [np.histogram(frame[..., channel], 8, (0, 256))[0] / grey.size for channel in range(3)]
    edges = np.log1p(cv2.Laplacian(grey, cv2.CV_32F).std())
    return np.concatenate([thumbnail, *histograms, [edges, grey.mean() / 255, grey.std() / 255]]).astype(np.float32)
