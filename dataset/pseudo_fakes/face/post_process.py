"""Random post-processing of real and forged faces, so that they differ only in the forgery."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from dataset.pseudo_fakes.face.pixels import as_bytes
from utils.features.face.crops import CROP_PX
from utils.media.frames import rgb_view

LEAST_SIGMA = 0.2
"""Blur and noise below this value have no effect and are skipped."""

RECODE_HZ = 25
ENCODER_OPTIONS = {"preset": "veryfast", "mbtree": "0"}
"""With its macroblock tree, libx264 is not deterministic, even with one thread."""


@dataclass(frozen=True)
class FacePostProcess:
    """Randomly drawn parameters for a real clip and the fakes made from it.

    Attributes:
        scale: relative size of the grid that frames are resampled through; no effect if 1 or more.
        blur_px: standard deviation of a Gaussian blur.
        noise: standard deviation of added noise in grey levels.
        gamma: exponent of the tone curve.
        gain: factor applied before the tone curve.
        crf: quality of the H.264 encoding, 14-29.
        mirrored: whether left and right are swapped; applies to crops only.
        seed: seed of the noise.
    """

    scale: float
    blur_px: float
    noise: float
    gamma: float
    gain: float
    crf: int
    mirrored: bool
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> FacePostProcess:
        """Draw the parameters."""
        return cls(
            scale=float(rng.uniform(112, 230)) / CROP_PX,
            blur_px=float(rng.uniform(0, 0.8)) * bool(rng.random() < 0.4),
            noise=float(rng.uniform(0, 3)) * bool(rng.random() < 0.3),
            gamma=float(rng.normal(1, 0.12)),
            gain=float(rng.normal(1, 0.08)),
            crf=int(rng.integers(14, 30)),
            mirrored=bool(rng.random() < 0.5),
            seed=int(rng.integers(1 << 30)),
        )

    @cached_property
    def _tones(self) -> np.ndarray:
        levels = np.clip(self.gain * np.arange(256) / 255, 0, 1) ** self.gamma
        return np.clip(255 * levels, 0, 255).astype(np.uint8)

    def change(self, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change tone, resolution, blur and noise of one frame (H, W, 3) uint8; noise is drawn from `rng`."""
        frame = cv2.LUT(frame, self._tones)
        height, width = frame.shape[:2]
        if self.scale < 1:
            smaller = (max(1, int(width * self.scale)), max(1, int(height * self.scale)))
            frame = cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA)
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
        if self.blur_px > LEAST_SIGMA:
            frame = cv2.GaussianBlur(frame, (0, 0), self.blur_px)
        if self.noise > LEAST_SIGMA:
            frame = as_bytes(frame + np.float32(self.noise) * rng.standard_normal(frame.shape, dtype=np.float32))
        return frame

    def crops(self, crops: np.ndarray) -> np.ndarray:
        """Apply all steps, including the encoding, to crops (T, 224, 224, 3) uint8."""
        rng = np.random.default_rng(self.seed)
        turned = crops[:, :, ::-1] if self.mirrored else crops
        return recode_frames(np.stack([self.change(crop, rng) for crop in turned]), self.crf)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the mask (224, 224, 1) for the processed crops."""
        return np.ascontiguousarray(mask[:, ::-1]) if self.mirrored else mask

    @property
    def encoder_options(self) -> dict[str, str]:
        """Options of libx264 for whole clips."""
        return {**ENCODER_OPTIONS, "crf": str(self.crf)}


def recode_frames(frames: np.ndarray, crf: int) -> np.ndarray:
    """Encode frames (T, H, W, 3) uint8 RGB as H.264 and decode them; H and W must be even."""
    store = io.BytesIO()
    with av.open(store, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=RECODE_HZ, options={**ENCODER_OPTIONS, "crf": str(crf)})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        target.mux(stream.encode(None))
    store.seek(0)
    with av.open(store, "r") as source:
        source.streams.video[0].thread_type = "NONE"
        reformatter = VideoReformatter()
        decoded = (reformatter.reformat(frame, format="rgb24") for frame in source.decode(video=0))
        return np.stack([rgb_view(frame).copy() for frame in decoded])
