"""Control probes: permuted labels and swapped audio."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audit.controls import permute_labels, permuted_aucs, swap_audio_pairs, swapped_audio
from engine.audit.measure import Measurements
from engine.audit.probe_evaluation import ProbeData, evaluate_probe
from engine.audit.random_encoder import random_features


def test_permutation_keeps_class_counts_and_group_purity():
    group = np.repeat(np.arange(30), 5)
    target = (np.arange(30) % 3 == 0).astype(int)[group]
    permuted = permute_labels(target, group, np.random.default_rng(0))
    assert permuted.sum() == target.sum() and not np.array_equal(permuted, target)
    # All groups have the same size, so labels move as whole groups.
    assert {len(set(permuted[group == name])) for name in range(30)} == {1}
    assert permute_labels(target, None, np.random.default_rng(0)).sum() == target.sum()


def test_permuted_aucs_centre_on_one_half_and_spread_more_with_groups():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), 10)
    features = rng.normal(size=(12, 3))[group] + 0.05 * rng.normal(size=(120, 3))
    target = (np.arange(12) % 2)[group]
    grouped = permuted_aucs(ProbeData([features], target, group, ("logistic",)), 0)
    alone = permuted_aucs(ProbeData([rng.normal(size=(120, 3))], target, None, ("logistic",)), 0)
    assert alone.mean() == pytest.approx(0.5, abs=0.07)
    assert np.sqrt(np.mean((grouped - 0.5) ** 2)) > 1.5 * alone.std()


@pytest.mark.parametrize("group", [[0, 0, 0, 0], [0, 1, 2, 3, 4], [0, 0, 0, 1, 1, 2, 3, 3], [0, 0, 0]])
def test_swapped_audio_comes_from_another_clip_of_the_same_block(group):
    group = np.array(group)
    audio_of, block = swap_audio_pairs(group, np.random.default_rng(0))
    assert sorted(audio_of) == list(range(len(group)))
    assert not np.any(audio_of == np.arange(len(group)))
    assert np.array_equal(block, block[audio_of])
    for name in np.unique(group):
        assert len(set(block[group == name])) == 1


def real_clips(n=40, tied=False):
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(n):
        brightness = rng.uniform(0.1, 1)
        sound = brightness if tied else rng.uniform(0.1, 1)
        mel = (255 * sound * rng.uniform(0.9, 1, (128, 128))).astype(np.uint8)
        frames = (255 * brightness * rng.uniform(0.9, 1, (4, 64, 64, 3))).astype(np.uint8)
        clips.append(Measurements(mel=mel, frames=frames))
    return clips


def test_swapped_audio_is_not_detected_if_audio_and_video_are_independent():
    evidence = swapped_audio(real_clips(), None, 0)
    assert evidence.target.tolist() == [0] * 40 + [1] * 40
    assert evaluate_probe(evidence, 0).grouped.value < 0.65


def test_swapped_audio_is_detected_if_audio_and_video_are_linked():
    assert evaluate_probe(swapped_audio(real_clips(160, tied=True), None, 0), 0).grouped.low > 0.6


def test_too_few_real_clips_give_no_control():
    assert swapped_audio(real_clips(3), None, 0) is None
    assert swapped_audio([Measurements()] * 9, None, 0) is None


def test_random_features_are_reproducible_and_differ_by_seed():
    images = np.random.default_rng(0).integers(0, 255, (70, 128, 128), dtype=np.uint8)
    first, again, other = random_features(images, 1), random_features(images, 1), random_features(images, 2)
    assert len(first) == 3 and all(matrix.shape == (70, 256) and np.isfinite(matrix).all() for matrix in first)
    assert all(map(np.array_equal, first, again)) and not np.array_equal(first[0], other[0])
    assert not np.allclose(first[0], first[1])
