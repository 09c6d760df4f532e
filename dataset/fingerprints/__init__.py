"""Perceptual fingerprints of clips and the near-duplicates that they reveal.

A real clip and the fakes made from it share frames or sound. `visual` and `audio` turn a clip into bits that survive
re-encoding, scaling and trimming, `table` keeps those of a folder, `search` finds the pairs without comparing every clip with
every other.
"""

from dataset.fingerprints.fingerprint_table import FingerprintTable, fingerprint_clips
from dataset.fingerprints.search import NearDuplicates, find_near_duplicates

__all__ = ["FingerprintTable", "NearDuplicates", "find_near_duplicates", "fingerprint_clips"]
