"""Degradations that occur between camera and viewer: filters, re-encoding and remuxing, at five severities each.

- `frame_filters`, `audio_filters`: pure functions on frames and waveforms;
- `families`: the table of families with their parameter per severity;
- `apply`: write the degraded file of a clip with libav;
- `streams`: write a file from new streams and streams copied packet by packet.
"""

from dataset.degradations.apply import degrade_clip
from dataset.degradations.families import FAMILIES, Degradation, Family, find_family, plan

__all__ = ["FAMILIES", "Degradation", "Family", "degrade_clip", "find_family", "plan"]
