"""Measure the time that data loading adds to an epoch."""

from __future__ import annotations

from benchmarks.clips import link_split
from benchmarks.measure import compare
from benchmarks.setting import Row, Setting, row
from dataset.clips import open_clips
from dataset.config import ExtractionConfig
from dataset.extraction import extract_split
from engine.config import RunConfig
from engine.device import pick_device
from engine.learner import Learner
from engine.train import train_epoch
from engine.training_batches import training_batches
from models import build_model


def run(setting: Setting) -> list[Row]:
    """Time an epoch with loader processes, and the same number of steps on batches in memory."""
    split = link_split(setting.scratch / "epoch", setting.clips, setting.epoch_clips)
    extract_split(split, ExtractionConfig(), quiet=True)
    config = RunConfig.model_validate(
        {
            "model": {"name": "ffdv_cov", "pretrained": False, "backbone": setting.backbone},
            "train": {"batch_size": setting.batch_size},
        }
    )
    clips = open_clips(split, config.data, config.extraction, need_targets=True)
    device = pick_device("auto")
    model = build_model(config.model, config.features).to(device)
    learner = Learner(model, config.train)
    loader, begin_epoch = training_batches(clips, config, model.inputs, device)
    begin_epoch(1)
    resident = [(batch.to(device), facts) for batch, facts in loader]
    tasks = {
        "steps": lambda _: train_epoch(learner, resident, clips.names, 1),
        "epoch": lambda _: train_epoch(learner, loader, clips.names, 1),
    }
    costs = compare(tasks, [None], setting.few_repetitions)
    floor = costs["steps"].wall_s
    conditions = f"{len(clips.names)} clips, {setting.backbone} on {device.type}, clock"
    return [
        row("epoch", f"steps on resident batches: {conditions}", floor, "s", floor=floor),
        row(
            "epoch",
            f"epoch with {config.data.workers} loader processes: {conditions}",
            costs["epoch"].wall_s,
            "s",
            floor=floor,
        ),
    ]
