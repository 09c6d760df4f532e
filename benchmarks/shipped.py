"""Measure scoring with the shipped detector: cold start, one clip, each expert, worker processes, and memory.

Its export is measured as well where it is present and onnxruntime is installed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.clips import link_split
from benchmarks.floor import decode_only
from benchmarks.measure import compare, one_core, pinned_to_one_core
from benchmarks.setting import Row, Setting, row
from dataset.batch import collate
from dataset.extraction_worker import ScoringTask, extract_in_memory
from dataset.samples import InputLayout, Sample, make_samples
from engine.checkpoint import load_checkpoint
from engine.clip_search import find_videos
from engine.detector import Detector
from engine.load import CHECKPOINTS, load_saved
from engine.score_files import ScoringOptions, score_table
from utils.packages import is_installed

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = CHECKPOINTS / "default.pth"
EXPORTED = SHIPPED.with_suffix(".onnx")
COLD = """
import sys
from engine import Detector
from benchmarks.peak_memory import own_peak_bytes
Detector.load(sys.argv[1], device="cpu").score(sys.argv[2])
print(own_peak_bytes())
"""
WORKERS = (1, 2)


def run(setting: Setting) -> list[Row]:
    """Measure the shipped detector. The floor of a clip is its decoding."""
    rows = runtime_rows(setting)
    detector = Detector.load(SHIPPED, device="cpu")
    with one_core():
        rows += clip_rows(setting, detector)
        rows += expert_rows(setting)
    return rows + worker_rows(setting, detector) + [memory_row(setting, detector)]


def runtime_rows(setting: Setting) -> list[Row]:
    """Compare torch with onnxruntime: a clip in a new process, its memory, and the networks alone. The floor is torch."""
    files = {"torch": SHIPPED}
    if EXPORTED.is_file() and is_installed("onnxruntime") and is_installed("onnx"):
        files["onnxruntime"] = EXPORTED
    peaks: dict[str, list[float]] = {name: [] for name in files}
    cold = {
        name: lambda clip, name=name: peaks[name].append(score_cold(files[name], clip))  # type: ignore[misc]
        for name in files
    }
    started = compare(cold, setting.clips[:1], setting.few_repetitions, warm_up=False)
    with one_core():
        scorers = {name: load_saved(path).scorer("cpu", 1) for name, path in files.items()}
        sample = first_sample(setting)
        networks = compare(scorers, [[sample]], setting.repetitions)
    figures = {
        "one clip in a new process, {}, processor": ({name: cost.cpu_s for name, cost in started.items()}, "s"),
        "one clip in a new process, {}, peak memory": ({name: min(found) / 1e6 for name, found in peaks.items()}, "MB"),
        "networks, {}, processor": ({name: 1e3 * cost.cpu_s for name, cost in networks.items()}, "ms/clip"),
    }
    return [
        row("shipped detector", title.format(name), value, unit, floor=values["torch"])
        for title, (values, unit) in figures.items()
        for name, value in values.items()
    ]


def score_cold(file: Path, clip: Path) -> float:
    """Score one clip in a new process, and return its peak resident memory in bytes."""
    command = [sys.executable, "-c", COLD, str(file), str(clip)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def first_sample(setting: Setting) -> Sample:
    """Return the arrays of the first clip."""
    checkpoint = load_checkpoint(SHIPPED)
    layout = InputLayout(checkpoint.features, checkpoint.build().inputs)
    clip = extract_in_memory(ScoringTask(setting.clips[0], checkpoint.features, layout.features))
    return make_samples(0, float("nan"), clip, layout)[0][0]


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
    model: Any = load_checkpoint(SHIPPED).build().eval()
    batch = collate([first_sample(setting)])
    experts = {name: expert.raw for name, expert in model.experts.named_children()}
    with torch.inference_mode():
        costs = compare(experts, [batch], setting.repetitions)
    return [
        row("shipped detector", f"expert {name}, torch, processor", 1e3 * cost.cpu_s, "ms/clip")
        for name, cost in costs.items()
    ]


def worker_rows(setting: Setting, detector: Detector) -> list[Row]:
    """Return the time of a clip in a folder by number of workers; the ratio is that to this process on a single core.

    One worker already uses more than one core, because this process runs the networks meanwhile.
    """
    paths = find_videos(link_split(setting.scratch / "shipped", setting.clips, 3 * len(setting.clips)).videos)

    def on_one_core(clips: list[Path]) -> None:
        with pinned_to_one_core():
            list(detector.score_many(clips))

    tasks: dict[str, Callable[[list[Path]], object]] = {"on one core": on_one_core}
    for workers in WORKERS:
        options = ScoringOptions(workers, quiet=True)
        tasks[f"workers: {workers}"] = lambda clips, options=options: score_table(detector, clips, options)
    costs = compare(tasks, [paths], setting.few_repetitions)
    floor = 1e3 * costs["on one core"].wall_s / len(paths)
    return [
        row("shipped detector", f"folder, {name}, clock", 1e3 * cost.wall_s / len(paths), "ms/clip", floor=floor)
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
