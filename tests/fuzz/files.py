"""Mutated files other than clips. Each is read in a worker with limits, by the code that the commands use."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataset.config import ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import extract_split
from dataset.fingerprints import FingerprintTable, fingerprint_clips
from dataset.fingerprints.fingerprint import fingerprint_wave
from dataset.labels import read_labels
from dataset.manifest import read_rows
from dataset.samples import InputLayout, make_sample
from dataset.splits import Split, open_split
from dataset.workers import run_in_workers
from engine.checkpoint import load_checkpoint
from engine.config import load_run_config
from engine.detector import Detector
from engine.load import CHECKPOINTS
from tests.fuzz.archives import mutate_checkpoint, mutate_feature
from tests.fuzz.graphs import mutate_graph
from tests.fuzz.originals import make_originals
from tests.fuzz.results import Results, Row
from tests.fuzz.texts import mutate_text
from tests.support import random_checkpoint, tiny_model
from utils.errors import FFDVError
from utils.features.clip import ClipFacts
from utils.features.config import FeatureConfig
from utils.files import file_sha256
from utils.media.arrays import ClipArrays
from utils.media.errors import REASONS
from utils.metrics.predictions import read_predictions

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S, MEMORY_GB = 60.0, 3.0
MAX_MESSAGE = 4000
FEATURES = FeatureConfig.model_validate({"face": True, "voice": True, "video": {"top_k": 16}})
FACTS = ClipFacts("ok", "", 1.2, 30, 25.0, True)

Answer = tuple[str, str]


@dataclass(frozen=True)
class FileTask:
    """A mutated file to read.

    Attributes:
        kind: a key of `FILE_KINDS`.
        number: number of the input.
        mutation: name of the mutation.
        source: the intact file.
        path: the mutated file.
    """

    kind: str
    number: int
    mutation: str
    source: Path
    path: Path


def read_config(task: FileTask) -> Answer:
    """Load a run config; its resolved form must be a valid config."""
    config = load_run_config(task.path, check_model=True)
    again = task.path.with_suffix(".again.yml")
    again.write_text(config.to_yaml(), encoding="utf-8")
    load_run_config(again, check_model=True)
    return "accepted", ""


def read_label_file(task: FileTask) -> Answer:
    """Load a label file for training and for evaluation."""
    table = read_labels(task.path)
    if not table["video_name"].is_unique or not table["target"].dropna().isin([0, 1]).all():
        raise ValueError("the checked table has duplicate names or other targets")
    read_labels(task.path, need_targets=True)
    return "accepted", ""


def read_prediction_file(task: FileTask) -> Answer:
    """Load a table of predictions."""
    read_predictions(task.path)
    return "accepted", ""


def read_checkpoint(task: FileTask) -> Answer:
    """Load a checkpoint and score a clip."""
    return scored(Detector(load_checkpoint(task.path), device="cpu"))


def scored(detector: Detector) -> Answer:
    """Score a clip; the score must be a probability."""
    frames = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8)
    samples = np.random.default_rng(1).normal(0, 0.1, 16_000)
    score = detector.score(ClipArrays(frames, 25, samples, 16_000))
    if score.score is not None and not 0 <= score.score <= 1:
        raise ValueError(f"the score is {score.score}")
    return "accepted", score.reason


def read_features(task: FileTask) -> Answer:
    """Load a stored feature, or another file of a feature folder."""
    if task.source.suffix == ".wav":
        reason = fingerprint_wave(task.path).reason
        return "refused" if reason else "accepted", reason and REASONS[reason]
    if task.source.name.startswith("fingerprints"):
        found = FingerprintTable.load(task.path)
        return ("refused", "not a table") if found is None else ("accepted", "")
    intact, root = task.path.parent / "root", task.path.with_suffix("")
    shutil.copytree(intact, root)
    split = split_below(root)
    shutil.copyfile(task.path, root / task.source.relative_to(intact))
    split.store.open()
    facts = read_rows(split.store.root).get("a.mp4")
    if facts is None:
        return "refused", "the clip has no row"
    clip = split.store.load("a.mp4", facts.facts)
    inputs = [spec.name for feature in FEATURES.build(split.store.requested()) for spec in feature.arrays()]
    sample = make_sample(0, 1.0, clip, InputLayout(FEATURES, inputs))
    shapes = {name: array.values.shape for name, array in sample.inputs.items()}
    if shapes != {spec.name: spec.shape for spec in InputLayout(FEATURES, inputs).specs}:
        raise ValueError(f"the arrays have other shapes than declared: {shapes}")
    return ("refused", REASONS[clip.facts.reason]) if clip.facts.status == "failed" else ("accepted", "")


def split_below(root: Path) -> Split:
    """Open the training split of a data root."""
    return open_split("trainset", root, LabelNames(), VideoDirs(), FEATURES)


def read_onnx(task: FileTask) -> Answer:
    """Load an exported detector of which one file is mutated, and score a clip. The stored hash is that of the graph."""
    folder = task.path.with_suffix("")
    folder.mkdir()
    graph = folder / "intact.onnx"
    for path in (graph, graph.with_suffix(".json")):
        shutil.copyfile(task.path if path.suffix == task.source.suffix else task.source.with_suffix(path.suffix), path)
    if task.source.suffix == ".onnx":
        description = json.loads(graph.with_suffix(".json").read_text())
        description["onnx"]["sha256"] = file_sha256(graph)
        graph.with_suffix(".json").write_text(json.dumps(description))
    return scored(Detector.load(graph))


def configs(_: Path) -> list[Path]:
    """Return the configs of the project."""
    return sorted((REPOSITORY / "cfg").rglob("*.yml"))


def label_files(folder: Path) -> list[Path]:
    """Write label files."""
    rows = [(f"sub/clip {index}.mp4", index % 2, f"type{index % 3}", index) for index in range(30)]
    return [write_table(folder / name, "video_name,target,type,group", rows) for name in ("labels.csv", "labels.txt")]


def prediction_files(folder: Path) -> list[Path]:
    """Write tables of predictions."""
    rows = [(f"clip{index}.mp4", index % 2, index / 30, index - 15.5, "ok", "") for index in range(30)]
    return [write_table(folder / "predictions.csv", "video_name,target,score,logit,status,reason", rows)]


def write_table(path: Path, header: str, rows: list[tuple]) -> Path:
    """Write a CSV file and return its path."""
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write(header + "\n")
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Write small checkpoints; add the shipped one."""
    small = [random_checkpoint(folder / "small.pth"), random_checkpoint(folder / "mel.pth", {"name": "mel_baseline"})]
    return [*small, *small, CHECKPOINTS / "default.pth"]


def onnx_files(folder: Path) -> list[Path]:
    """Export small detectors. Both files of each are mutated, the graph more often."""
    from engine.onnx.export import export_detector

    found = []
    for name in ("ffdv_cov", "mel_baseline"):
        source = random_checkpoint(folder / f"{name}.pth", tiny_model(name))
        export_detector(load_checkpoint(source), source, folder / f"{name}.onnx")
        found += [folder / f"{name}.onnx"] * 3 + [folder / f"{name}.json"]
    return found


def mutate_exported(rng: np.random.Generator, path: Path, other: bytes) -> tuple[str, bytes]:
    """Mutate one of the two files of an exported detector."""
    return (mutate_text if path.suffix == ".json" else mutate_graph)(rng, path.read_bytes(), other)


def feature_files(folder: Path) -> list[Path]:
    """Extract a clip, and return its stored features, its manifest and its fingerprints."""
    root = folder / "root"
    clip = make_originals(folder / "clips", identities=1)[0]
    (root / "trainset").mkdir(parents=True)
    shutil.copyfile(clip, root / "trainset" / "a.mp4")
    (root / "trainset_label.txt").write_text("video_name,target\na.mp4,1\n", encoding="utf-8")
    split = split_below(root)
    extract_split(split, ExtractionConfig(workers=1), quiet=True)
    fingerprint_clips({"a.mp4": clip}, folder / "fingerprints.npz", workers=1, quiet=True)
    found = sorted(path for path in split.store.root.rglob("*") if path.is_file())
    return [*found, folder / "fingerprints.npz"]


@dataclass(frozen=True)
class FileKind:
    """A kind of files: how intact ones are made, mutated and read."""

    originals: Callable[[Path], list[Path]]
    read: Callable[[FileTask], Answer]
    mutate: Callable[[np.random.Generator, Path, bytes], tuple[str, bytes]]


def on_bytes(mutate: Callable[[np.random.Generator, bytes, bytes], tuple[str, bytes]]) -> Callable:
    """Return a mutation of a path for a mutation of bytes."""

    def of_path(rng: np.random.Generator, path: Path, other: bytes) -> tuple[str, bytes]:
        return mutate(rng, path.read_bytes(), other)

    return of_path


FILE_KINDS: dict[str, FileKind] = {
    "config": FileKind(configs, read_config, on_bytes(mutate_text)),
    "labels": FileKind(label_files, read_label_file, on_bytes(mutate_text)),
    "predictions": FileKind(prediction_files, read_prediction_file, on_bytes(mutate_text)),
    "checkpoint": FileKind(checkpoints, read_checkpoint, on_bytes(mutate_checkpoint)),
    "features": FileKind(feature_files, read_features, mutate_feature),
    "onnx": FileKind(onnx_files, read_onnx, mutate_exported),
}


def read_file(task: FileTask) -> Answer:
    """Read a mutated file in a worker. Return "accepted", or "refused" with the sentence of the error."""
    try:
        return FILE_KINDS[task.kind].read(task)
    except FFDVError as error:
        return "refused", str(error)


def fuzz_files(kind: str, numbers: range, seed: int, output: Path, results: Results) -> None:
    """Mutate and read the files with these numbers, and add their rows and findings to the results."""
    work = output / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    originals = FILE_KINDS[kind].originals(work)

    def tasks() -> Iterator[FileTask]:
        for number in numbers:
            rng = np.random.default_rng([seed, number, list(FILE_KINDS).index(kind)])
            source, other = (originals[index] for index in rng.integers(0, len(originals), 2))
            path = work / f"{kind}-{number:05d}{source.suffix}"
            mutation, data = FILE_KINDS[kind].mutate(rng, source, other.read_bytes())
            path.write_bytes(data)
            yield FileTask(kind, number, mutation, source, path)

    for task, answer, reason in run_in_workers(read_file, tasks(), workers=1, timeout_s=TIMEOUT_S, memory_gb=MEMORY_GB):
        row = Row(kind, task.number, task.mutation, task.source.name, *(answer or ("lost", reason)))
        results.rows.append(replace(row, reason=row.reason[:200]))
        if fault := answer_fault(answer, reason):
            results.findings.append(f"{kind} {task.number} ({task.mutation} of {task.source.name}): {fault}")
            (output / "inputs").mkdir(exist_ok=True)
            shutil.copyfile(task.path, output / "inputs" / task.path.name)
        shutil.rmtree(task.path.with_suffix(""), ignore_errors=True)
        task.path.unlink()
    shutil.rmtree(work)
    if Path("unpickled").exists():
        results.findings.append(f"{kind}: code in a file was run")


def answer_fault(answer: Answer | None, reason: str) -> str | None:
    """Return what is wrong with an answer, or `None`."""
    if answer is None:
        return reason
    outcome, sentence = answer
    if outcome == "refused" and (not sentence.strip() or "\n" in sentence or len(sentence) > MAX_MESSAGE):
        return f"the error is not one sentence: {sentence[:300]!r} ({len(sentence)} characters)"
    return None
