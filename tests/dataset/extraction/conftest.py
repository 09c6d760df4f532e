"""Helpers that extract a small data root and read its feature folder."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from dataset.config import ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import ExtractionSummary, extract_split
from dataset.splits import Split, open_split
from utils.features.config import FeatureConfig

CONFIG = ExtractionConfig(workers=1)
SMALL_K = FeatureConfig.model_validate({"video": {"top_k": 32}})


def split_of(root: Path, features: FeatureConfig = SMALL_K) -> Split:
    return open_split("trainset", root, LabelNames(), VideoDirs(), features)


def extract(
    root: Path, features: FeatureConfig = SMALL_K, config: ExtractionConfig = CONFIG, **options
) -> ExtractionSummary:
    return extract_split(split_of(root, features), config, quiet=True, **options)


def label(root: Path, *names: str) -> None:
    rows = [f'"{name}",1' for name in names]
    (root / "trainset_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")


def manifest(root: Path, name: str = "extraction.csv") -> list[dict[str, str]]:
    with open(root / "trainset_raw" / name, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def contents(root: Path) -> dict[str, bytes]:
    """Return all files of the feature folder except the manifest, whose `seconds` vary between runs."""
    folder = root / "trainset_raw"
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "extraction.csv")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def times(root: Path) -> dict[str, int]:
    return {
        name: (root / "trainset_raw" / name).stat().st_mtime_ns
        for name in contents(root)
        if not name.endswith((".json", ".csv"))
    }


@pytest.fixture(scope="module")
def extracted_once(pristine_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(pristine_root, tmp_path_factory.mktemp("extracted") / "data")
    assert extract(root).n_new == 8
    return root


@pytest.fixture
def extracted(extracted_once: Path, tmp_path: Path) -> Path:
    """Return an extracted copy of the tiny data root, including file times."""
    return Path(shutil.copytree(extracted_once, tmp_path / "extracted"))
