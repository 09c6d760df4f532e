"""Measure the time of each stage of an extraction in one process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import reference_implementation
from benchmarks.floor import decode_only
from benchmarks.measure import Cost, compare, one_core
from benchmarks.setting import Row, Setting, row
from dataset.extraction_worker import write_features
from utils.features.clip import ClipFeatures
from utils.features.config import FeatureConfig
from utils.features.covariance import frame_covariance
from utils.features.extract import extract_clip, frame_histograms
from utils.features.mel import MelSpectrogram, encode_image, mel_image
from utils.features.resampling import MonoResampler
from utils.features.store import FeatureStore
from utils.features.waveform import WavWriter
from utils.media.decode import ClipStream

CONFIG = FeatureConfig()


@dataclass(frozen=True)
class Prepared:
    """Intermediate results of a clip: inputs of the later stages."""

    histograms: np.ndarray
    waveform: list[np.ndarray]
    features: ClipFeatures


def prepare(clip: Path) -> Prepared:
    """Compute the intermediate results of a clip once, outside the timed code."""
    return Prepared(frame_histograms(clip), resampled(clip), extract_clip(clip, CONFIG))


def converted(clip: Path) -> None:
    """Decode the video and convert every frame to RGB."""
    deque(ClipStream(clip, audio=False), maxlen=0)


def resampled(clip: Path) -> list[np.ndarray]:
    """Decode and resample the audio. Return the blocks of the waveform."""
    stream = ClipStream(clip, video=False)
    resampler = MonoResampler(CONFIG.audio.sample_rate_hz, stream.facts, match_clip=False)
    blocks = [samples for block in stream for samples in resampler.feed(block)]
    return [*blocks, *resampler.finish()]


def mel_jpeg(waveform: list[np.ndarray]) -> bytes:
    """Encode the mel-spectrogram image of a waveform as JPG."""
    mel = MelSpectrogram(CONFIG.audio)
    for samples in waveform:
        mel.feed(samples)
    return encode_image(mel_image(mel.power(), CONFIG.audio.image_size_px), CONFIG.audio.jpeg_quality)


def write(prepared: Prepared, paths: dict[str, Path]) -> None:
    """Write the three files of a clip."""
    with WavWriter(paths["waveform"], CONFIG.audio.sample_rate_hz) as wav:
        for samples in prepared.waveform:
            wav.write(samples)
    write_features(prepared.features, FeatureStore(paths["waveform"].parent, CONFIG), paths)


def run(setting: Setting) -> list[Row]:
    """Measure the processor time of each stage. For two stages, subtract a run without the stage from one with it."""
    folder = setting.scratch / "stages"
    folder.mkdir()
    paths = {"waveform": folder / "a.wav", "mel": folder / "a.jpg", "covariance": folder / "a.npy"}
    prepared = {clip: prepare(clip) for clip in setting.clips}
    tasks = {
        "decoding alone": decode_only,
        "decode video": lambda clip: decode_only(clip, audio=False),
        "converted": converted,
        "counted": frame_histograms,
        "decode and resample audio": resampled,
        "mel-spectrogram image": lambda clip: mel_jpeg(prepared[clip].waveform),
        "covariance": lambda clip: frame_covariance(prepared[clip].histograms, CONFIG.video.top_k),
        "write files": lambda clip: write(prepared[clip], paths),
        "published steps: frames": lambda clip: reference_implementation.video_feature(clip, paths["covariance"]),
        "published steps: audio": lambda clip: reference_implementation.audio_feature(
            clip, paths["waveform"], paths["mel"]
        ),
    }
    with one_core():
        costs = compare(tasks, setting.clips, setting.repetitions)
    return stage_rows(costs)


def stage_rows(costs: dict[str, Cost]) -> list[Row]:
    """Return one row per stage with its ratio to the floor, then totals of this code and of the published steps."""
    ms = {name: 1e3 * cost.cpu_s for name, cost in costs.items()}
    floor = ms["decoding alone"]
    audio = ("decode and resample audio", "mel-spectrogram image")
    stages = {
        "decode video": ms["decode video"],
        "convert to RGB": ms["converted"] - ms["decode video"],
        "count levels": ms["counted"] - ms["converted"],
        **{name: ms[name] for name in (*audio, "covariance", "write files")},
    }
    rows = [row("stages", name, value, "ms/clip", floor=floor) for name, value in stages.items()]
    halves = {
        "frames to covariance": (ms["counted"] + ms["covariance"], ms["published steps: frames"]),
        "audio to mel-spectrogram image": (sum(ms[name] for name in audio), ms["published steps: audio"]),
    }
    for name, (ours, reference) in halves.items():
        rows.append(row("stages", name, ours, "ms/clip", floor=floor, reference=reference))
        rows.append(row("stages", f"{name}, published steps", reference, "ms/clip", floor=floor, reference=reference))
    return rows
