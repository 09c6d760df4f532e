"""Floor of all comparisons: decode every frame and every sample of a clip and discard them."""

from __future__ import annotations

from pathlib import Path

from utils.media.streams import audio_stream, open_clip, video_stream


def decode_only(path: Path, *, video: bool = True, audio: bool = True) -> int:
    """Decode the main streams of a clip in this thread and return the number of video and audio frames."""
    with open_clip(path) as container:
        wanted = [video_stream(container) if video else None, audio_stream(container) if audio else None]
        streams = [stream for stream in wanted if stream is not None]
        for stream in streams:
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
        return sum(len(packet.decode()) for packet in container.demux(streams))
