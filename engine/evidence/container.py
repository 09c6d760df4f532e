"""Facts about the file of a clip, from its container. Packets are read, nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import av

from engine.evidence.marks import HEAD_BYTES, TAIL_BYTES, find_marks
from engine.evidence.types import Fact, FileFacts, Mark
from utils.media.errors import MediaError
from utils.media.probe import AudioProbe, StreamProbe, VideoProbe, probe_container
from utils.media.streams import audio_stream, open_clip, video_stream

MAX_TAGS, MAX_STREAMS_SHOWN = 40, 12
MAX_TAG_CHARS = 300

WRITERS = (
    ("lavf", "The container was written by FFmpeg (Lavf), so the file is not a camera original."),
    ("handbrake", "The container was written by HandBrake, so the file is not a camera original."),
    ("google", "The container was written by a service of Google, such as YouTube or Photos."),
)
"""Lower-case beginning of an encoder tag -> what it implies."""


def file_facts(path: Path) -> FileFacts | None:
    """Return the facts about a file; `None` if it cannot be opened as audio or video."""
    try:
        probe = probe_container(path)
        with open_clip(path) as container:
            tags = dict(list(container.metadata.items())[:MAX_TAGS])
            streams = dict(stream_facts(container, probe.video, probe.audio))
            further = len(container.streams) - len(streams)
        marks = find_marks(path)
    except (MediaError, OSError, av.error.FFmpegError, ValueError):
        return None
    if further > 0:
        streams["Further streams"] = (Fact("number", str(further)),)
    facts = [
        Fact("size", f"{probe.file_bytes / 1e6:.2f} MB"),
        Fact("format", probe.format),
        Fact("duration", f"{probe.duration_s:.2f} s" if probe.duration_s else "not declared"),
    ]
    facts += [Fact(name, value[:MAX_TAG_CHARS]) for name, value in tags.items()]
    scanned = (
        f"The search for marks covers the tags, the top-level boxes, the first {HEAD_BYTES >> 20} MiB and the last "
        f"{TAIL_BYTES >> 20} MiB of the file. Marks can be forged, copied or removed; no signature was verified."
    )
    return FileFacts(tuple(facts), streams, (*writer_marks(tags), *marks), scanned)


def writer_marks(tags: Mapping[str, str]) -> Iterator[Mark]:
    """Yield the marks that follow from the tags of the container."""
    lower = {name.lower(): value for name, value in tags.items()}
    encoder = lower.get("encoder", "").lower()
    for start, message in WRITERS:
        if encoder.startswith(start):
            yield Mark("lavf" if start == "lavf" else "encoder_tag", message)
    if not any("creation" in name or name in ("date", "year") for name in lower):
        yield Mark(
            "no_date", "The container has no creation date. Cameras write one; most programs and websites do not."
        )
    if any(name.startswith("com.apple.quicktime") or name in ("make", "model") for name in lower):
        yield Mark("camera", "The container has tags that cameras write. They can be copied.")


def stream_facts(
    container: av.container.InputContainer, video: VideoProbe | None, audio: AudioProbe | None
) -> Iterator[tuple[str, tuple[Fact, ...]]]:
    """Yield title and facts of each stream, at most `MAX_STREAMS_SHOWN`."""
    main = {
        stream.index: probe
        for stream, probe in ((video_stream(container), video), (audio_stream(container), audio))
        if stream is not None and probe is not None
    }
    for stream in list(container.streams)[:MAX_STREAMS_SHOWN]:
        kind = {"video": "Video", "audio": "Audio"}.get(stream.type, stream.type.capitalize())
        probe = main.get(stream.index)
        title = f"{kind} (stream {stream.index}{', examined' if probe else ', not examined'})"
        tags = [Fact(name, value[:MAX_TAG_CHARS]) for name, value in list(stream.metadata.items())[:MAX_TAGS]]
        codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
        yield title, (*(probe_facts(probe) if probe else [Fact("codec", codec)]), *tags)


def probe_facts(probe: StreamProbe) -> list[Fact]:
    """Return the facts of an examined stream."""
    rate = f"{probe.bit_rate_bps / 1e3:.0f} kbit/s" if probe.bit_rate_bps else "unknown"
    codec = " ".join(filter(None, (probe.codec, probe.profile, f"({probe.tag})" if probe.tag else "")))
    facts = [Fact("codec", codec), Fact("bit rate", rate), Fact("duration", f"{probe.duration_s:.2f} s")]
    if isinstance(probe, VideoProbe):
        facts += [
            Fact("frame", f"{probe.width_px} x {probe.height_px} px, {probe.sample_format}"),
            Fact("frame rate", f"{probe.fps:.3f} per second, {probe.n_packets} frames"),
            Fact("key frames", str(probe.n_key_packets)),
        ]
    if isinstance(probe, AudioProbe):
        facts.append(Fact("sampling", f"{probe.sample_rate_hz} Hz, {probe.channels} channels, {probe.sample_format}"))
    if probe.start_s:
        facts.append(Fact("start", f"{probe.start_s:.3f} s"))
    return facts
