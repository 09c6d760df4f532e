"""The forgery types. Each takes raw frames and samples and returns forged ones.

All of them preserve the number of frames and samples, so the length does not reveal the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from dataset.demo_set.canvas import CANVAS_PX
from dataset.demo_set.head import head_painter
from dataset.demo_set.performance import Pose, Take
from dataset.demo_set.render import HeadCamera, apply_gain, render
from dataset.demo_set.resynthesis import resynthesise
from dataset.demo_set.speech import SAMPLE_RATE_HZ

CROSSFADE_S = 0.004


@dataclass(frozen=True)
class Shot:
    """A window of a take: ``n_frames`` square frames of ``size_px`` at ``fps``, starting at ``start_s``."""

    take: Take
    start_s: float
    n_frames: int
    fps: int
    size_px: int

    @property
    def times_s(self) -> np.ndarray:
        """Time of each frame within the take, (T,)."""
        return self.start_s + np.arange(self.n_frames) / self.fps

    @property
    def duration_s(self) -> float:
        """Duration of the clip."""
        return self.n_frames / self.fps

    def film(self) -> Footage:
        """Render the frames and synthesise the speech."""
        return Footage(render(self.take, self.times_s, self.size_px), self.listen())

    def listen(self) -> np.ndarray:
        """Synthesise the speech only."""
        return self.take.samples(self.start_s, self.duration_s)


@dataclass(frozen=True)
class Footage:
    """Frames and samples before noise and encoding.

    Attributes:
        frames: T frames, each (H, W, 3) uint8 RGB.
        samples: (S,) float32 at ``speech.SAMPLE_RATE_HZ``.
    """

    frames: list[np.ndarray]
    samples: np.ndarray


@dataclass(frozen=True)
class Accomplices:
    """Shots that a forgery may use in addition to the victim's footage.

    Attributes:
        stranger: A shot of another identity, with the same length and format as the victim's.
        same_person: A shot of the victim in another take, with the same length and format as the victim's.
    """

    stranger: Shot
    same_person: Shot


Forger = Callable[[Shot, Footage, Accomplices, np.random.Generator], Footage]


def face_swap(shot: Shot, footage: Footage, others: Accomplices, rng: np.random.Generator) -> Footage:
    """Blend in a stranger's inner face at the tracked pose, with the victim's expression and colours.

    Frames are swapped independently, so the position and brightness of the new face jitter slightly.
    """
    donor = head_painter(others.stranger.take.face, others.stranger.take.scene)
    camera = HeadCamera(shot.take.scene, shot.size_px)
    sharpness, opacity = rng.uniform(0.55, 0.85), rng.uniform(0.9, 1.0)
    jitter = rng.normal(0, 0.0022, (shot.n_frames, 2))
    flicker = 1 + rng.uniform(0.005, 0.03) * rng.standard_normal((shot.n_frames, 1))
    frames = []
    for index, (pose, expression) in enumerate(_acting(shot)):
        tracked = replace(pose, x=pose.x + jitter[index, 0], y=pose.y + jitter[index, 1])
        maps = camera.maps(tracked, expression.opening)
        generated = camera.view(donor.paint(expression), maps)[..., :3]
        mask = opacity * camera.view(donor.inner_mask, maps)
        generated = _match_colours(_soften(generated, sharpness), footage.frames[index], mask)
        generated = apply_gain(generated, np.repeat(flicker[index], 3))
        frames.append(_blend(footage.frames[index], generated, mask))
    return replace(footage, frames=frames)


def lip_sync(shot: Shot, footage: Footage, others: Accomplices, rng: np.random.Generator) -> Footage:
    """Replace the audio with other speech in the same voice and redraw the mouth to match it."""
    speech = others.same_person
    painter = head_painter(shot.take.face, shot.take.scene)
    camera = HeadCamera(shot.take.scene, shot.size_px)
    lips = [expression for _, expression in _acting(speech)]
    sharpness, mismatch = rng.uniform(0.5, 0.8), rng.uniform(-0.04, 0.04)
    gains = shot.take.gains(shot.times_s)
    frames = []
    for index, (pose, expression) in enumerate(_acting(shot)):
        spoken = replace(expression, opening=lips[index].opening, spread=lips[index].spread)
        maps = camera.maps(pose, spoken.opening)
        generated = camera.view(painter.paint(spoken), maps)[..., :3]
        generated = apply_gain(_soften(generated, sharpness), gains[index] * (1 + mismatch))
        mask = camera.view(painter.mouth_mask, maps)
        frames.append(_blend(footage.frames[index], generated, mask))
    return replace(footage, frames=frames, samples=speech.listen())


def reenactment(shot: Shot, footage: Footage, others: Accomplices, rng: np.random.Generator) -> Footage:
    """Replace the face with a low-resolution, temporally smoothed version of itself."""
    camera = HeadCamera(shot.take.scene, shot.size_px)
    painter = head_painter(shot.take.face, shot.take.scene)
    poses = shot.take.poses(shot.times_s)
    steady = _steady(poses, sigma_frames=rng.uniform(0.8, 1.6))
    memory, share = None, rng.uniform(0.2, 0.4)
    sharpness = rng.uniform(0.6, 0.85)
    frames = []
    for frame, pose, target in zip(footage.frames, poses, steady, strict=True):
        matrix = cv2.invertAffineTransform(camera.to_frame(pose))
        aligned = cv2.warpAffine(frame, matrix, (CANVAS_PX, CANVAS_PX), borderMode=cv2.BORDER_REPLICATE)
        small = cv2.resize(aligned, None, fx=sharpness / 2, fy=sharpness / 2, interpolation=cv2.INTER_AREA)
        memory = small.astype(np.float32) if memory is None else share * memory + (1 - share) * small
        drawn = cv2.resize(memory, (CANVAS_PX, CANVAS_PX), interpolation=cv2.INTER_CUBIC)
        size = (shot.size_px, shot.size_px)
        back = camera.to_frame(target)
        generated = cv2.warpAffine(drawn, back, size, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(painter.inner_mask, back, size)
        frames.append(_blend(frame, np.clip(generated, 0, 255).astype(np.uint8), mask))
    return replace(footage, frames=frames)


def voice_resynthesis(shot: Shot, footage: Footage, others: Accomplices, rng: np.random.Generator) -> Footage:
    """Resynthesise the speech from its mel-spectrogram with Griffin-Lim, as a vocoder would."""
    return replace(footage, samples=resynthesise(footage.samples, SAMPLE_RATE_HZ, rng))


def audio_swap(shot: Shot, footage: Footage, others: Accomplices, rng: np.random.Generator) -> Footage:
    """Replace the audio with that of a stranger's clip and leave the frames unchanged."""
    return replace(footage, samples=others.stranger.listen())


def splice(shot: Shot, footage: Footage, others: Accomplices, rng: np.random.Generator) -> Footage:
    """Replace a span of both streams with an equally long span of another clip, of the same person or a stranger."""
    first, last = splice_frames(shot.n_frames, rng)
    source = others.same_person if rng.random() < 0.5 else others.stranger
    inserted = replace(source, start_s=source.start_s + first / shot.fps, n_frames=last - first).film()
    begin, end = (round(index / shot.fps * SAMPLE_RATE_HZ) for index in (first, last))
    patch = np.resize(inserted.samples, end - begin)
    weight = np.zeros(len(footage.samples), np.float32)
    fade = int(CROSSFADE_S * SAMPLE_RATE_HZ)
    weight[begin:end] = np.clip((np.arange(end - begin) + 1) / fade, 0, 1)
    weight[end - fade : end] = np.linspace(1, 0, fade)
    samples = footage.samples * (1 - weight)
    samples[begin:end] += patch * weight[begin:end]
    frames = [*footage.frames[:first], *inserted.frames, *footage.frames[last:]]
    return Footage(frames, samples)


def splice_frames(n_frames: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the frame range [first, last) of a splice: 25 to 55 % of the clip, at least 10 % away from both ends."""
    length = round(n_frames * rng.uniform(0.25, 0.55))
    margin = round(0.1 * n_frames)
    first = int(rng.integers(margin, n_frames - length - margin + 1))
    return first, first + length


FORGERS: dict[str, Forger] = {
    "face_swap": face_swap,
    "lip_sync": lip_sync,
    "voice_resynthesis": voice_resynthesis,
    "audio_swap": audio_swap,
    "splice": splice,
    "reenactment": reenactment,
}
# Streams that each forgery changes. The other stream is identical to the victim's.
FORGED_STREAMS: dict[str, frozenset[str]] = {
    "face_swap": frozenset({"video"}),
    "lip_sync": frozenset({"video", "audio"}),
    "voice_resynthesis": frozenset({"audio"}),
    "audio_swap": frozenset({"audio"}),
    "splice": frozenset({"video", "audio"}),
    "reenactment": frozenset({"video"}),
}


def _acting(shot: Shot):
    return zip(shot.take.poses(shot.times_s), shot.take.expressions(shot.times_s), strict=True)


def _steady(poses: list[Pose], sigma_frames: float) -> list[Pose]:
    table = np.array([[pose.x, pose.y, pose.roll_deg, pose.yaw, pose.pitch, pose.zoom] for pose in poses])
    return [Pose(*row) for row in gaussian_filter1d(table, sigma_frames, axis=0).tolist()]


def _soften(image: np.ndarray, sharpness: float) -> np.ndarray:
    """Reduce the resolution, as a low-resolution generator does."""
    small = cv2.resize(image, None, fx=sharpness, fy=sharpness, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _match_colours(generated: np.ndarray, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Match each channel's mean and standard deviation under the mask to the frame's (Reinhard et al. 2001, in RGB)."""
    inside = (mask > 0.5).astype(np.uint8)
    mean, spread = cv2.meanStdDev(generated, mask=inside)
    wanted_mean, wanted_spread = cv2.meanStdDev(frame, mask=inside)
    slope = np.clip(wanted_spread / (spread + 1e-3), 0.6, 1.6)
    levels = (np.arange(256)[:, None] - mean.T) * slope.T + wanted_mean.T
    return cv2.LUT(generated, np.clip(levels, 0, 255).round().astype(np.uint8)[None])


def _blend(frame: np.ndarray, generated: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weight = mask.astype(np.float32)
    return cv2.blendLinear(generated, frame, weight, 1 - weight)
