"""What is to be run: each config checked before anything starts, with a key that changes whenever its result could."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset.labels import label_path
from engine.config import RunConfig, load_run_config
from models.blocks.packaged_weights import PACKAGE
from utils.errors import UsageError
from utils.files import file_sha256

KEY_DIGITS = 12
IRRELEVANT = ("seed", "output_dir", "extraction")
"""Settings that change where or how fast a run goes, not what comes out; the seed has a folder of its own."""


@dataclass(frozen=True)
class Experiment:
    """One config of a set.

    Attributes:
        file: where it was read from.
        config: resolved, model section included; its paths are absolute, its seed and output folder are set per run.
        key: hex digits of the config and the data; runs with the same one can be taken over.
        data: hex digits of the label files (and of the fold file) that the run reads.
    """

    file: Path
    config: RunConfig
    key: str
    data: str

    @property
    def name(self) -> str:
        """What the table calls it: the config's name."""
        return self.config.name

    def folder(self, output: Path, seed: int) -> Path:
        """Where the run with this seed lies."""
        return output / f"{self.name}-{self.key}" / f"seed_{seed}"


def plan_experiments(files: Sequence[str | Path], overrides: Sequence[str] = ()) -> list[Experiment]:
    """Read and check all configs.

    Args:
        files: YAML configs; the first is what the others are compared with.
        overrides: `a.b=c` texts that win over every file.

    Raises:
        UsageError: a file is absent or wrong, or two configs bear one name.
    """
    experiments: dict[str, Experiment] = {}
    for file in map(Path, files):
        config = with_absolute_paths(load_run_config(file, overrides, check_model=True))
        if config.name in experiments:
            other = experiments[config.name].file
            raise UsageError(f"{other} and {file} both say name: {config.name}; the table needs a name for each")
        data = data_hash(config)
        experiments[config.name] = Experiment(file, config, config_key(config, data), data)
    return list(experiments.values())


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The config with paths that hold from every working directory."""
    changes: dict[str, Any] = {"extract_path": str(config.data_root.resolve())}
    if isinstance(config.split.folds, str):
        folds = str(Path(config.split.folds).resolve())
        changes["split"] = config.split.model_copy(update={"folds": folds})
    places = (config.fit.cache, config.fit.synthetic_voices)
    cache, voices = (None if place is None else str(Path(place).resolve()) for place in places)
    changes["fit"] = config.fit.model_copy(update={"cache": cache, "synthetic_voices": voices})
    if config.model.get("weights") not in (None, PACKAGE):
        changes["model"] = {**config.model, "weights": str(Path(config.model["weights"]).resolve())}
    return config.model_copy(update=changes)


def data_hash(config: RunConfig) -> str:
    """Hex digits of the label files that the run reads; an absent one counts as absent."""
    names = ["trainset", "valset", *(["testset"] if config.evaluate == "test" else [])]
    files = [label_path(config.data_root, getattr(config.label_name, name)) for name in names]
    if isinstance(config.split.folds, str):
        files.append(Path(config.split.folds))
    digests = [file_sha256(file) if file.is_file() else "absent" for file in files]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:KEY_DIGITS]


def config_key(config: RunConfig, data: str) -> str:
    """Hex digits of everything that decides a run's result but the seed."""
    settings = {key: value for key, value in config.model_dump(mode="json").items() if key not in IRRELEVANT}
    settings["data"].pop("workers")
    settings["fit"].pop("cache")
    content = {"config": settings, "features": config.features.fingerprint(), "data": data}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]
