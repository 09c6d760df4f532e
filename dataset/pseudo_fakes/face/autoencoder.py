"""Small autoencoders trained on real faces. Their output has the upsampling traces of a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from utils.features.face.crops import CROP_PX
from utils.features.face.features import PAIR_PX
from utils.files import atomic_path

ClipT = TypeVar("ClipT")

AUTOENCODER_VERSION = 1
"""Increase this if the same faces and seed give different autoencoders than before."""

UPSAMPLINGS = ("transposed", "nearest")
"""Kinds of upsampling, which leave different traces. One autoencoder is trained for each."""

WIDTH, CODE_CHANNELS = 24, 24
STEPS, BATCH, LEARNING_RATE, LAST_RATE = 320, 16, 2e-3, 1e-5
PATCH_PX = 64
"""Side of the random patches to train on. The networks are convolutional, so patches suffice and take a third of the time."""

LEAST_SHARE = 0.5
"""Minimum share of the decoded face in the rendering; the rest is the original face."""

MOST_CLIPS, FRAMES_PER_CLIP = 500, 4


def build_autoencoder(upsampling: str, width: int = WIDTH) -> nn.Sequential:
    """Build an autoencoder with stride 8 for faces (N, 3, 112, 112) in [-1, 1].

    Args:
        upsampling: `transposed` convolutions, or `nearest` neighbours followed by convolutions.
        width: number of channels after the first layer.
    """

    def down(channels: int, more: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, more, 4, 2, 1), nn.LeakyReLU(0.1))

    def up(channels: int, fewer: int) -> nn.Sequential:
        if upsampling == "transposed":
            return nn.Sequential(nn.ConvTranspose2d(channels, fewer, 4, 2, 1), nn.LeakyReLU(0.1))
        nearest = nn.Upsample(scale_factor=2, mode="nearest")
        return nn.Sequential(nearest, nn.Conv2d(channels, fewer, 3, 1, 1), nn.LeakyReLU(0.1))

    return nn.Sequential(
        down(3, width),
        down(width, 2 * width),
        down(2 * width, 3 * width),
        nn.Conv2d(3 * width, CODE_CHANNELS, 1),
        nn.Conv2d(CODE_CHANNELS, 3 * width, 3, 1, 1),
        nn.LeakyReLU(0.1),
        up(3 * width, 2 * width),
        up(2 * width, width),
        up(width, width),
        nn.Conv2d(width, 3, 3, 1, 1),
    )


def fit_autoencoder(net: nn.Module, faces: Tensor, generator: torch.Generator, steps: int = STEPS) -> None:
    """Train on faces (N, 3, 112, 112) uint8 with the absolute error of pixels and of their horizontal differences."""
    optimiser = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    for step in range(steps):
        chosen = torch.randint(len(faces), (BATCH,), generator=generator)
        row, column = torch.randint(PAIR_PX - PATCH_PX + 1, (2,), generator=generator).tolist()
        patches = faces[chosen, :, row : row + PATCH_PX, column : column + PATCH_PX]
        face = normalised(patches).contiguous(memory_format=torch.channels_last)
        decoded = net(face)
        loss = (decoded - face).abs().mean() + (torch.diff(decoded, dim=3) - torch.diff(face, dim=3)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps) + LAST_RATE


def normalised(faces: Tensor) -> Tensor:
    """Scale faces (N, 3, 112, 112) uint8 to float32 in [-1, 1]."""
    return faces.float() / 127.5 - 1


class FaceAutoencoders:
    """One trained autoencoder for each of `UPSAMPLINGS`, as a rendering of face pseudo-fakes."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        """Wrap trained networks."""
        self.nets = [net.eval() for net in nets]

    @classmethod
    def fit(cls, faces: np.ndarray, *, seed: int = 0, steps: int = STEPS) -> FaceAutoencoders:
        """Train on real faces (N, 112, 112, 3) uint8, in less than a minute of CPU time."""
        images = torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2)
        nets = []
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            for number, upsampling in enumerate(UPSAMPLINGS):
                torch.manual_seed(seed + number)
                nets.append(build_autoencoder(upsampling).to(memory_format=torch.channels_last))
                fit_autoencoder(nets[-1], images, torch.Generator().manual_seed(seed + number), steps)
        return cls(nets)

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
        """Pass crops (T, 224, 224, 3) uint8 through one of the autoencoders and blend the result with them."""
        net, share = self.nets[rng.integers(len(self.nets))], strength * rng.uniform(LEAST_SHARE, 1)
        small = np.stack([cv2.resize(crop, (PAIR_PX, PAIR_PX), interpolation=cv2.INTER_AREA) for crop in crops])
        decoded = net(normalised(torch.from_numpy(small).permute(0, 3, 1, 2))).clamp(-1, 1)
        faces = ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        large = [cv2.resize(face, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC) for face in faces]
        return np.stack(
            [cv2.addWeighted(one, share, crop, 1 - share, 0) for one, crop in zip(large, crops, strict=True)]
        )

    def save(self, path: Path) -> None:
        """Write the weights."""
        with atomic_path(path) as temporary:
            torch.save([net.state_dict() for net in self.nets], temporary)

    @classmethod
    def load(cls, path: Path) -> FaceAutoencoders:
        """Read the weights written by `save`."""
        nets = [build_autoencoder(upsampling) for upsampling in UPSAMPLINGS]
        for net, state in zip(nets, torch.load(path, weights_only=True), strict=True):
            net.load_state_dict(state)
        return cls(nets)


def chosen_clips(clips: Sequence[ClipT]) -> Sequence[ClipT]:
    """Return at most `MOST_CLIPS` clips, evenly spaced, to take training faces from."""
    return clips[:: -(-len(clips) // MOST_CLIPS)]


def chosen_frames(count: int) -> np.ndarray:
    """Return the indices of `FRAMES_PER_CLIP` evenly spaced frames out of `count`."""
    return np.linspace(0, count - 1, FRAMES_PER_CLIP).astype(int)
