"""Measure the time that data loading adds to an epoch."""

from __future__ import annotations

from functools import partial

from benchmarks.clips import link_split
from benchmarks.measure import compare
from benchmarks.setting import Row, Setting, row
from dataset.clips import open_clips
from dataset.config import DataConfig, ExtractionConfig
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
    device = pick_device("auto")
    model = build_model(config.model, config.features).to(device)
    learner = Learner(model, config.train)
    tasks = {}
    for source in ("features", "packed"):
        loading = config.model_copy(update={"data": DataConfig(source=source)})
        clips = open_clips(split, loading.data, config.extraction, need_targets=True)
        loader, begin_epoch = training_batches(clips, loading, model.inputs, device)
        begin_epoch(1)
        tasks[source] = partial(train_epoch, learner, loader, clips.names)
    resident = [(batch.to(device), facts) for batch, facts in loader]
    tasks = {"steps": partial(train_epoch, learner, resident, clips.names), **tasks}
    costs = compare(tasks, [1], setting.few_repetitions)
    floor = costs["steps"].wall_s
    workers = f"{config.data.workers} loader"
    conditions = f"{len(clips.names)} clips, {setting.backbone} on {device.type}, clock"
    titles = {
        "steps": "steps on resident batches",
        "features": f"epoch with {workers} processes",
        "packed": f"epoch of packed features with {workers} threads",
    }
    return [
        row("epoch", f"{titles[name]}: {conditions}", cost.wall_s, "s", floor=floor) for name, cost in costs.items()
    ]
