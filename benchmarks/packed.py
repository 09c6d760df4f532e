"""Measure the time to gather training samples from packed features, and to augment them on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks import reference_implementation
from benchmarks.loading import load_as_published
from benchmarks.measure import compare, one_core
from benchmarks.setting import Row, Setting, row
from dataset.batch import Modality
from dataset.config import AugmentConfig
from dataset.packed.augment import BatchAugment
from dataset.packed.index import array_header
from dataset.packed.loader import PackedBatch
from dataset.packed.read import PackedArray
from dataset.samples import InputLayout
from engine.device import pick_device
from utils.features.config import FeatureConfig

NOISE_GAIN = 0.01


def load_and_add_noise(matrix: Path, image: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Load a sample as the published loader does, with its noise on the covariance."""
    pixels, covariance = load_as_published(matrix, image)
    noise = NOISE_GAIN * torch.randn(covariance.shape)
    return pixels, covariance + noise @ noise.T


def make_arrays(folder: Path, clips: int) -> dict[str, PackedArray]:
    """Write packed arrays of random values, larger than the caches of the processor, and read them once."""
    config, rng = FeatureConfig(), np.random.default_rng(0)
    arrays = {}
    for spec in InputLayout(config, ("mel", "covariance")).specs:
        header, path = array_header(spec, config), folder / f"{spec.name}.bin"
        with open(path, "wb") as stream:
            for _ in range(clips):
                stream.write(rng.bytes(header.entry_bytes))
        arrays[spec.name] = PackedArray(path, np.ones(clips, np.int32), header)
        arrays[spec.name].gather(np.arange(clips))
    return arrays


def run(setting: Setting) -> list[Row]:
    """Time batches of random clips, per clip: integers in memory from the warm page cache, then tensors on the device."""
    folder = setting.scratch / "packed"
    folder.mkdir()
    arrays = make_arrays(folder, setting.packed_clips)
    published = [reference_implementation.extract(clip, folder) for clip in setting.clips[:1]]
    size, device = min(setting.packed_batch_size, setting.packed_clips), pick_device("auto")
    rng = np.random.default_rng(0)
    batches = [rng.choice(setting.packed_clips, size, replace=False) for _ in range(4)]
    every = AugmentConfig(mel_flip=1, covariance_noise=1)

    def gather(rows: np.ndarray) -> dict[str, Modality]:
        found = {name: array.gather(rows) for name, array in arrays.items()}
        return {name: Modality(torch.from_numpy(one.values), torch.from_numpy(one.mask)) for name, one in found.items()}

    def on_device(rows: np.ndarray, augment: AugmentConfig) -> None:
        batch = PackedBatch(torch.from_numpy(rows), torch.zeros(size), inputs, augment=BatchAugment(augment, 0, 1))
        batch.to(device)
        if device.type == "cuda":
            torch.cuda.synchronize()

    inputs = gather(batches[0])
    tasks = {
        "published": lambda _: load_and_add_noise(*published[0]),
        "copy": lambda _: [modality.values.clone() for modality in inputs.values()],
        "gather": gather,
        "device": lambda rows: on_device(rows, AugmentConfig()),
        "device, every clip": lambda rows: on_device(rows, every),
    }
    with one_core():
        costs = compare(tasks, batches, setting.repetitions)
    reference, per_clip = (
        1e3 * costs["published"].cpu_s,
        {name: 1e3 * cost.cpu_s / size for name, cost in costs.items()},
    )
    floor = per_clip["copy"]
    where = f"batches of {size}, processor"
    return [
        row("packed", "a sample, published steps with noise, processor", reference, "ms/clip", reference=reference),
        row("packed", f"copy as many bytes, {where}", floor, "ms/clip", floor=floor, reference=reference),
        row("packed", f"gather integers, {where}", per_clip["gather"], "ms/clip", floor=floor, reference=reference),
        row("packed", f"decode, flip, add noise on {device.type}, {where}", per_clip["device"], "ms/clip"),
        row("packed", f"the same with all clips changed, {where}", per_clip["device, every clip"], "ms/clip"),
    ]
