"""Helpers that build small data roots, clips, configs and checkpoints, and that call commands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dataset.batch import Batch, Modality
from dataset.demo_set.performance import make_take
from dataset.demo_set.render import render
from dataset.demo_set.speech import SAMPLE_RATE_HZ
from dataset.manifest import Row, write_manifest
from engine.checkpoint import Checkpoint
from engine.config import RunConfig, check_run_config
from models import MODELS, build_model
from models.registry import model_config
from utils.command import run_command
from utils.features.base import ArraySpec, features_of
from utils.features.clip import ClipFacts
from utils.features.config import FeatureConfig
from utils.features.face.features import MAX_MOUTH_FRAMES, MOUTH_COLUMNS, MOUTH_ROWS
from utils.features.mel import encode_image
from utils.features.speech import PAD, SPEECH_BANDS
from utils.features.store import FeatureStore
from utils.features.utterance import MAX_UTTERANCES
from utils.media.writer import write_clip

REPOSITORY = Path(__file__).resolve().parents[1]
K = 16
SIZE_PX = 64
FEATURES: dict[str, Any] = {"video": {"top_k": K}, "audio": {"image_size_px": SIZE_PX, "n_mels": 32}}
FEATURE_CONFIG = FeatureConfig.model_validate(FEATURES)
WITH_FACE = FeatureConfig.model_validate({**FEATURES, "face": True})
WITH_VOICE = FeatureConfig.model_validate({**FEATURES, "voice": True})
BACKBONE = "test_resnet"
LABEL_FILES = {"trainset": "trainset_label.txt", "valset": "valset_label.txt", "testset": "testset_label.csv"}


def tiny_model(name: str = "ffdv_cov", **settings: Any) -> dict[str, Any]:
    """Return a model section that builds in milliseconds; models without a `backbone` setting keep their defaults."""
    fields = MODELS.get(name).config_class.model_fields
    small = {"backbone": BACKBONE, "image_size_px": SIZE_PX}
    return {"name": name, "pretrained": False} | {key: small[key] for key in small if key in fields} | settings


def tiny_settings(root: Path, **sections: Any) -> dict[str, Any]:
    """Return a run config as plain types: two CPU epochs on the data root `root`, with `sections` merged into it."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "extract_path": str(root),
        "output_dir": str(root / "runs"),
        "device": "cpu",
        "features": FEATURES,
        "data": {"workers": 0},
        "model": tiny_model(),
        "train": {"epochs": 2, "batch_size": 4, "lr": 0.001},
        "eval": {"bootstrap": 100, "batch_size": 5},
    }
    for name, section in sections.items():
        merge = isinstance(section, dict) and name != "model"
        settings[name] = {**settings.get(name, {}), **section} if merge else section
    return settings


def tiny_config(root: Path, **sections: Any) -> RunConfig:
    """Return `tiny_settings` as a checked run config."""
    return check_run_config(tiny_settings(root, **sections), where="test", check_model=True)


def write_tiny_config(root: Path, **sections: Any) -> Path:
    """Write `tiny_settings` to a YAML file in the data root and return its path."""
    path = root / "tiny.yml"
    path.write_text(yaml.safe_dump(tiny_settings(root, **sections)), encoding="utf-8")
    return path


@dataclass(frozen=True)
class MadeClip:
    """A clip for `write_split`: name, target and extraction facts."""

    name: str
    target: int
    facts: ClipFacts = ClipFacts("ok", "", 1.0, K, 25.0, True)


NO_AUDIO = ClipFacts("partial", "no_audio", 1.0, K, 25.0, False)
NO_VIDEO = ClipFacts("partial", "no_video", 1.0, 0, 0.0, True)
UNREADABLE = ClipFacts("failed", "unreadable")


def made_clips(count: int, prefix: str = "clip") -> list[MadeClip]:
    """Return `count` complete clips, alternately real and fake."""
    return [MadeClip(f"{prefix}{index:03d}.mp4", index % 2) for index in range(count)]


def write_split(root: Path, split: str, clips: list[MadeClip], *, signal: float = 0.2, seed: int = 0) -> None:
    """Write the label file and features of a split. Fakes have features brighter by `signal`, so a model can learn."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [f"{clip.name},{clip.target}" for clip in clips]
    (root / LABEL_FILES[split]).write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    store = FeatureStore(root / f"{split}_raw", FEATURE_CONFIG)
    store.root.mkdir(parents=True, exist_ok=True)
    store.write_config()
    for index, clip in enumerate(clips):
        rng = np.random.default_rng((seed, index))
        lift = signal * clip.target
        if clip.facts.has_audio:
            picture = (255 * (0.7 * rng.random((SIZE_PX, SIZE_PX)) + lift)).astype(np.uint8)
            write_bytes(store.path("mel", clip.name), encode_image(picture, 95))
        if clip.facts.n_frames:
            covariance = (0.7 * rng.random((K, K)) + lift).astype(np.float32)
            path = store.path("covariance", clip.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, (covariance + covariance.T) / 2)
    write_manifest(store.root / "extraction.csv", [clip.name for clip in clips], {c.name: Row(c.facts) for c in clips})


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_root(root: Path, *, train: int = 16, val: int = 8, test: int = 6, signal: float = 0.2) -> Path:
    """Write a data root with features for all three splits and return its path."""
    for seed, (split, count) in enumerate({"trainset": train, "valset": val, "testset": test}.items()):
        write_split(root, split, made_clips(count, split[0]), signal=signal, seed=seed)
    return root


def write_video(path: Path, seed: int, *, frames: int = K + 4, video: bool = True, audio: bool = True) -> Path:
    """Write a one-second clip of a square moving over noise and a tone in noise; return its path."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 90, (frames, 48, 64, 3), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        picture[8:30, 2 * index : 2 * index + 12] = 40 + 20 * (seed % 8)
    time_s = np.arange(16_000) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 60 * seed) * time_s) + 0.02 * rng.standard_normal(time_s.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, pictures if video else None, 20, wave if audio else None, 16_000)
    return path


@cache
def head_frames(identity: int = 0, frames: int = 40, size_px: int = 128) -> np.ndarray:
    """Return a rendered talking head, (T, H, W, 3) uint8 at 25 frames per second, which the face detector detects."""
    pictures = np.stack(render(make_take(0, identity), np.arange(frames) / 25, size_px))
    pictures.setflags(write=False)
    return pictures


def head_voice(identity: int = 0, seconds: float = 1.6) -> np.ndarray:
    """Return the speech of the rendered head, (S,) float32 at `SAMPLE_RATE_HZ`."""
    return make_take(0, identity).samples(0.0, seconds)


def write_head(path: Path, identity: int = 0, *, frames: int = 40, audio: bool = True, **options: Any) -> Path:
    """Write a clip of a rendered talking head; `options` are passed to `write_clip`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voice = head_voice(identity, frames / 25) if audio else None
    write_clip(path, options.pop("pictures", head_frames(identity, frames)), 25, voice, SAMPLE_RATE_HZ, **options)
    return path


BATCH_INPUTS = ("mel", "covariance", "voice", "utterance", "utterance_voice", "face", "mouth", "motion", "speech")
BATCH_CONFIG = FeatureConfig.model_validate({**FEATURES, "voice": True, "face": True})


def random_batch(has_audio: list[bool], has_video: list[bool], seed: int = 0, *, config: Any = BATCH_CONFIG) -> Batch:
    """Return a batch of random inputs: mel, voice and speech for clips with audio, covariance, face and mouth with video.

    Absent values are zeros with a false mask, as in the data set. Padded inputs differ in length.
    """
    rng = torch.Generator().manual_seed(seed)
    audio, video = torch.tensor(has_audio), torch.tensor(has_video)
    present = {
        "mel": audio,
        "voice": audio,
        "utterance": audio,
        "utterance_voice": audio,
        "covariance": video,
        "face": video,
        "mouth": video,
        "motion": video,
        "speech": audio & video,
    }
    count = torch.arange(len(has_audio))
    frames = 40 + count * 7 % (MAX_MOUTH_FRAMES - 39)
    lengths = {"voice": count + 1, "mouth": frames, "motion": frames, "speech": frames + 2 * PAD}
    lengths |= dict.fromkeys(("utterance", "utterance_voice"), 1 + count % MAX_UTTERANCES)
    inputs = {}
    for feature in config.build(features_of(BATCH_INPUTS)):
        for spec in feature.arrays():
            shape = (len(count), *spec.shape)
            values = random_values(shape, spec, rng)
            mask = present[spec.name]
            if spec.padded:
                mask = mask[:, None] & (torch.arange(spec.shape[0]) < lengths[spec.name][:, None])
            inputs[spec.name] = Modality(values * mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim)), mask)
    return Batch(count, count.remainder(2).float(), inputs)


def random_values(shape: tuple[int, ...], spec: ArraySpec, rng: torch.Generator) -> torch.Tensor:
    """Return random values of an array's type: grey levels, uniform in [0, 1] for the covariance, else normal."""
    if spec.dtype is np.uint8:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng)
    return (torch.rand if spec.name == "covariance" else torch.randn)(shape, generator=rng)


def with_input(batch: Batch, name: str, **changes: torch.Tensor) -> Batch:
    """Return a copy of the batch with the values, the mask, or both replaced for one input."""
    return replace(batch, inputs={**batch.inputs, name: replace(batch.inputs[name], **changes)})


def talking(seed: int, frames: int = 100, lag: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return mouth crops and speech features driven by one random signal; a positive `lag` delays the speech."""
    patterns = np.random.default_rng(99)
    shapes = patterns.standard_normal((2, MOUTH_ROWS, MOUTH_COLUMNS))
    tones = patterns.standard_normal((2, SPEECH_BANDS))
    rng = np.random.default_rng(seed)
    drive = rng.standard_normal((frames + 2 * PAD + 40, 2))
    drive = np.stack([np.convolve(column, np.hanning(7), "same") for column in drive.T], axis=1)[20:-20]
    mouth = 128 + 12 * (drive[PAD : PAD + frames] @ shapes.reshape(2, -1)).reshape(frames, MOUTH_ROWS, MOUTH_COLUMNS)
    mouth += rng.normal(0, 8, mouth.shape) + rng.uniform(-40, 40)
    speech = np.roll(drive, lag, axis=0) @ tones + 0.5 * rng.standard_normal((frames + 2 * PAD, SPEECH_BANDS))
    return mouth.clip(0, 255).astype(np.uint8), speech.astype(np.float32)


def random_checkpoint(path: Path, model: dict[str, Any] | None = None, **parts: Any) -> Path:
    """Save a checkpoint of an untrained tiny model and return its path."""
    torch.manual_seed(0)
    section = model_config(model or tiny_model()).model_dump()
    features = parts.pop("features", FEATURE_CONFIG)
    weights = build_model(section, features).state_dict()
    return Checkpoint(model=section, features=features, weights=weights, **parts).save(path)


def one_sentence(main: Any, argv: list[str], capsys: pytest.CaptureFixture, code: int = 2) -> str:
    """Run a command's `main` as its script does; check the exit code; return the only error line."""
    capsys.readouterr()
    try:
        found = run_command(main, argv)
    except SystemExit as leaving:
        found = leaving.code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert found == code, lines
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]
