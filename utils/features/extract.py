"""Extraction of all features of a clip in one decoding pass. The extractor, training and inference use it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from utils.features.base import FRAMES, SAMPLES, ClipPass, Extractor, Feature, with_sources
from utils.features.clip import ClipFacts, ClipFeatures, failed
from utils.features.config import FeatureConfig
from utils.features.resampling import MonoResampler
from utils.features.seconds import split_seconds
from utils.features.voice import voice_waveform
from utils.features.waveform import PcmBuffer
from utils.features.windows import (
    cut_windows,
    derive_all,
    frame_time_s,
    misses_windows,
    planned_duration_s,
)
from utils.media.arrays import ArrayStream, ClipArrays
from utils.media.decode import ClipStream, StreamFacts
from utils.media.errors import MediaError, join_reasons
from utils.media.mono import AudioBlock
from utils.progress_file import ProgressFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractionOptions:
    """Decoding limits and output locations.

    Attributes:
        max_frames: number of frames after which the pass stops (`too_long`); `None` for all.
        output_paths: feature name -> file, for features written during the pass: the WAV file of the waveform (mono 16-bit
            PCM). No file is written for a clip without audio.
        cache_dir: folder for expensive derived features, keyed by content; `None` disables the cache.
        windows: divide a clip longer than `utils.features.windows.SINGLE_S` into windows, if every feature allows that.
        duration_s: the clip's true duration if known; windows are otherwise placed by the declared one.
        timeline: also extract the clip second by second, if it can be divided into windows.
        progress_path: file for the progress of the pass; see `ProgressFile`.
    """

    max_frames: int | None = None
    output_paths: Mapping[str, Path] = field(default_factory=dict)
    cache_dir: Path | None = None
    windows: bool = False
    duration_s: float | None = None
    timeline: bool = False
    progress_path: Path | None = None


def require_parts(config: FeatureConfig, names: Collection[str] | None = None) -> None:
    """Check that the weights and packages of features are installed. Call this before any clip is read.

    Args:
        config: settings of the features.
        names: the features; `None` for all that the config requests.

    Raises:
        UsageError: a part is missing; the message names it.
    """
    for feature in config.build(config.enabled() if names is None else names):
        feature.require()


def extract_clip(
    source: Path | ClipArrays,
    config: FeatureConfig,
    *,
    features: Collection[str] | None = None,
    options: ExtractionOptions | None = None,
) -> ClipFeatures:
    """Decode a clip once and compute its features.

    Args:
        source: a file in any container that libav can read, or the arrays of a decoded clip.
        config: settings of the features.
        features: names of the features to compute; `None` for all that the config requests. The facts of the clip do not
            depend on them.
        options: decoding limits and output files.

    Returns:
        The features. An unusable clip has status `failed` and its reason; it does not raise.
    """
    options = options or ExtractionOptions()
    requested = config.enabled() if features is None else tuple(features)
    plan = config.build(with_sources(requested))
    path = Path(source.name) if isinstance(source, ClipArrays) else source
    needs_length = any(feature.needs_length for feature in plan)
    stream = open_stream(source, options.max_frames, count_undeclared=needs_length)
    clip = ClipPass(
        path,
        stream.facts,
        options.max_frames,
        options.output_paths,
        {source for feature in plan if feature.is_derived for source in feature.fed},
        windowed := options.windows and all(feature.windowed or feature.is_derived for feature in plan),
        options.duration_s,
        windowed and options.timeline,
    )
    progress = ProgressFile(options.progress_path, lambda: planned_duration_s(clip))
    try:
        values, silent = run_pass(stream, clip, plan, config, progress)
    except MediaError as error:
        if error.reason in ("refused_format", "over_limit"):
            log.warning("%s", error)
        return failed(error.reason)
    for note in stream.facts.notes:
        log.warning("%s: %s", path.name, note)
    if not stream.facts.n_frames and not stream.facts.n_samples:
        return failed("encrypted" if "encrypted" in stream.facts.problems else "unreadable")
    facts = facts_of(stream.facts, silent=silent)
    seconds = None
    if clip.windowed:
        if clip.duration_s is None and misses_windows(clip):
            # The container declared another duration. Decode again with the actual one.
            again = replace(options, duration_s=stream.facts.duration_s)
            return extract_clip(source, config, features=features, options=again)
        seconds = split_seconds(values, clip) if clip.timeline else None
        windows = cut_windows(values, plan, requested, facts, stream.facts.audio_start_s or 0.0)
        if windows:
            return ClipFeatures(facts, windows=windows, seconds=seconds)
    derive_all(plan, values, options.cache_dir)
    return ClipFeatures(facts, {name: values[name] for name in requested}, seconds=seconds)


def open_stream(
    source: Path | ClipArrays, max_frames: int | None, *, count_undeclared: bool
) -> ClipStream | ArrayStream:
    """Return the frames and samples of a file or of arrays as a stream; see `ClipStream` for the options."""
    if isinstance(source, ClipArrays):
        return ArrayStream(source, max_frames=max_frames)
    return ClipStream(source, max_frames=max_frames, count_undeclared=count_undeclared)


def run_pass(
    stream: ClipStream | ArrayStream,
    clip: ClipPass,
    plan: Iterable[Feature],
    config: FeatureConfig,
    progress: ProgressFile,
) -> tuple[dict[str, Any], bool]:
    """Decode a clip and feed the streamed features.

    Returns:
        Their values by name, and whether every audio sample was zero.

    Raises:
        MediaError: the clip cannot be read.
    """
    peak = 0.0
    resampler = MonoResampler(config.audio.sample_rate_hz, clip.facts, match_clip=config.audio.length == "clip")
    with contextlib.ExitStack() as stack:
        running: dict[str, Extractor] = {}
        by_food: dict[str, list[Extractor]] = {FRAMES: [], SAMPLES: []}
        for feature in plan:
            if not feature.is_derived:
                running[feature.name] = stack.enter_context(feature.extractor(clip))
                for food in feature.fed:
                    by_food[food].append(running[feature.name])

        def take(blocks: Iterable[np.ndarray]) -> None:
            nonlocal peak
            for samples in blocks:
                peak = max(peak, float(np.abs(samples).max(initial=0.0)))
                for extractor in by_food[SAMPLES]:
                    extractor.add_samples(samples)

        stream.is_needed = lambda time_s: any(one.needs_frame(time_s) for one in by_food[FRAMES])
        for item in stream:
            if isinstance(item, np.ndarray):
                for extractor in by_food[FRAMES]:
                    extractor.add_frame(item)
            else:
                take(resampler.feed(item))
            progress.at(frame_time_s(stream.facts))
        take(resampler.finish())
        return {name: extractor.finish() for name, extractor in running.items()}, peak == 0.0


def facts_of(stream: StreamFacts, *, silent: bool) -> ClipFacts:
    """Return the facts of a clip after its decoding pass."""
    problems = set(stream.problems)
    if stream.n_frames == 0:
        problems.add("no_video")
    elif stream.n_frames == 1:
        problems.add("one_frame")
    if stream.n_samples == 0:
        problems.add("no_audio")
    elif silent:
        problems.add("silent")
    reason = join_reasons(problems)
    return ClipFacts(
        status="partial" if reason else "ok",
        reason=reason,
        duration_s=round(stream.duration_s, 3),
        n_frames=stream.n_frames,
        fps=round(stream.fps, 3),
        has_audio=stream.n_samples > 0,
    )


def clip_voice(path: Path, config: FeatureConfig, *, trim: bool = True) -> np.ndarray:
    """Return the 16 kHz waveform of a clip, (S,) float32, from which voice features are computed; S = 0 without audio.

    Without `trim`, digital silence at both ends is kept and the waveform stays aligned with the frames.

    Raises:
        MediaError: see `open_clip`.
    """
    stream = ClipStream(path, video=False)
    resampler = MonoResampler(config.audio.sample_rate_hz, stream.facts, match_clip=False)
    buffer = PcmBuffer(config.audio.sample_rate_hz)
    # Without video the stream yields audio blocks only.
    for block in cast(Iterable[AudioBlock], stream):
        for samples in resampler.feed(block):
            buffer.add(samples)
    for samples in resampler.finish():
        buffer.add(samples)
    return voice_waveform(buffer.pcm().samples, config.audio.sample_rate_hz, trim=trim)


def frame_histograms(path: Path, max_frames: int | None = None) -> np.ndarray:
    """Return the colour histogram of every frame of a clip, (T, 256) int32; T = 0 for a clip without video.

    Raises:
        MediaError: see `open_clip`.
    """
    # Imported here because the module loads a compiler (50 MB) that only decoding processes need.
    from utils.features.histogram import HistogramRows

    histograms = HistogramRows()
    # Without audio the stream yields frames only.
    for frame in cast(Iterable[np.ndarray], ClipStream(path, audio=False, max_frames=max_frames)):
        histograms.add(frame)
    return histograms.array()
