"""Measure the time to score a folder from end to end, including decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks import reference_implementation
from benchmarks.clips import link_split
from benchmarks.measure import compare
from benchmarks.setting import Row, Setting, row
from benchmarks.workers import decode_in_workers
from dataset.batch import collate
from dataset.samples import InputLayout, make_sample
from engine.checkpoint import Checkpoint
from engine.clip_search import find_videos
from engine.detector import Detector
from engine.score_files import ScoringOptions, score_table
from models import build_model
from models.base import DetectorModel
from utils.features.clip import ClipFacts, ClipFeatures
from utils.features.config import FeatureConfig

WORKERS = 2
REFERENCE_FEATURES = FeatureConfig.model_validate(
    {
        "video": {"top_k": reference_implementation.TOP_K},
        "audio": {"image_size_px": reference_implementation.IMAGE_SIZE_PX},
    }
)


def fresh_checkpoint(backbone: str) -> Checkpoint:
    """Build a checkpoint with random weights. The time to compute a score does not depend on the weights."""
    section = {"name": "ffdv_cov", "backbone": backbone, "pretrained": False}
    features = FeatureConfig()
    return Checkpoint(model=section, features=features, weights=build_model(section, features).state_dict())


@torch.inference_mode()
def score_as_published(clip: Path, folder: Path, model: DetectorModel) -> float:
    """Extract one clip with the published steps and score it with the same model."""
    matrix, image = reference_implementation.extract(clip, folder)
    values = {"covariance": np.load(matrix).astype(np.float32), "mel": image.read_bytes()}
    layout = InputLayout(REFERENCE_FEATURES, model.inputs)
    sample = make_sample(0, 0.0, ClipFeatures(ClipFacts("ok"), values), layout)
    return float(model(collate([sample])).logit)


def run(setting: Setting) -> list[Row]:
    """Time the scoring of a folder with three links to each clip, and decoding alone with the same number of workers."""
    folder = setting.scratch / "scoring"
    split = link_split(folder, setting.clips, 3 * len(setting.clips))
    paths = find_videos(split.videos)
    checkpoint = fresh_checkpoint(setting.backbone)
    model = checkpoint.build()
    detector, options = Detector(checkpoint, device="cpu"), ScoringOptions(WORKERS, quiet=True)
    tasks = {
        "decoding alone": lambda clips: decode_in_workers(clips, WORKERS),
        "scoring": lambda clips: score_table(detector, clips, options),
        "published steps and the same model, serial": lambda clips: [
            score_as_published(clip, folder, model) for clip in clips
        ],
    }
    costs = compare(tasks, [paths], setting.few_repetitions)
    ms = {name: 1e3 * cost.wall_s / len(paths) for name, cost in costs.items()}
    floor, _, reference = ms.values()
    return [
        row("scoring", f"{name}, clock", value, "ms/clip", floor=floor, reference=reference)
        for name, value in ms.items()
    ]
