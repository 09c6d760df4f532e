"""Measure the speed-up by worker processes, and their start-up time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import reference_implementation
from benchmarks.clips import SPLIT, link_split
from benchmarks.floor import decode_only
from benchmarks.measure import Cost, compare, one_core
from benchmarks.setting import Row, Setting, row
from dataset.config import ExtractionConfig
from dataset.extraction import extract_split
from dataset.splits import Split
from dataset.workers import run_in_workers

REPOSITORY = Path(__file__).resolve().parents[1]
WORKERS = (1, 2)
TIMEOUT_S = 3600.0


def extract_anew(split: Split, workers: int) -> None:
    """Extract a split as the command does, in a new pool. The fork server is running after the first call."""
    shutil.rmtree(split.store.root, ignore_errors=True)
    summary = extract_split(split, ExtractionConfig(workers=workers), quiet=True)
    if summary.coverage < 1.0:
        raise RuntimeError(f"clips cannot be extracted: {dict(summary.reasons)}")


def extract_by_command(split: Split, workers: int) -> None:
    """Extract a split with the command. The time includes the start of Python, imports and the fork server."""
    shutil.rmtree(split.store.root, ignore_errors=True)
    command = [sys.executable, REPOSITORY / "utils" / "extract_ffdv.py", "--data_root", split.labels.parent, "--quiet"]
    options = ["--splits", SPLIT, "--workers", workers]
    subprocess.run([str(part) for part in [*command, *options]], check=True, capture_output=True)


def decode_in_workers(clips: list[Path], workers: int) -> None:
    """Decode all clips in the same kind of pool and discard the frames."""
    for _ in run_in_workers(decode_only, clips, workers=workers, timeout_s=TIMEOUT_S, ordered=False):
        pass


def run(setting: Setting) -> list[Row]:
    """Time the extraction of a split with three links to each clip, with one worker and with two workers."""
    folder = setting.scratch / "workers"
    split = link_split(folder, setting.clips, 3 * len(setting.clips))
    clips = sorted(split.videos.iterdir())
    tasks = {}
    for workers in WORKERS:
        tasks[f"decode {workers}"] = lambda clips, workers=workers: decode_in_workers(clips, workers)
        tasks[f"extract {workers}"] = lambda _, workers=workers: extract_anew(split, workers)
    commands = {
        f"command {workers}": lambda _, workers=workers: extract_by_command(split, workers) for workers in WORKERS
    }
    tasks["published"] = lambda clips: [reference_implementation.extract(clip, folder) for clip in clips]
    with one_core():
        costs = compare(tasks, [clips], setting.few_repetitions)
        costs |= compare(commands, [clips], setting.few_repetitions, warm_up=False)
    return worker_rows(costs, len(clips))


def worker_rows(costs: dict[str, Cost], n_clips: int) -> list[Row]:
    """Return times per clip, compared with decoding in the same number of workers and with the serial published steps."""
    ms = {name: 1e3 * cost.wall_s / n_clips for name, cost in costs.items()}
    rows = []
    for workers in WORKERS:
        floor, plural = ms[f"decode {workers}"], "s" if workers > 1 else ""
        for kind, name in (("decode", "decoding alone"), ("extract", "extraction"), ("command", "whole command")):
            title = f"{name}, {workers} worker{plural}, clock"
            rows.append(
                row("workers", title, ms[f"{kind} {workers}"], "ms/clip", floor=floor, reference=ms["published"])
            )
    rows.append(row("workers", "published steps, serial, clock", ms["published"], "ms/clip", reference=ms["published"]))
    for kind, name in (("decode", "decoding alone"), ("extract", "extraction")):
        rows.append(row("workers", f"{name}: 2 workers over 1", ms[f"{kind} 1"] / ms[f"{kind} 2"], "x"))
    return rows
