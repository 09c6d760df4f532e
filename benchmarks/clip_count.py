"""Measure whether the cost per clip depends on the number of clips."""

from __future__ import annotations

from benchmarks.clips import link_split
from benchmarks.measure import cost_of
from benchmarks.setting import Row, Setting, row
from benchmarks.workers import decode_in_workers
from dataset.config import ExtractionConfig
from dataset.extraction import extract_split

WORKERS = 2


def run(setting: Setting) -> list[Row]:
    """Time the extraction of splits that link to the same clips, then a second call that finds nothing to extract."""
    rows = []
    for count in setting.clip_counts:
        split = link_split(setting.scratch / f"count{count}", setting.clips, count)
        clips = sorted(split.videos.iterdir())
        config = ExtractionConfig(workers=WORKERS)
        floor = cost_of(lambda clips=clips: decode_in_workers(clips, WORKERS)).wall_s
        first, again = (
            cost_of(lambda split=split, config=config: extract_split(split, config, quiet=True)).wall_s
            for _ in range(2)
        )
        to_ms = 1e3 / count
        title = f"{count} clips, {WORKERS} workers, clock"
        rows.append(row("clip count", f"decoding alone, {title}", to_ms * floor, "ms/clip", floor=to_ms * floor))
        rows.append(row("clip count", f"extraction, {title}", to_ms * first, "ms/clip", floor=to_ms * floor))
        rows.append(row("clip count", f"nothing left to do, {title}", to_ms * again, "ms/clip", floor=to_ms * floor))
    return rows
