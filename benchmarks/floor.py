"""The floor: decode every frame and every sample of a clip, and do nothing with them."""

from __future__ import annotations

from pathlib import Path

from utils.media.streams import audio_stream, open_clip, video_stream


def decode_only(path: Path, *, video: bool = True, audio: bool = True) -> int:
    """Decode a clip's main streams in this thread; returns the number of decoded frames of both kinds."""
    with open_clip(path) as container:
        wanted = [video_stream(container) if video else None, audio_stream(container) if audio else None]
        streams = [stream for stream in wanted if stream is not None]
        for stream in streams:
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
        return sum(len(packet.decode()) for packet in container.demux(streams))
