"""A copy of a clip with its verdict, time line and face boxes drawn into the frames, and its sound kept.

Frames are decoded like for scoring and encoded by moviepy's ffmpeg. Memory does not grow with the length of the clip.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from dataset.workers import run_in_worker
from engine.evidence.overlay import Overlay
from engine.evidence.soundtrack import write_soundtrack
from utils.errors import UsageError, WorkError
from utils.files import atomic_path
from utils.media.decode import ClipStream
from utils.media.errors import MediaError

if TYPE_CHECKING:
    from engine.detector import Detector, Score

SUFFIXES = (".mp4", ".mov", ".mkv")
MAX_SIDE_PX = 1920
MIN_SIDE_PX = 320
MAX_FPS, ASSUMED_FPS, STILL_FPS = 60.0, 25.0, 10.0
STILL_SIZE_PX = (360, 640)
"""Height and width of the empty picture of a clip without video."""

QUALITY = ["-crf", "20", "-movflags", "+faststart"]
TIMEOUT_FACTOR = 20
"""Rendering may take this many times longer than the time limit of scoring one clip."""


@dataclass(frozen=True)
class RenderTask:
    """Task of rendering one clip.

    Attributes:
        clip: the clip.
        output: the file to write.
        score: its score, with time line and faces if they were requested.
        max_frames: number of frames after which decoding stops; `None` for all.
    """

    clip: Path
    output: Path
    score: Score
    max_frames: int | None = None


def render_clip(detector: Detector, clip: Path, score: Score, output: Path) -> None:
    """Render a scored clip in a worker process.

    Raises:
        UsageError: the suffix of the output is not supported.
        WorkError: the clip cannot be read, or took too long.
        WriteError: the output cannot be written.
    """
    check_render_output(output)
    limits = detector.limits
    with atomic_path(output) as temporary:
        task = RenderTask(clip, temporary, score, limits.max_frames)
        problem, reason = run_in_worker(
            render_in_worker, task, timeout_s=TIMEOUT_FACTOR * limits.timeout_s, memory_gb=limits.memory_gb
        )
        if problem or reason:
            raise WorkError(f"{clip} cannot be rendered: {problem or reason}")


def check_render_output(output: Path) -> Path:
    """Return the path of the output.

    Raises:
        UsageError: its suffix is not supported.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--render {output}: expected a name that ends in {', '.join(SUFFIXES)}")
    return output


def render_in_worker(task: RenderTask) -> str:
    """Render a clip and return what went wrong; empty if nothing did."""
    try:
        render(task)
    except MediaError as error:
        return error.reason
    except OSError as error:
        return f"the video encoder failed ({error.strerror or 'see the log'})"
    return ""


def render(task: RenderTask) -> None:
    """Render a clip.

    Raises:
        MediaError: the clip cannot be read.
        OSError: the encoder failed.
    """
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        sound = Path(folder) / "sound.wav"
        sound_s = write_soundtrack(task.clip, sound)
        stream = ClipStream(task.clip, audio=False, max_frames=task.max_frames)
        frames = upright_frames(stream)
        first = next(frames, None)
        if first is None and not sound_s:
            raise MediaError("unreadable", "neither video nor audio can be decoded")
        fps = STILL_FPS if first is None else min(stream.facts.fps or ASSUMED_FPS, MAX_FPS)
        if first is None:
            timed: Iterator[tuple[float, np.ndarray]] = still_frames(sound_s, fps)
            size = STILL_SIZE_PX
        else:
            timed = at_regular_times(first, frames, fps)
            size = player_size(*first[1].shape[:2])
        end_s = max(sound_s, stream.facts.declared_s, stream.facts.declared_frames / fps, 1 / fps)
        overlay = Overlay(task.score, size, end_s)
        height, width = overlay.size
        writer = stack.enter_context(
            FFMPEG_VideoWriter(
                str(task.output),
                (width, height),
                fps,
                preset="veryfast",
                threads=1,
                ffmpeg_params=QUALITY,
                audiofile=str(sound) if sound_s else None,
                audio_codec="aac",
            )  # fmt: skip
        )
        for time_s, frame in timed:
            writer.write_frame(overlay.draw(frame, time_s))


def upright_frames(stream: ClipStream) -> Iterator[tuple[float, np.ndarray]]:
    """Yield presentation time and upright pixels (H, W, 3) of each frame."""
    facts, last_s = stream.facts, -1.0
    for frame in cast(Iterable[np.ndarray], stream):
        step_s = 1 / (facts.fps or ASSUMED_FPS)
        time_s = facts.frame_s if facts.frame_s is not None and facts.frame_s > last_s else last_s + step_s
        last_s = max(0.0, float(time_s))
        # A copy, since the frame is a view of the decoder's memory.
        yield last_s, facts.display.apply(frame).copy()


def player_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width with the longer side in [`MIN_SIDE_PX`, `MAX_SIDE_PX`], both even."""
    longer = max(height, width)
    scale = min(max(longer, MIN_SIDE_PX), MAX_SIDE_PX) / longer
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def at_regular_times(
    first: tuple[float, np.ndarray], frames: Iterator[tuple[float, np.ndarray]], fps: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield frames at multiples of 1 / `fps`: the latest frame of each time, the first one before it starts."""
    shown, number = first[1], 0
    for time_s, frame in frames:
        while (number + 0.5) / fps < time_s:
            yield number / fps, shown
            number += 1
        shown = frame
    yield number / fps, shown


def still_frames(duration_s: float, fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield an empty picture for the duration of the sound."""
    for number in range(max(1, round(duration_s * fps))):
        yield number / fps, np.zeros((*STILL_SIZE_PX, 3), np.uint8)
