"""Clips for the benchmarks: the user's own, synthetic clips, links to either, and long clips made by concatenation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from dataset.config import LabelNames, VideoDirs
from dataset.demo_set.build import film_group
from dataset.demo_set.delivery import Delivery, record_audio, record_frames
from dataset.demo_set.plan import DemoSettings, plan_demo_set
from dataset.splits import Split, open_split
from utils.features.config import FeatureConfig
from utils.features.extract import extract_clip
from utils.media.writer import write_clip

SPLIT = "trainset"
SEGMENT_S = 10.0
LONG_FPS = 25
LONG_BIT_RATE = 1_500_000

LIKE_THE_CHALLENGE = Delivery(
    sensor_noise=1.0,
    chroma_noise=0.3,
    blur_px=0.3,
    loudness_db=-20,
    microphone_snr_db=45,
    bits_per_pixel=0.06,
    sample_rate_hz=44_100,
    channels=2,
    audio_bit_rate=128_000,
    profile="high",
    preset="medium",
    key_frame_interval=250,
)
"""A frame encoded with these settings takes about as long to decode as a frame of the MultiFFDV challenge."""


def make_clips(folder: Path, count: int = 6, *, size_px: int = 384, duration_s: float = 6.0) -> list[Path]:
    """Render talking heads at 25 or 30 fps as H.264 with stereo MP3 at 44.1 kHz, as in the MultiFFDV challenge."""
    settings = DemoSettings(clips=max(24, 3 * count), duration_s=(duration_s, duration_s), sizes_px=(size_px,))
    delivery = LIKE_THE_CHALLENGE
    paths = []
    for index, group in enumerate(plan_demo_set(settings)[:count]):
        _, footage = next(film_group(settings, group, group.clips[:1]))
        rng = np.random.default_rng(index)
        paths.append(folder / f"clip{index}.mp4")
        write_clip(
            paths[-1],
            record_frames(footage.frames, delivery, rng),
            group.fps,
            record_audio(footage.samples, len(footage.frames) / group.fps, delivery, rng),
            delivery.sample_rate_hz,
            audio_codec="libmp3lame",
            video_bit_rate=round(delivery.bits_per_pixel * size_px**2 * group.fps),
            audio_bit_rate=delivery.audio_bit_rate,
        )
    return paths


def whole_clips(paths: list[Path], limit: int) -> list[Path]:
    """Return the first `limit` clips whose video and audio decode without an error."""
    whole = (path for path in paths if extract_clip(path, FeatureConfig()).facts.status == "ok")
    return list(itertools.islice(whole, limit))


def link_split(root: Path, clips: list[Path], count: int) -> Split:
    """Create a data root. Its training split contains `count` links to the clips, with alternating targets."""
    videos = root / SPLIT
    videos.mkdir(parents=True)
    rows = ["video_name,target"]
    for index in range(count):
        clip = clips[index % len(clips)]
        name = f"{index:06d}{clip.suffix}"
        (videos / name).symlink_to(clip.resolve())
        rows.append(f"{name},{index % 2}")
    (root / LabelNames().trainset).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return open_split(SPLIT, root, LabelNames(), VideoDirs(), FeatureConfig())


def make_segment(path: Path, frame_px: tuple[int, int]) -> Path:
    """Write ten seconds of slow motion with a tone as H.264 and AAC. Long videos repeat this segment."""
    width, height = frame_px
    time_s = np.arange(int(SEGMENT_S * 44_100)) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * (300 + 40 * time_s) * time_s).astype(np.float32)
    write_clip(
        path,
        _drift(width, height, int(SEGMENT_S * LONG_FPS)),
        LONG_FPS,
        np.stack([tone, tone], axis=1),
        video_bit_rate=LONG_BIT_RATE,
        video_options={"preset": "veryfast"},
    )
    return path


def _drift(width: int, height: int, count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 60 + 2, width // 60 + 2, 3), np.uint8)
    scene = cv2.resize(coarse, (width + count, height), interpolation=cv2.INTER_CUBIC)
    for index in range(count):
        yield scene[:, index : index + width]


def repeat_clip(source: Path, target: Path, seconds: float) -> Path:
    """Repeat `source` until the clip lasts `seconds`. Packets are copied, not re-encoded."""
    with av.open(str(source)) as template, av.open(str(target), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in template.streams}
        rounds = math.ceil(seconds / (template.duration / av.time_base))
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        for _ in range(rounds):
            shifts = {index: end - starts[index] for index, end in ends.items()}
            with av.open(str(source)) as reopened:
                for packet in reopened.demux():
                    if packet.dts is None:
                        continue
                    index = packet.stream.index
                    starts.setdefault(index, packet.dts)
                    packet.dts += shifts.get(index, 0)
                    packet.pts += shifts.get(index, 0)
                    ends[index] = packet.dts + packet.duration
                    packet.stream = copies[index]
                    container.mux(packet)
    return target
