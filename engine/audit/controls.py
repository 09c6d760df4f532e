"""Controls: questions whose answer must be "at chance". Where it is not, the audit's other figures are not to be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from engine.audit.cross_validation import Evidence, held_out_scores
from engine.audit.measure import Measurements
from engine.audit.probes import FACT_MODELS
from engine.audit.random_encoder import random_features
from utils.metrics.ranking import roc_auc

PERMUTATIONS = 20
COMPONENTS = 6


def permuted_aucs(evidence: Evidence, seed: int, permutations: int = PERMUTATIONS) -> np.ndarray:
    """AUCs of a probe when the labels mean nothing: (permutations,).

    Labels are dealt out anew in runs: the groups' clips, in one random order of the groups, get the labels of the groups in
    another. Clips of one group so tend to share a class as much as they do in the data, which makes the honest, wider null.
    """
    rng = np.random.default_rng(seed)
    aucs = []
    for number in range(permutations):
        target = permute_labels(evidence.target, evidence.group, rng)
        null = Evidence(evidence.inputs, target, evidence.group, evidence.models)
        score = held_out_scores(null, seed + number, grouped=True, repeats=1)
        auc = None if score is None else roc_auc(target, score).value
        if auc is not None:
            aucs.append(auc)
    return np.array(aucs)


def permute_labels(target: np.ndarray, group: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """The same labels on other clips, in runs as long as the groups: (n,)."""
    if group is None:
        return rng.permutation(target)
    permuted = np.empty_like(target)
    permuted[_in_groups(group, rng)] = target[_in_groups(group, rng)]
    return permuted


def _in_groups(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of the clips, group by group, the groups and the clips inside each in random order."""
    _, number = np.unique(group, return_inverse=True)
    return np.lexsort((rng.random(len(group)), rng.permutation(number.max() + 1)[number]))


def swap_partners(group: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pair real clips, inside their group where it can be.

    Args:
        group: (n,) the clips' groups, n of at least 2.
        rng: decides who is paired with whom.

    Returns:
        (n,) whose sound each clip is given, never its own, every clip's once; and (n,) the block that each clip belongs to:
        groups that exchange sounds are one block.
    """
    order = _in_groups(group, rng)
    pairs: list[list[int]] = []
    left_over: list[int] = []
    for name in dict.fromkeys(group[order]):
        members = [int(index) for index in order if group[index] == name]
        if len(members) % 2:
            left_over.append(members.pop())
        pairs += [members[start : start + 2] for start in range(0, len(members), 2)]
    pairs += [left_over[start : start + 2] for start in range(0, len(left_over) - 1, 2)]
    if len(left_over) % 2:
        pairs[-1] = [*pairs[-1], left_over[-1]]
    partner, block = np.empty(len(group), int), group.copy()
    for ring in pairs:
        partner[ring] = np.roll(ring, 1)
        for other in ring[1:]:
            block[block == block[other]] = block[ring[0]]
    return partner, block


def swapped_audio(clips: Sequence[Measurements], group: np.ndarray | None, seed: int) -> Evidence | None:
    """Real clips with their own sound against the same clips with the sound of another real.

    Every picture and every sound occurs once on either side, so neither tells anything alone; only whether the two belong
    together could. Random encoders cannot know that from speech and lips. If they can, sounds and pictures are tied by
    something else (the recording, the source), and a detector that claims to use synchrony may live on it.

    Args:
        clips: real clips.
        group: their groups, or `None`.
        seed: of the encoders and the pairing.

    Returns:
        `None` when fewer than 4 clips have both sound and pictures.
    """
    both = [
        (index, clip.mel, clip.frames)
        for index, clip in enumerate(clips)
        if clip.mel is not None and clip.frames is not None
    ]
    if len(both) < 4:
        return None
    indices, mels, frames = zip(*both, strict=True)
    names = np.arange(len(both)) if group is None else np.unique(group[list(indices)], return_inverse=True)[1]
    partner, block = swap_partners(names, np.random.default_rng(seed))
    sound, picture = (
        _standard_components(np.concatenate(random_features(np.stack(arrays), seed), axis=1))
        for arrays in (mels, frames)
    )
    features = np.concatenate([_together(sound, picture), _together(sound[partner], picture)])
    target = np.repeat([0, 1], len(both))
    return Evidence([features], target, np.tile(block, 2), FACT_MODELS)


def _standard_components(features: np.ndarray) -> np.ndarray:
    """The strongest directions, each with variance 1; made without labels, so that nothing leaks through them."""
    return PCA(min(COMPONENTS, len(features) - 1), whiten=True, random_state=0).fit_transform(features)


def _together(sound: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Both, and all products of one with the other, in which a linear model can see whether they agree."""
    products = sound[:, :, None] * picture[:, None, :]
    return np.concatenate([sound, picture, products.reshape(len(sound), -1)], axis=1)
