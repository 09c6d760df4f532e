"""Offset between lips and voice: how far the sound of a clip is shifted against its picture.

It needs no detector weights: the maps from mouth and speech to a shared space (canonical correlation, Hotelling, 1936) are
stored in `checkpoint/lip_sync.npz` and were fitted on real clips, see `models.experts.sync`. `docs/LOG.md` has error rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from engine.timeline.types import SYNC, Finding, Timeline
from utils.features.face.features import MOUTH_HZ
from utils.features.seconds import ClipSeconds, FaceSecond
from utils.features.speech import CONTEXT, MAX_LAG, speech_of_pcm

MAPS = Path(__file__).resolve().parents[2] / "checkpoint" / "lip_sync.npz"

SYNC_OFFSET = "sync_offset"
"""Code of the finding."""

PART_SECONDS = 10
LEAST_SECONDS = 3
"""Offsets are measured in parts of this length; a face that is tracked for less than `LEAST_SECONDS` has none."""

LEAST_LAG = 4
"""Smallest lag of a finding in frames of 40 ms. Real clips are often off by up to 3 frames."""

LEAST_GAIN = 0.15
"""Minimum excess of the correlation at the best lag over that near lag 0, in a part of `PART_SECONDS`.

The noise of a correlation falls with the square root of its length, so a shorter part needs more. Of 124 parts of real clips,
2 % have a finding (`docs/LOG.md`, S7)."""

LEAST_CLIP_PARTS = 3
LEAST_CLIP_GAIN = 0.05
"""Minimum excess of the correlation averaged over a clip of at least `LEAST_CLIP_PARTS` parts."""

NEAR = 2
ROUND_OFF = 1e-6


@dataclass(frozen=True)
class SyncPart:
    """The agreement of lips and voice in a part of a clip.

    Attributes:
        start_s: start of the part in seconds on the clip's clock.
        end_s: end of the part in seconds.
        curve: (2 `MAX_LAG` + 1,) correlation by lag, see `correlation_curve`.
    """

    start_s: float
    end_s: float
    curve: np.ndarray

    @property
    def lag(self) -> int:
        """Lag of the highest correlation in frames of 40 ms; positive for sound that comes too late."""
        return int(np.argmax(self.curve)) - MAX_LAG

    @property
    def gain(self) -> float:
        """The highest correlation minus the highest one within `NEAR` frames of lag 0, at least 0."""
        return float(self.curve.max() - self.curve[MAX_LAG - NEAR : MAX_LAG + NEAR + 1].max())

    def is_offset(self, least_gain: float) -> bool:
        """Whether sound and lips do not belong together."""
        return abs(self.lag) >= LEAST_LAG and self.gain >= least_gain


def with_sync(timeline: Timeline, parts: Sequence[SyncPart]) -> Timeline:
    """Return a time line with the gain of each window's part as evidence `sync`, which is not part of the logit."""
    middle_s = (timeline.start_s + timeline.end_s) / 2
    gain = np.full(len(timeline), np.nan)
    for part in parts:
        gain[(part.start_s <= middle_s) & (middle_s < part.end_s)] = part.gain
    return replace(timeline, evidence={**timeline.evidence, SYNC: gain})


def sync_findings(measured: Sequence[SyncPart]) -> tuple[Finding, ...]:
    """Return the findings of shifted sound: one over the whole clip, or one per part. Neighbouring parts are joined.

    The parts of a clip whose sound is shifted as a whole agree, and their average is far less noisy than each of them.
    """
    whole = average_part(measured)
    if whole is not None and whole.is_offset(LEAST_CLIP_GAIN):
        shifted = [whole]
    else:
        shifted = [part for part in measured if part.is_offset(least_gain(part.end_s - part.start_s))]
    findings: list[Finding] = []
    for part in joined_parts(shifted):
        message = f"sound and lips do not belong together: offset {abs(part.lag) / MOUTH_HZ:.2f} s"
        findings.append(Finding(SYNC_OFFSET, message, part.start_s, part.end_s))
    return tuple(findings)


def least_gain(duration_s: float) -> float:
    """Return the minimum gain of a finding in a part of this duration."""
    return LEAST_GAIN * float(np.sqrt(PART_SECONDS / duration_s))


def average_part(parts: Sequence[SyncPart]) -> SyncPart | None:
    """Return all parts as one, with their curves averaged by duration; `None` for fewer than `LEAST_CLIP_PARTS`."""
    if len(parts) < LEAST_CLIP_PARTS:
        return None
    durations_s = np.array([part.end_s - part.start_s for part in parts])
    curve = durations_s @ np.stack([part.curve for part in parts]) / durations_s.sum()
    return SyncPart(parts[0].start_s, parts[-1].end_s, curve)


def joined_parts(parts: list[SyncPart]) -> list[SyncPart]:
    """Join neighbouring parts whose lags differ by at most `NEAR`; the joined part has the lag of the clearest one."""
    joined: list[SyncPart] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and part.start_s - last.end_s < 1.0 and abs(part.lag - last.lag) <= NEAR:
            best = max(part, last, key=lambda one: one.gain)
            joined[-1] = SyncPart(last.start_s, part.end_s, best.curve)
        else:
            joined.append(part)
    return joined


def sync_parts(clip: ClipSeconds) -> Iterator[SyncPart]:
    """Yield the agreement of lips and voice in parts of `PART_SECONDS`, by start; see `longest_tracks`."""
    pcm = clip.pcm
    if pcm is None:
        return
    for part in longest_tracks(clip):
        mouth = np.concatenate([one.features.mouth for one in part])
        start_s = part[0].features.start_s
        speech = speech_of_pcm(pcm.samples, pcm.rate_hz, start_s - clip.audio_start_s, len(mouth))
        if speech is None:
            continue
        yield SyncPart(start_s, start_s + len(mouth) / MOUTH_HZ, correlation_curve(mouth, speech))


def longest_tracks(clip: ClipSeconds) -> list[list[FaceSecond]]:
    """Return the parts of the face that is tracked longest and, where it is absent, of the next longest one, by start."""
    used: set[int] = set()
    parts: list[list[FaceSecond]] = []
    for seconds in sorted(clip.tracks().values(), key=len, reverse=True):
        free = [one for one in seconds if one.second not in used]
        used.update(one.second for one in free)
        parts += parts_of(free)
    return sorted(parts, key=lambda part: part[0].second)


def parts_of(seconds: list[FaceSecond]) -> Iterator[list[FaceSecond]]:
    """Yield uninterrupted parts of a track of at most `PART_SECONDS` and at least `LEAST_SECONDS`."""
    part: list[FaceSecond] = []
    for one in seconds:
        if part and (one.second != part[-1].second + 1 or len(part) == PART_SECONDS):
            if len(part) >= LEAST_SECONDS:
                yield part
            part = []
        part.append(one)
    if len(part) >= LEAST_SECONDS:
        yield part


@cache
def sync_maps() -> dict[str, np.ndarray]:
    """Return the maps of mouth and speech; see `models.experts.sync.SyncExpert` for their shapes."""
    with np.load(MAPS, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}


def correlation_curve(mouth: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """Return the correlation of mouth and speech at lags of `-MAX_LAG` to `MAX_LAG` frames, (25,).

    Args:
        mouth: (T, 24, 28) uint8 grey levels.
        speech: (T + 2 `PAD`, 40), see `speech_of_pcm`.
    """
    maps = sync_maps()
    pixels = mouth.reshape(len(mouth), -1).astype(np.float64)
    pixels -= pixels.mean(axis=0)
    pixels /= np.sqrt(np.square(pixels).mean()) + ROUND_OFF
    components = (pixels - maps["mouth_mean"]) @ maps["mouth_map"]
    moving = unit(np.concatenate([components, np.gradient(components, axis=0)], axis=1) @ maps["mouth_mix"])
    context = np.lib.stride_tricks.sliding_window_view(speech.astype(np.float64), 2 * CONTEXT + 1, axis=0)
    audio = (context.transpose(0, 2, 1).reshape(len(context), -1) - maps["speech_mean"]) @ maps["speech_mix"]
    strength = maps["strength"]
    lagged = (unit(audio[lag : lag + len(mouth)]) for lag in range(2 * MAX_LAG + 1))
    return np.array([(moving * one).sum(axis=0) @ strength / strength.sum() for one in lagged])


def unit(series: np.ndarray) -> np.ndarray:
    """Centre a series (T, C) over time and scale it to unit length."""
    centred = series - series.mean(axis=0)
    return centred / np.sqrt(np.square(centred).sum(axis=0) + ROUND_OFF)
