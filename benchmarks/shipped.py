"""Measure scoring with the shipped detector: cold start, one clip, each expert, worker processes, and memory."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.clips import link_split
from benchmarks.floor import decode_only
from benchmarks.measure import compare, cost_of, one_core
from benchmarks.setting import Row, Setting, row
from dataset.batch import collate
from dataset.extraction_worker import ScoringTask, extract_in_memory
from dataset.samples import InputLayout, make_samples
from engine.checkpoint import load_checkpoint
from engine.clip_search import find_videos
from engine.detector import Detector
from engine.load import CHECKPOINTS
from engine.score_files import ScoringOptions, score_table

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = CHECKPOINTS / "default.pth"
COLD = "import sys; from engine import Detector; Detector.load(sys.argv[1], device='cpu').score(sys.argv[2])"
WORKERS = (1, 2)


def run(setting: Setting) -> list[Row]:
    """Measure the shipped detector. The floor of a clip is its decoding."""
    cold = min(cost_of(lambda: score_cold(setting.clips[0])).cpu_s for _ in range(setting.few_repetitions))
    rows = [row("shipped detector", "one clip in a new process, torch, processor", cold, "s")]
    detector = Detector.load(SHIPPED, device="cpu")
    with one_core():
        rows += clip_rows(setting, detector)
        rows += expert_rows(setting)
    return rows + worker_rows(setting, detector) + [memory_row(setting, detector)]


def score_cold(clip: Path) -> None:
    """Score one clip in a new process."""
    command = [sys.executable, "-c", COLD, str(SHIPPED), str(clip)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


def clip_rows(setting: Setting, detector: Detector) -> list[Row]:
    """Return the processor time of a clip in this process: decoding alone, and scoring."""
    costs = compare({"decoding alone": decode_only, "scoring": detector.score}, setting.clips, setting.repetitions)
    floor = 1e3 * costs["decoding alone"].cpu_s
    return [
        row("shipped detector", f"{name}, processor", 1e3 * cost.cpu_s, "ms/clip", floor=floor)
        for name, cost in costs.items()
    ]


def expert_rows(setting: Setting) -> list[Row]:
    """Return the processor time of each expert on the features of the first clip."""
    checkpoint = load_checkpoint(SHIPPED)
    model: Any = checkpoint.build().eval()
    layout = InputLayout(checkpoint.features, model.inputs)
    clip = extract_in_memory(ScoringTask(setting.clips[0], checkpoint.features, layout.features))
    batch = collate([sample for sample, _ in make_samples(0, float("nan"), clip, layout)])
    experts = {name: expert.raw for name, expert in model.experts.named_children()}
    with torch.inference_mode():
        costs = compare(experts, [batch], setting.repetitions)
    return [
        row("shipped detector", f"expert {name}, torch, processor", 1e3 * cost.cpu_s, "ms/clip")
        for name, cost in costs.items()
    ]


def worker_rows(setting: Setting, detector: Detector) -> list[Row]:
    """Return the time of a clip in a folder by number of workers; the ratio is that to one worker."""
    paths = find_videos(link_split(setting.scratch / "shipped", setting.clips, 3 * len(setting.clips)).videos)
    tasks = {
        workers: lambda clips, workers=workers: score_table(detector, clips, ScoringOptions(workers, quiet=True))
        for workers in WORKERS
    }
    costs = compare({str(workers): task for workers, task in tasks.items()}, [paths], setting.few_repetitions)
    one = 1e3 * costs["1"].wall_s / len(paths)
    return [
        row("shipped detector", f"folder, workers: {name}, clock", 1e3 * cost.wall_s / len(paths), "ms/clip", floor=one)
        for name, cost in costs.items()
    ]


def memory_row(setting: Setting, detector: Detector) -> Row:
    """Return the growth of this process's peak memory while it scores the second half of many clips, per 1,000 clips."""
    half = max(setting.clip_counts) // 2
    peaks = []
    for _ in range(2):
        for number in range(half):
            detector.score(setting.clips[number % len(setting.clips)])
        peaks.append(peak_bytes())
    return row("shipped detector", "growth of peak memory per 1,000 clips", (peaks[1] - peaks[0]) / half * 1e-3, "MB")


def peak_bytes() -> int:
    """Return the peak resident memory of this process in bytes. Linux reports it in units of 1,024 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
