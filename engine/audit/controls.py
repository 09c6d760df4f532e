"""Control probes, whose AUC must be at chance. If one is not, the other results of the audit cannot be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from engine.audit.measure import Measurements
from engine.audit.probe_evaluation import ProbeData, out_of_fold_scores
from engine.audit.probes import FACT_MODELS
from engine.audit.random_encoder import random_features
from utils.metrics.ranking import roc_auc

PERMUTATIONS = 20
COMPONENTS = 6


def permuted_aucs(data: ProbeData, seed: int, permutations: int = PERMUTATIONS) -> np.ndarray:
    """Return the AUCs of a probe under permuted labels: (permutations,).

    Labels are permuted in runs. Two random orders of the clips are drawn, each with the clips of a group next to each
    other, and the labels in one order are assigned to the clips in the other. Clips of one group therefore share a
    class about as often as in the data, which gives the correct, wider null distribution.
    """
    rng = np.random.default_rng(seed)
    aucs = []
    for number in range(permutations):
        target = permute_labels(data.target, data.group, rng)
        null = ProbeData(data.inputs, target, data.group, data.models)
        score = out_of_fold_scores(null, seed + number, grouped=True, repeats=1)
        auc = None if score is None else roc_auc(target, score).value
        if auc is not None:
            aucs.append(auc)
    return np.array(aucs)


def permute_labels(target: np.ndarray, group: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Permute the labels, keeping runs of labels that are as long as the groups: (n,)."""
    if group is None:
        return rng.permutation(target)
    permuted = np.empty_like(target)
    permuted[_in_groups(group, rng)] = target[_in_groups(group, rng)]
    return permuted


def _in_groups(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return clip indices ordered by group; groups, and clips within a group, are in random order."""
    _, number = np.unique(group, return_inverse=True)
    return np.lexsort((rng.random(len(group)), rng.permutation(number.max() + 1)[number]))


def swap_audio_pairs(group: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Assign each real clip the audio of another, within its group if possible.

    Args:
        group: (n,) group of each clip, n >= 2.
        rng: Source of randomness.

    Returns:
        (n,) index of the clip that supplies the audio, a permutation without fixed points; and (n,) block of each clip.
        Groups that exchange audio form one block.
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
    audio_source, block = np.empty(len(group), int), group.copy()
    for ring in pairs:
        audio_source[ring] = np.roll(ring, 1)
        for other in ring[1:]:
            block[block == block[other]] = block[ring[0]]
    return audio_source, block


def swapped_audio(clips: Sequence[Measurements], group: np.ndarray | None, seed: int) -> ProbeData | None:
    """Return a data set of real clips (class 0) and the same clips with the audio of another real clip (class 1).

    Each video and each waveform occurs once in each class, so only their match is informative.
    Random encoders cannot assess lip synchrony. If they tell the classes apart, audio and video are linked by something
    else (the recording session, the source), and a detector meant to use synchrony may rely on it.

    Args:
        clips: Real clips.
        group: (n,) group of each clip, or `None`.
        seed: Seed of the encoders and the pairing.

    Returns:
        The data, with swapped pairs as class 1; `None` if fewer than 4 clips have both audio and video.
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
    audio_source, block = swap_audio_pairs(names, np.random.default_rng(seed))
    audio, video = (
        _whitened_components(np.concatenate(random_features(np.stack(arrays), seed), axis=1))
        for arrays in (mels, frames)
    )
    features = np.concatenate([_interactions(audio, video), _interactions(audio[audio_source], video)])
    target = np.repeat([0, 1], len(both))
    return ProbeData([features], target, np.tile(block, 2), FACT_MODELS)


def _whitened_components(features: np.ndarray) -> np.ndarray:
    """Project onto the leading principal components, scaled to unit variance. Labels are not used."""
    return PCA(min(COMPONENTS, len(features) - 1), whiten=True, random_state=0).fit_transform(features)


def _interactions(audio: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Concatenate both feature sets and their pairwise products, which let a linear model use their agreement."""
    products = audio[:, :, None] * video[:, None, :]
    return np.concatenate([audio, video, products.reshape(len(audio), -1)], axis=1)
