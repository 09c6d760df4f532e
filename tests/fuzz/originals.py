"""Intact clips to be mutated: a rendered talking head in every common container, or the clips of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from dataset.demo_set.performance import make_take
from dataset.demo_set.render import render
from dataset.demo_set.speech import SAMPLE_RATE_HZ
from utils.media.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from utils.media.writer import write_clip

SIZE_PX = (160, 120)
FPS = 25
FRAMES = 30
MAX_BYTES = 4_000_000
"""Larger clips of a folder are left out: most of their bytes are coded frames, whose damage is all alike."""

VIDEO: dict[str, dict[str, Any]] = {
    ".mp4": {},
    ".mov": {"video_codec": "mpeg4", "audio_codec": "pcm_s16le"},
    ".mkv": {"audio_codec": "flac"},
    ".webm": {"video_codec": "libvpx", "audio_codec": "libopus", "rate_hz": 48_000},
    ".avi": {"video_codec": "mpeg4", "audio_codec": "libmp3lame"},
    ".ts": {"video_codec": "mpeg2video", "audio_codec": "mp2"},
    ".flv": {"audio_codec": "libmp3lame", "rate_hz": 44_100},
    ".mpg": {"video_codec": "mpeg1video", "audio_codec": "mp2"},
}
AUDIO: dict[str, dict[str, Any]] = {
    ".wav": {"audio_codec": "pcm_s16le"},
    ".mp3": {"audio_codec": "libmp3lame"},
    ".flac": {"audio_codec": "flac"},
    ".ogg": {"audio_codec": "libopus", "rate_hz": 48_000},
}


def make_originals(folder: Path, *, identities: int = 2, frames: int = FRAMES) -> list[Path]:
    """Write clips of several talking heads in every container, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for identity in range(identities):
        take = make_take(0, identity)
        width, height = SIZE_PX
        heads = render(take, np.arange(frames) / FPS, width)
        pictures = [cv2.resize(head, (width, width))[(width - height) // 2 :][:height] for head in heads]
        voice = take.samples(0.0, frames / FPS)
        for suffix, settings in {**VIDEO, **AUDIO}.items():
            options = dict(settings)
            rate_hz = options.pop("rate_hz", SAMPLE_RATE_HZ)
            samples = resampled(voice, rate_hz)
            paths.append(folder / f"head{identity}{suffix}")
            write_clip(paths[-1], pictures if suffix in VIDEO else None, FPS, samples, rate_hz, **options)
    paths += [with_option(paths[0], "index_first.mp4", "faststart")]
    paths += [with_option(paths[0], "fragmented.mp4", "frag_keyframe+empty_moov")]
    return paths


def resampled(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return a waveform at another sample rate by linear interpolation."""
    count = round(len(samples) * rate_hz / SAMPLE_RATE_HZ)
    return np.interp(np.linspace(0, len(samples) - 1, count), np.arange(len(samples)), samples).astype(np.float32)


def with_option(source: Path, name: str, flags: str) -> Path:
    """Copy an MP4 clip with other `movflags` and return the path of the copy."""
    target = source.with_name(name)
    with av.open(str(source)) as clip, av.open(str(target), "w", options={"movflags": flags}) as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in clip.streams}
        for packet in clip.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return target


def clips_in(folder: Path) -> list[Path]:
    """Return the clips of a folder that are small enough to be mutated."""
    suffixes = VIDEO_SUFFIXES | AUDIO_SUFFIXES
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return [path for path in found if path.stat().st_size <= MAX_BYTES]
