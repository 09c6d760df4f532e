"""Measure the memory of a worker, and its dependence on the length of the video."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.clips import make_segment, repeat_clip
from benchmarks.setting import Row, Setting, row

REPOSITORY = Path(__file__).resolve().parents[1]


def peak_mb(task: str, clip: Path, folder: Path) -> float:
    """Return the peak resident memory of a new process that runs `peak_memory`, in 10^6 bytes."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.peak_memory", task, str(clip), str(folder)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=one_thread, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / 1e6


def run(setting: Setting) -> list[Row]:
    """Measure the peak memory of one process for each clip length. The floor only decodes."""
    folder = setting.scratch / "memory"
    folder.mkdir()
    width, height = setting.long_frame_px
    segment = make_segment(folder / "segment.mp4", setting.long_frame_px)
    rows = [row("memory", "idle worker", peak_mb("nothing", segment, folder / "out"), "MB")]
    for length_s in setting.lengths_s:
        clip = repeat_clip(segment, folder / f"{length_s:g}s.mp4", length_s)
        published = length_s <= setting.reference_length_s
        peaks = {
            task: peak_mb(task, clip, folder / "out")
            for task in ("floor", "extraction", "reference")
            if published or task != "reference"
        }
        floor, reference = peaks["floor"], peaks.get("reference", 0.0)
        names = {"floor": "decoding alone", "extraction": "extraction", "reference": "published steps"}
        for task, peak in peaks.items():
            title = f"{names[task]}, {length_s:g} s of {width}x{height}"
            rows.append(row("memory", title, peak, "MB", floor=floor, reference=reference))
        clip.unlink()
    return rows
