"""The sound of a clip as a WAV file whose first sample is at time 0 of the clip."""

from __future__ import annotations

import wave
from pathlib import Path

import av

from utils.media.frames import is_encrypted
from utils.media.limits import limited
from utils.media.streams import audio_stream, open_clip

RATE_HZ, CHANNELS, SAMPLE_BYTES = 48_000, 2, 2
MAX_SILENCE_S = 3600.0
"""Limit of the silence before a late soundtrack; later starts come from damaged files."""

SILENCE_BLOCK = RATE_HZ


def write_soundtrack(clip: Path, path: Path) -> float:
    """Write the main audio stream as stereo WAV; sound before time 0 is dropped, a late start is padded with silence.

    Returns:
        The duration in seconds; 0 if there is no sound, and no file is written then.

    Raises:
        MediaError: see `open_clip`.
    """
    with open_clip(clip) as container:
        stream = audio_stream(container)
        if stream is None:
            return 0.0
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=RATE_HZ)
        writer: _WavFile | None = None
        try:
            for packet in limited(container.demux(stream), clip):
                for frame in decoded(packet):
                    if writer is None:
                        writer = _WavFile(path, frame.time or 0.0)
                    for part in resampler.resample(frame):
                        writer.add(part)
        except (av.error.FFmpegError, ValueError):
            pass  # a damaged end: the sound so far is kept
        finally:
            if writer is not None:
                writer.close()
        return 0.0 if writer is None else writer.n_samples / RATE_HZ


def decoded(packet: av.Packet) -> list:
    """Return the frames of a packet; none if it is damaged or encrypted."""
    try:
        return [] if is_encrypted(packet) else packet.decode()
    except (av.error.FFmpegError, ValueError):
        return []


class _WavFile:
    """WAV file that starts at time 0."""

    def __init__(self, path: Path, start_s: float) -> None:
        self.n_samples = 0
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  (closed by `close`)
        self._file.setnchannels(CHANNELS)
        self._file.setsampwidth(SAMPLE_BYTES)
        self._file.setframerate(RATE_HZ)
        self._dropped = max(0, round(-start_s * RATE_HZ))
        silence = round(min(max(start_s, 0.0), MAX_SILENCE_S) * RATE_HZ)
        while silence > 0:
            block = min(silence, SILENCE_BLOCK)
            self._write(bytes(block * CHANNELS * SAMPLE_BYTES))
            silence -= block

    def add(self, frame: av.AudioFrame) -> None:
        content = bytes(frame.planes[0])[: frame.samples * CHANNELS * SAMPLE_BYTES]
        skipped = min(self._dropped, frame.samples)
        self._dropped -= skipped
        self._write(content[skipped * CHANNELS * SAMPLE_BYTES :])

    def close(self) -> None:
        self._file.close()

    def _write(self, content: bytes) -> None:
        self._file.writeframesraw(content)
        self.n_samples += len(content) // (CHANNELS * SAMPLE_BYTES)
