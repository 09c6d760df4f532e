"""Degradations that clips meet between camera and viewer: filters, re-encodes and re-muxes, five severities each.

- `frame_filters`, `audio_filters`: pure functions on frames and waveforms, fit for augmentation too;
- `families`: the one table of families with their parameter per severity;
- `apply`: from a clip to its degraded file, through libav;
- `streams`: writing a file whose streams are partly new, partly copied packet by packet.
"""

from dataset.degradations.apply import degrade_clip
from dataset.degradations.families import FAMILIES, Degradation, Family, find_family, plan

__all__ = ["FAMILIES", "Degradation", "Family", "degrade_clip", "find_family", "plan"]
