"""Names and random generators shared by voice and face pseudo-fakes."""

from __future__ import annotations

import hashlib

import numpy as np

REAL = "real"
"""Kind of an example or a copy that is not forged."""


def name_seed(name: str) -> int:
    """Return 64 bits of a name's SHA-256, to seed a generator."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def clip_generator(seed: int, name: str) -> np.random.Generator:
    """Return a random generator that depends on the seed and the clip's name, not on the order of the clips."""
    return np.random.default_rng((seed, name_seed(name)))
