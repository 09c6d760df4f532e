"""The table of degradation families: the parameter at each severity and the change that it makes to a clip."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from dataset.degradations import audio_filters, frame_filters
from utils.errors import UsageError

log = logging.getLogger(__name__)

SEVERITIES = (1, 2, 3, 4, 5)

FILTERS_VERSION = 1
"""Increase this when a filter changes its output at the same level. It invalidates cached scores."""

FrameFilter = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]
SoundFilter = Callable[[np.ndarray, int, Any, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Encoding:
    """Encoder settings of a stream.

    Attributes:
        codec: encoder name.
        options: private options of the encoder.
        bit_rate: bit/s; `None` if the options determine it.
    """

    codec: str
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int | None = None


@dataclass(frozen=True)
class Container:
    """An output file format.

    Attributes:
        suffix: file name suffix; libav derives the format from it.
        options: options of the format.
        codecs: codecs that players support in this format; `None` accepts all codecs that libav accepts. (MPEG-TS accepts
            codecs that it cannot represent and silently loses them.)
    """

    suffix: str
    options: dict[str, str] = field(default_factory=dict)
    codecs: tuple[str, ...] | None = None


VISUALLY_LOSSLESS = Encoding("libx264", {"preset": "ultrafast", "crf": "10"})
"""Encoding of filtered frames: about 43 dB PSNR on talking heads; most of the loss comes from chroma subsampling."""

LOSSLESS = Encoding("flac")
"""Encoding of filtered audio, at 16 bits."""


@dataclass(frozen=True)
class Change:
    """The change to a clip. A stream without a new encoding is copied packet by packet.

    Attributes:
        frames: function that changes each frame.
        frame_rate: factor by which the frame rate changes.
        video: encoding of the new frames; `None` copies the video packets.
        sound: function that changes the mono waveform.
        audio: encoding of the new audio; `None` copies the audio packets.
        containers: output formats in order of preference; `None` means the clip's own format.
    """

    frames: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    frame_rate: float = 1.0
    video: Encoding | None = None
    sound: Callable[[np.ndarray, int, np.random.Generator], np.ndarray] | None = None
    audio: Encoding | None = None
    containers: tuple[Container, ...] | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the clip remains unchanged, so that its own file can be used."""
        return self.video is None and self.audio is None and self.containers is None


@dataclass(frozen=True)
class Family:
    """One kind of degradation.

    Attributes:
        name: name in tables and on the command line.
        kind: `video`, `audio` or `container`: the part of the clip that changes.
        parameter: meaning of a level, with its unit.
        levels: parameter values at severities 1, 2, ...; empty for a baseline, which has severity 0 only.
        change: maps a level to the change of a clip.
        baseline: family whose AUC it should be compared with in addition to `none`, because it includes that family's loss.
    """

    name: str
    kind: str
    parameter: str
    levels: tuple[Any, ...]
    change: Callable[[Any], Change]
    baseline: str = "none"

    @property
    def severities(self) -> tuple[int, ...]:
        """Severities from weakest to strongest: 1, 2, ...; (0,) for a baseline."""
        return tuple(range(1, len(self.levels) + 1)) or (0,)


@dataclass(frozen=True)
class Degradation:
    """A family at one severity."""

    family: Family
    severity: int

    @property
    def level(self) -> Any:
        """The family's parameter at this severity; `None` for a baseline."""
        return self.family.levels[self.severity - 1] if self.severity else None

    @property
    def change(self) -> Change:
        """The change to a clip."""
        return self.family.change(self.level)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the required libav encoders."""
        return tuple(encoding.codec for encoding in (self.change.video, self.change.audio) if encoding is not None)

    @property
    def identity(self) -> str:
        """Text of everything that determines the degraded file. Degradations with equal identities have equal output."""
        change = self.change
        parts = (self.level, change.frame_rate, change.video, change.audio, change.containers, FILTERS_VERSION)
        return f"{self.family.name} {parts!r}"

    def __str__(self) -> str:
        """Return family and severity, for example `blur-3`."""
        return f"{self.family.name}-{self.severity}"


def _filtered_frames(function: FrameFilter) -> Callable[[Any], Change]:
    return lambda level: Change(frames=lambda frame, rng: function(frame, level, rng), video=VISUALLY_LOSSLESS)


def _filtered_sound(function: SoundFilter) -> Callable[[Any], Change]:
    return lambda level: Change(sound=lambda wave, rate, rng: function(wave, rate, level, rng), audio=LOSSLESS)


def _video_crf(codec: str, **options: str) -> Callable[[Any], Change]:
    return lambda crf: Change(video=Encoding(codec, {"crf": str(crf), **options}))


def _audio_rate(codec: str, **options: str) -> Callable[[Any], Change]:
    return lambda kbps: Change(audio=Encoding(codec, options, 1000 * kbps))


MATROSKA = Container(".mkv")
_BROADCAST = ("h264", "hevc", "mpeg2video", "mpeg4", "aac", "mp3", "mp2", "ac3")
CONTAINERS = {
    "mov": Container(".mov"),
    "mkv": MATROSKA,
    "fragmented mp4": Container(".mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "flv": Container(".flv", codecs=("h264", "aac", "mp3")),
    "mpeg-ts": Container(".ts", codecs=_BROADCAST),
}


def _remuxed(name: str) -> Change:
    return Change(containers=(CONTAINERS[name], MATROSKA))


# One thread per encoder, because clips are encoded in parallel. Slowest presets that are about as fast as H.264.
SVT_AV1 = {"preset": "10", "svtav1-params": "lp=1"}
VP9 = {"b": "0", "deadline": "realtime", "cpu-used": "5"}
_RATES = "bit rate, kbit/s, one channel"
_IN_H264, _IN_FLAC = "reencode_video", "reencode_audio"
_SHORT_SIDE = "share of the shorter side"

# fmt: off
FAMILIES: dict[str, Family] = {family.name: family for family in (
    Family("none", "container", "the clip itself", (), lambda _: Change()),
    Family("reencode_video", "video", "H.264 at CRF 10, no filter", (), lambda _: Change(video=VISUALLY_LOSSLESS)),
    Family("reencode_audio", "audio", "one channel of 16-bit FLAC, no filter", (), lambda _: Change(audio=LOSSLESS)),
    Family("h264", "video", "CRF", (24, 30, 36, 42, 48), _video_crf("libx264", preset="veryfast")),
    Family("vp9", "video", "CRF", (35, 42, 49, 56, 63), _video_crf("libvpx-vp9", **VP9)),
    Family("av1", "video", "CRF", (35, 42, 49, 56, 63), _video_crf("libsvtav1", **SVT_AV1)),
    Family("down_up", "video", "scale factor", (1.5, 2, 3, 4, 6), _filtered_frames(frame_filters.down_up), _IN_H264),
    Family("blur", "video", f"Gaussian sigma, {_SHORT_SIDE}", (0.0025, 0.005, 0.01, 0.015, 0.02),
           _filtered_frames(frame_filters.blur), _IN_H264),
    Family("noise", "video", "sigma, grey levels", (2, 5, 10, 20, 35), _filtered_frames(frame_filters.noise), _IN_H264),
    Family("brightness", "video", "offset, grey levels", (16, 32, 48, 64, 80),
           _filtered_frames(frame_filters.brightness), _IN_H264),
    Family("contrast", "video", "factor", (0.85, 0.725, 0.6, 0.475, 0.35),
           _filtered_frames(frame_filters.contrast), _IN_H264),
    Family("saturation", "video", "factor", (0.8, 0.6, 0.4, 0.2, 0.0), _filtered_frames(frame_filters.saturation), _IN_H264),
    Family("block_drop", "video", "share of blocks lost", (0.02, 0.05, 0.1, 0.2, 0.4),
           _filtered_frames(frame_filters.block_drop), _IN_H264),
    Family("frame_rate", "video", "factor", (5 / 6, 2 / 3, 1 / 2, 1 / 3, 1 / 5),
           lambda factor: Change(frame_rate=factor, video=VISUALLY_LOSSLESS), _IN_H264),
    Family("crop", "video", "share of each side kept", (0.95, 0.9, 0.8, 0.7, 0.6),
           _filtered_frames(frame_filters.crop), _IN_H264),
    Family("remux", "container", "container, no re-encode", tuple(CONTAINERS), _remuxed),
    Family("mp3", "audio", _RATES, (128, 96, 64, 48, 32), _audio_rate("libmp3lame")),
    Family("aac", "audio", _RATES, (96, 64, 48, 32, 24), _audio_rate("aac")),
    Family("opus", "audio", _RATES, (64, 32, 16, 10, 6), _audio_rate("libopus", vbr="constrained")),
    Family("telephone", "audio", "band at 8 kHz, Hz", ((50, 3800), (200, 3600), (300, 3400), (400, 3000), (500, 2500)),
           _filtered_sound(audio_filters.telephone), _IN_FLAC),
    Family("audio_noise", "audio", "SNR, dB", (30, 20, 10, 5, 0), _filtered_sound(audio_filters.add_noise), _IN_FLAC),
    Family("reverb", "audio", "reverberation time RT60, s", (0.2, 0.4, 0.7, 1.0, 1.5),
           _filtered_sound(audio_filters.reverb), _IN_FLAC),
    Family("pitch", "audio", "semitones", (0.5, 1, 2, 3, 5), _filtered_sound(audio_filters.pitch), _IN_FLAC),
    Family("volume", "audio", "gain, dB", (-6, -12, -18, -24, -36), _filtered_sound(audio_filters.volume), _IN_FLAC),
    Family("offset", "audio", "audio late by, ms", (40, 80, 120, 200, 400), _filtered_sound(audio_filters.delay), _IN_FLAC),
)}
# fmt: on
"""All families by name, in table order. docs/ROBUSTNESS.md explains the choice of levels."""


def find_family(name: str) -> Family:
    """Return a family by name.

    Raises:
        UsageError: for an unknown name; the message suggests the nearest name and lists all.
    """
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown family {name!r}{hint} (there are: {', '.join(FAMILIES)})")
    return FAMILIES[name]


def plan(names: list[str] | None, severities: list[int]) -> list[Degradation]:
    """Return the degradations of a run: the required baselines first, then each family at the given severities.

    Args:
        names: family names; `None` or empty selects all that this build of libav can encode.
        severities: severities from 1 to 5; baselines always have severity 0.

    Raises:
        UsageError: an unknown family or severity, or a requested family whose encoder is missing from this build of libav.
    """
    chosen = [find_family(name) for name in dict.fromkeys(names or FAMILIES)]
    if wrong := sorted(set(severities) - set(SEVERITIES)):
        raise UsageError(f"severity {wrong[0]}: expected 1 to 5; the unchanged clips (0) are always scored")
    needed = {"none"} | {family.baseline for family in chosen} | {family.name for family in chosen}
    cells = [
        Degradation(family, severity)
        for family in FAMILIES.values()
        for severity in family.severities
        if family.name in needed and severity in {0, *severities}
    ]
    lacking = {cell.family.name: name for cell in cells for name in cell.encoders if not can_encode(name)}
    if lacking:
        sentence = ", ".join(f"{family} ({encoder})" for family, encoder in lacking.items())
        if names:
            raise UsageError(f"this build of libav has no encoder for {sentence}")
        log.warning("skipped because this build of libav has no encoder: %s", sentence)
    return [cell for cell in cells if cell.family.name not in lacking]


def can_encode(codec: str) -> bool:
    """Return whether this build of libav has the encoder."""
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        return False
    return True
