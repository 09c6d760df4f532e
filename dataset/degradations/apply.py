"""Write the degraded file of a clip: the changed stream is re-encoded, the other is copied packet by packet."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soxr
from av.video.reformatter import Interpolation, VideoReformatter

from dataset.degradations.families import Change, Container, Degradation, Encoding
from dataset.degradations.frame_filters import change_frame_rate
from dataset.degradations.streams import ContainerRefusedError, Track, multiplex, refusals_of, start_s
from utils.features.resampling import whole_waveform
from utils.media.decode import ONE_THREAD, ClipStream
from utils.media.errors import MediaError
from utils.media.streams import open_clip
from utils.media.writer import write_clip

# SVT-AV1 prints a banner to standard error for each clip unless this variable limits it to errors.
os.environ.setdefault("SVT_LOG", "1")

NOT_DEGRADED = "not_degraded"
"""Reason code for a readable clip whose degraded file could not be written."""

UNKNOWN_FPS = 25.0
EXACT = int(Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND)
MP4 = Container(".mp4")
ISO_MEDIA = (MP4, Container(".mov"), Container(".mkv"))
OTHER_MEDIA = (Container(".mkv"), MP4)


class _TrueColours(ClipStream):
    """Decoded frames, converted to RGB by libswscale's exact conversion.

    The fast conversion used for features darkens 4:2:0 frames by one grey level. A degraded clip is decoded twice, but its
    original only once, so with the fast conversion the degraded clip would be darker.
    """

    def _pixels(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray | None:
        try:
            exact = reformatter.reformat(frame, format="rgb24", interpolation=EXACT, **ONE_THREAD)
            return super()._pixels(exact, reformatter)
        except (av.error.FFmpegError, ValueError, TypeError):
            self.facts.problems.add("truncated")
            return None


@dataclass(frozen=True)
class _Sound:
    """A waveform (S,) float32 to encode at its sample rate."""

    waveform: np.ndarray
    rate_hz: int
    encoding: Encoding


def degrade_clip(source: Path, output: Path, degradation: Degradation, *, seed: int = 0) -> Path:
    """Write a degraded copy of a clip.

    A stream that the degradation does not change is copied packet by packet, so it decodes to the same frames or samples. New
    frames are upright with square pixels and have the clip's mean frame rate; new audio has one channel. Both keep the start
    times of the original streams.

    Args:
        source: any clip that libav can read.
        output: path to write, without a suffix; the container's suffix is appended.
        degradation: family and severity.
        seed: seed of noise, reverberation and lost blocks. The same seed gives the same pattern at each severity.

    Returns:
        Path of the written file.

    Raises:
        MediaError: see `open_clip`; `not_degraded` if no encoder or container accepts the clip.
        OSError: the disk is full, or the output cannot be written.
    """
    change = degradation.change
    scratch: list[Path] = []
    try:
        pictures = Track(source, "video")
        if change.video is not None:
            pictures = _encoded_pictures(source, output, change, seed, scratch)
        sound = _changed_sound(source, change, seed) if change.audio is not None else None
        refusals = []
        for container in change.containers or _own_kind(source):
            written = output.with_name(output.name + container.suffix)
            try:
                tracks = [pictures, _sound_track(source, sound, output, container, scratch)]
                multiplex(written, tracks, container)
                return written
            except ContainerRefusedError as refusal:
                written.unlink(missing_ok=True)
                refusals.append(str(refusal))
        raise MediaError(NOT_DEGRADED, f"{source}: {'; '.join(refusals)}")
    finally:
        for path in scratch:
            path.unlink(missing_ok=True)


def _own_kind(source: Path) -> tuple[Container, ...]:
    """Return candidate containers. The clip's own kind is first, because only it keeps sample-exact trims."""
    with open_clip(source) as container:
        return ISO_MEDIA if "mp4" in container.format.name else OTHER_MEDIA


def _encoded_pictures(source: Path, output: Path, change: Change, seed: int, scratch: list[Path]) -> Track:
    """Encode the changed frames to a separate file. For a clip without frames, return the clip itself."""
    assert change.video is not None
    stream = _TrueColours(source, audio=False)
    frames = _changed_frames(stream, change, np.random.default_rng(seed))
    first = next(frames, None)
    if first is None:
        return Track(source, "video")
    path = output.with_name(f"{output.name}.pictures{MP4.suffix}")
    scratch.append(path)
    # 4:2:0 needs even sides. Copy the first frame: it may be a view of the decoder's memory, which is reused.
    even = first.shape[0] % 2 == 0 and first.shape[1] % 2 == 0
    try:
        with refusals_of(MP4):
            write_clip(
                path,
                itertools.chain([first.copy()], frames),
                (stream.facts.fps or UNKNOWN_FPS) * change.frame_rate,
                video_codec=change.video.codec,
                video_options=change.video.options,
                video_bit_rate=change.video.bit_rate,
                pix_fmt="yuv420p" if even else "yuv444p",
            )
    except ContainerRefusedError as refusal:
        raise MediaError(
            NOT_DEGRADED, f"{source}: {change.video.codec} does not accept the frames ({refusal})"
        ) from None
    return Track(path, "video", start_s(source, "video"))


def _changed_frames(stream: ClipStream, change: Change, rng: np.random.Generator) -> Iterator[np.ndarray]:
    # New files declare no rotation, mirroring or pixel shape: frames are written as a player shows the original.
    frames: Iterator[np.ndarray] = (stream.facts.display.apply(item) for item in stream if isinstance(item, np.ndarray))
    if change.frame_rate != 1.0:
        frames = change_frame_rate(frames, change.frame_rate)
    return frames if change.frames is None else (change.frames(frame, rng) for frame in frames)


def _changed_sound(source: Path, change: Change, seed: int) -> _Sound | None:
    """Return the changed waveform at a rate that the encoder accepts; `None` for a clip without audio."""
    assert change.audio is not None
    stream = ClipStream(source, video=False)
    waveform, rate_hz = whole_waveform([item for item in stream if not isinstance(item, np.ndarray)])
    if not rate_hz:
        return None
    if change.sound is not None:
        waveform = change.sound(waveform, rate_hz, np.random.default_rng(seed))
    encoder_hz = encoder_rate_hz(change.audio.codec, rate_hz)
    if encoder_hz != rate_hz:
        waveform = soxr.resample(waveform, rate_hz, encoder_hz, quality="HQ")
    return _Sound(waveform, encoder_hz, change.audio)


def encoder_rate_hz(codec: str, rate_hz: int) -> int:
    """Return `rate_hz` if the encoder supports it, else the next higher supported rate, else its highest rate."""
    rates = av.codec.Codec(codec, "w").audio_rates
    if not rates or rate_hz in rates:
        return rate_hz
    return min((rate for rate in rates if rate > rate_hz), default=max(rates))


def _sound_track(source: Path, sound: _Sound | None, output: Path, container: Container, scratch: list[Path]) -> Track:
    """Return the audio track to write: the clip's own, or the new waveform encoded to a file of the final format."""
    if sound is None:
        return Track(source, "audio")
    path = output.with_name(f"{output.name}.sound{container.suffix}")
    scratch.append(path)
    with refusals_of(container):
        write_clip(
            path,
            None,
            waveform=sound.waveform,
            sample_rate_hz=sound.rate_hz,
            audio_codec=sound.encoding.codec,
            audio_options=sound.encoding.options,
            audio_bit_rate=sound.encoding.bit_rate,
        )
    return Track(path, "audio", start_s(source, "audio"))
