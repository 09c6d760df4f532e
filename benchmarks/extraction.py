"""Measure the time to extract a clip in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import reference_implementation
from benchmarks.floor import decode_only
from benchmarks.measure import compare, cost_rows, one_core
from benchmarks.setting import Row, Setting
from dataset.extraction_worker import ExtractionTask, extract_to_store
from dataset.manifest import Row as ClipRow
from utils.features.config import FeatureConfig
from utils.features.store import FeatureStore


def extract_into(folder: Path) -> Callable[[Path], ClipRow]:
    """Return a function that extracts a clip as a worker does. All files and the journal are written below `folder`."""
    scratch, store = folder / "scratch", FeatureStore(folder, FeatureConfig())
    scratch.mkdir(parents=True, exist_ok=True)

    def extract(clip: Path) -> ClipRow:
        outputs = {feature.name: store.path(feature.name, clip.name) for feature in store.stored_features()}
        done = extract_to_store(ExtractionTask(clip.name, clip, outputs, scratch, folder / "journal", store, None))
        if done.facts.status == "failed":
            raise RuntimeError(f"{clip} cannot be extracted: {done.facts.reason}")
        return done

    return extract


def run(setting: Setting) -> list[Row]:
    """Compare the whole extraction, files and journal included, with decoding alone and with the published steps."""
    folder = setting.scratch / "extraction"
    tasks = {
        "decoding alone": decode_only,
        "extraction": extract_into(folder),
        "published steps": lambda clip: reference_implementation.extract(clip, folder),
    }
    with one_core():
        costs = compare(tasks, setting.clips, setting.repetitions)
    return cost_rows("extraction", costs, "ms/clip", floor="decoding alone", reference="published steps")
