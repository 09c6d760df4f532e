"""Perceptual fingerprints of clips and a search for near-duplicates.

A real clip and the fakes made from it share frames or audio. `visual` and `audio` compute bits that survive re-encoding,
scaling and trimming. `fingerprint_table` stores the fingerprints of a folder. `search` finds similar pairs without comparing
all clips with each other.
"""

from dataset.fingerprints.fingerprint_table import FingerprintTable, fingerprint_clips
from dataset.fingerprints.search import NearDuplicates, find_near_duplicates

__all__ = ["FingerprintTable", "NearDuplicates", "find_near_duplicates", "fingerprint_clips"]
