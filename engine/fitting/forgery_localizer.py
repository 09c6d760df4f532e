"""Training of a forgery localizer on real-fake pairs of sequences, supervised by the forged area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataset.pseudo_fakes.common import REAL
from engine.fitting.face_examples import FaceExamples
from models.blocks.forgery_localizer import ForgeryLocalizer

PAIRS_PER_STEP = 10
"""Number of real-fake pairs per training step: a real sequence and a pseudo-fake made from it."""

LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-3
FORGED_WEIGHT = 2.0
"""Additional weight of a fully forged cell in the loss."""

FRAME_PAIR_WEIGHT, RANKING_WEIGHT = 0.3, 0.5


@dataclass(frozen=True)
class RealFakePairs:
    """Source of real-fake pairs.

    Attributes:
        clips: each clip's examples.
        groups: (clips,) text; a group is drawn with a probability proportional to the square root of its size.
    """

    clips: Sequence[FaceExamples]
    groups: np.ndarray

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw a batch in which real and forged alternate.

        Returns:
            Frame pairs (2 * `PAIRS_PER_STEP`, 2, 112, 112, 3) uint8 and masks (2 * `PAIRS_PER_STEP`, 28, 28).
        """
        names, members = np.unique(self.groups, return_inverse=True)
        share = np.sqrt(np.bincount(members))
        pairs, masks = [], []
        for group in rng.choice(len(names), PAIRS_PER_STEP, p=share / share.sum()):
            examples = self.clips[int(rng.choice(np.flatnonzero(members == group)))]
            real = int(rng.choice(np.flatnonzero(examples.families == REAL)))
            forged = np.flatnonzero((examples.families != REAL) & (examples.rounds == examples.rounds[real]))
            position = int(rng.integers(examples.pairs.shape[1]))
            for example in (real, int(rng.choice(forged))):
                pairs.append(examples.pairs[example, position])
                masks.append(examples.masks[example])
        return torch.from_numpy(np.stack(pairs)), torch.from_numpy(np.stack(masks))


def fit_localizer(pairs: RealFakePairs, *, seed: int, steps: int) -> ForgeryLocalizer:
    """Train a localizer and return it in evaluation mode; the same pairs and seed give the same network."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = ForgeryLocalizer().train()
        optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
        for _ in range(steps):
            frames, masks = pairs.draw(rng)
            if rng.random() < 0.5:
                frames, masks = frames.flip(3), masks.flip(2)
            patch_logits, pair_logits = net(frames)
            optimiser.zero_grad()
            localizer_loss(patch_logits, pair_logits, masks).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def localizer_loss(patch_logits: Tensor, pair_logits: Tensor, masks: Tensor) -> Tensor:
    """Return the loss of a batch in which real and forged alternate.

    It is the cross-entropy of the patches, that of the frame pairs, and a ranking loss within each real-fake pair.

    Args:
        patch_logits: (N, 28, 28).
        pair_logits: (N,), one per pair of frames.
        masks: (N, 28, 28) in 0..1, the forged share of each patch.
    """
    forged = torch.arange(len(pair_logits)).remainder(2).float()
    patches = F.binary_cross_entropy_with_logits(patch_logits, masks, reduction="none") * (1 + FORGED_WEIGHT * masks)
    ranking = F.softplus(pair_logits[0::2] - pair_logits[1::2]).mean()
    frame_pairs = F.binary_cross_entropy_with_logits(pair_logits, forged)
    return patches.mean() + FRAME_PAIR_WEIGHT * frame_pairs + RANKING_WEIGHT * ranking
