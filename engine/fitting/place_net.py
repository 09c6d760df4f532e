"""Training of a place net: real sequences and their own pseudo-fakes side by side, supervised by where the forgery is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face_rows import FaceRows
from models.blocks.place_net import PlaceNet

COUPLES = 10
"""Per step: so many real sequences, each beside one of its pseudo-fakes."""

LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-3
FORGED_WEIGHT = 2.0
"""How much more a fully forged cell weighs than a real one."""

PAIR_WEIGHT, ORDER_WEIGHT = 0.3, 0.5


@dataclass(frozen=True)
class Couples:
    """Real sequences and what was made of them.

    Attributes:
        clips: each clip's rows.
        groups: (clips,) text; clips are drawn so that a group counts as the square root of its size.
    """

    clips: Sequence[FaceRows]
    groups: np.ndarray

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pairs (2 * `COUPLES`, 2, 112, 112, 3) uint8, real and forged in turn, and their masks (2 * `COUPLES`, 28, 28)."""
        names, members = np.unique(self.groups, return_inverse=True)
        share = np.sqrt(np.bincount(members))
        pairs, masks = [], []
        for group in rng.choice(len(names), COUPLES, p=share / share.sum()):
            rows = self.clips[int(rng.choice(np.flatnonzero(members == group)))]
            real = int(rng.choice(np.flatnonzero(rows.families == REAL)))
            made = np.flatnonzero((rows.families != REAL) & (rows.turns == rows.turns[real]))
            moment = int(rng.integers(rows.pairs.shape[1]))
            for row in (real, int(rng.choice(made))):
                pairs.append(rows.pairs[row, moment])
                masks.append(rows.masks[row])
        return torch.from_numpy(np.stack(pairs)), torch.from_numpy(np.stack(masks))


def fit_place_net(couples: Couples, *, seed: int, steps: int) -> PlaceNet:
    """A trained net in evaluation mode; the same couples and seed give the same one."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = PlaceNet().train()
        optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
        for _ in range(steps):
            pairs, masks = couples.draw(rng)
            if rng.random() < 0.5:
                pairs, masks = pairs.flip(3), masks.flip(2)
            area, logits = net(pairs)
            optimiser.zero_grad()
            place_loss(area, logits, masks).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def place_loss(area: Tensor, pair: Tensor, masks: Tensor) -> Tensor:
    """Loss of a batch with real and forged in turn: cross-entropy of cells and of pairs, and the order within a couple.

    Args:
        area: (N, 28, 28) logits.
        pair: (N,) logits.
        masks: (N, 28, 28) in 0..1.
    """
    forged = torch.arange(len(pair)).remainder(2).float()
    cells = F.binary_cross_entropy_with_logits(area, masks, reduction="none") * (1 + FORGED_WEIGHT * masks)
    order = F.softplus(pair[0::2] - pair[1::2]).mean()
    return cells.mean() + PAIR_WEIGHT * F.binary_cross_entropy_with_logits(pair, forged) + ORDER_WEIGHT * order
