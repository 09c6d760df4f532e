"""Search for near-duplicate pairs among many clips without comparing all pairs.

Candidates are exact collisions of short keys, as in locality-sensitive hashing (P. Indyk and R. Motwani, 1998). For video, each
of `N_TABLES` tables uses `KEY_BITS` randomly drawn bits of every frame hash as its key. For audio, every sub-fingerprint is a
key, as in Haitsma and Kalker's search; a collision also gives the time offset. Candidates are verified by counting differing
bits. Each bucket is shuffled, and each item is compared with the next `REACH` items only. A bucket of n similar frames thus
costs n * REACH comparisons instead of n * n, and the pairs found still link all its clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from dataset.fingerprints.fingerprint_table import FingerprintTable
from dataset.fingerprints.visual import HASH_BITS

N_TABLES = 10
KEY_BITS = 24
REACH = 32
ITEMS_PER_BLOCK = 1 << 18
TABLE_SEED = 1998

MAX_FRAME_DISTANCE = 48
"""Maximum number of differing bits, of 256, between two similar frames."""

MIN_ALIKE_SHARE = 0.5
"""Minimum share of frames in the shorter clip that have a similar frame in the other."""

MAX_BIT_ERROR_RATE = 0.32
"""Maximum share of differing bits in the overlap of two similar waveforms."""

MIN_OVERLAP = 43
"""Minimum number of non-silent windows (23 ms each) in the overlap: one second."""


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of similar clips as row numbers of the fingerprint table, the smaller row first.

    Attributes:
        visual: (P, 2) int64.
        visual_share: (P,) float64, the share of similar frames.
        audio: (Q, 2) int64.
        audio_error: (Q,) float64, the bit error rate at the best offset found.
    """

    visual: np.ndarray
    visual_share: np.ndarray
    audio: np.ndarray
    audio_error: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """The union of both kinds of pairs: (R, 2) int64, sorted."""
        return np.unique(np.concatenate([self.visual, self.audio]), axis=0)


def find_near_duplicates(prints: FingerprintTable, side: np.ndarray | None = None) -> NearDuplicates:
    """Find the pairs of clips that share frames or audio.

    Args:
        prints: fingerprints of N clips.
        side: (N,) bool or int, such as training or validation; if given, only pairs across different sides are returned.

    Returns:
        The pairs in ascending order; the result is deterministic.
    """
    sides = np.arange(len(prints)) if side is None else np.asarray(side).astype(np.int64)
    visual, share = _visual_pairs(prints, sides)
    audio, error = _audio_pairs(prints, sides)
    return NearDuplicates(visual, share, audio, error)


def _visual_pairs(prints: FingerprintTable, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts, n = prints.frame_starts, len(prints)
    owner = np.repeat(np.arange(n, dtype=np.int32), np.diff(starts))
    rng = np.random.default_rng(TABLE_SEED)
    codes = [np.zeros(0, np.int64)]
    for _ in range(N_TABLES):
        keys = _key_of_bits(prints.frames, rng.choice(HASH_BITS, KEY_BITS, replace=False))
        for first, second in _collisions(keys, owner, sides, rng):
            codes.append(np.unique(_pair_codes(owner[first], owner[second], n)))
    pairs = _decode_pairs(np.unique(np.concatenate(codes)), n)
    share = _alike_share(prints.frames, starts, pairs, MAX_FRAME_DISTANCE)
    return pairs[share >= MIN_ALIKE_SHARE], share[share >= MIN_ALIKE_SHARE]


def _audio_pairs(prints: FingerprintTable, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts, n = prints.audio_starts, len(prints)
    owner = np.repeat(np.arange(n, dtype=np.int32), np.diff(starts))
    sounding = np.flatnonzero(prints.audio)
    best: list[tuple[np.ndarray, np.ndarray]] = []
    rng = np.random.default_rng(TABLE_SEED)
    for first, second in _collisions(prints.audio[sounding], owner[sounding], sides, rng):
        first, second = sounding[first], sounding[second]
        clips = np.stack([owner[first], owner[second]], axis=1).astype(np.int64)
        offset = (second - starts[clips[:, 1]]) - (first - starts[clips[:, 0]])
        error = _bit_error_rate(prints.audio, starts, clips, offset, MIN_OVERLAP)
        alike = error <= MAX_BIT_ERROR_RATE
        best.append((_pair_codes(clips[alike, 0], clips[alike, 1], n), error[alike]))
    codes = np.concatenate([np.zeros(0, np.int64), *(code for code, _ in best)])
    errors = np.concatenate([np.zeros(0), *(error for _, error in best)])
    order = np.lexsort((errors, codes))
    kept, first_of = np.unique(codes[order], return_index=True)
    return _decode_pairs(kept, n), errors[order][first_of]


def _key_of_bits(frames: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Pack the chosen bits of each (4,) uint64 hash into one key: (F,) uint32."""
    keys = np.zeros(len(frames), np.uint32)
    for position, bit in enumerate(chosen):
        word, shift = divmod(int(bit), 64)
        keys |= ((frames[:, word] >> np.uint64(shift)) & np.uint64(1)).astype(np.uint32) << np.uint32(position)
    return keys


def _pair_codes(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(first, second).astype(np.int64) * n + np.maximum(first, second)


def _decode_pairs(codes: np.ndarray, n: int) -> np.ndarray:
    return np.stack(np.divmod(codes, max(n, 1)), axis=1)


def _collisions(
    keys: np.ndarray, owner: np.ndarray, sides: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of item pairs that have equal keys and owners on different sides."""
    shuffled = rng.permutation(len(keys))
    order = shuffled[np.argsort(keys[shuffled], kind="stable")]
    keys, owner_sides = keys[order], sides[owner[order]]
    for start in range(0, len(keys), ITEMS_PER_BLOCK):
        first, second = _colliding(keys, owner_sides, start, min(start + ITEMS_PER_BLOCK, len(keys)), REACH)
        yield order[first], order[second]


@numba.njit(cache=True)
def _colliding(keys: np.ndarray, sides: np.ndarray, start: int, stop: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    count = 0
    for writing in range(2):
        if writing:
            first, second = np.empty(count, np.int64), np.empty(count, np.int64)
            count = 0
        else:
            first, second = np.empty(0, np.int64), np.empty(0, np.int64)
        for i in range(start, stop):
            for j in range(i + 1, min(i + 1 + reach, len(keys))):
                if keys[j] != keys[i]:
                    break
                if sides[j] != sides[i]:
                    if writing:
                        first[count], second[count] = i, j
                    count += 1
    return first, second


@numba.njit(cache=True)
def _count_bits(word):
    # Sums neighbouring bit counts in parallel. Compilers replace this with a population count instruction.
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(cache=True)
def _alike_share(frames: np.ndarray, starts: np.ndarray, pairs: np.ndarray, max_distance: int) -> np.ndarray:
    shares = np.zeros(len(pairs))
    for row in range(len(pairs)):
        few, many = pairs[row, 0], pairs[row, 1]
        if starts[few + 1] - starts[few] > starts[many + 1] - starts[many]:
            few, many = many, few
        alike = 0
        for i in range(starts[few], starts[few + 1]):
            for j in range(starts[many], starts[many + 1]):
                distance = 0
                for word in range(frames.shape[1]):
                    distance += _count_bits(frames[i, word] ^ frames[j, word])
                if distance <= max_distance:
                    alike += 1
                    break
        shares[row] = alike / (starts[few + 1] - starts[few])
    return shares


@numba.njit(cache=True)
def _bit_error_rate(
    bits: np.ndarray, starts: np.ndarray, clips: np.ndarray, offsets: np.ndarray, min_overlap: int
) -> np.ndarray:
    rates = np.ones(len(clips))
    for row in range(len(clips)):
        a, b, offset = clips[row, 0], clips[row, 1], offsets[row]
        n_a, n_b = starts[a + 1] - starts[a], starts[b + 1] - starts[b]
        compared, errors = 0, 0
        for i in range(max(0, -offset), min(n_a, n_b - offset)):
            one, other = bits[starts[a] + i], bits[starts[b] + i + offset]
            if one != 0 and other != 0:
                compared += 1
                errors += _count_bits(np.uint64(one ^ other))
        if compared >= min_overlap:
            rates[row] = errors / (32 * compared)
    return rates
