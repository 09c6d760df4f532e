"""The experiments to run. Each config is checked before any run starts. Its key covers everything that affects its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset.labels import label_path
from engine.config import RunConfig, load_run_config, nearest
from models.blocks.packaged_weights import PACKAGE
from utils.errors import UsageError
from utils.files import file_sha256

KEY_DIGITS = 12
IRRELEVANT = ("seed", "output_dir", "extraction")
"""Settings excluded from the key because they affect a run's location or speed, not its result; each seed has a folder."""


@dataclass(frozen=True)
class Experiment:
    """One config of a set.

    Attributes:
        file: the YAML file.
        config: the resolved config with the model section and absolute paths; seed and output folder are set per run.
        key: hex hash of the config and the data; finished runs with the same key are reused.
        data: hex hash of the label files (and the fold file) that the run reads.
    """

    file: Path
    config: RunConfig
    key: str
    data: str

    @property
    def name(self) -> str:
        """The config's name, shown in the table."""
        return self.config.name

    def folder(self, output: Path, seed: int) -> Path:
        """Return the folder of the run with this seed."""
        return output / f"{self.name}-{self.key}" / f"seed_{seed}"


def plan_experiments(files: Sequence[str | Path], overrides: Sequence[str] = ()) -> list[Experiment]:
    """Read and check all configs.

    Args:
        files: YAML configs; the first is the reference.
        overrides: `a.b=c` for all configs, or `CONFIG:a.b=c` for one, where CONFIG is its file name without suffix or its
            `name`. They take precedence over the file, and those for one config over those for all.

    Raises:
        UsageError: a file is missing or invalid, two configs have the same name, or an override names an unknown config.
    """
    paths = [Path(file) for file in files]
    general = [override for override in overrides if addressee(override) is None]
    unused = {override: str(addressee(override)) for override in overrides if addressee(override) is not None}
    addressed = dict(unused)
    known: list[str] = []
    experiments: dict[str, Experiment] = {}
    for path in paths:
        names = (path.stem, load_run_config(path).name)
        known += names
        own = [override for override, name in addressed.items() if name in names]
        for override in own:
            unused.pop(override, None)
        settings = [*general, *(override.partition(":")[2] for override in own)]
        config = with_absolute_paths(load_run_config(path, settings, check_model=True))
        if config.name in experiments:
            other = experiments[config.name].file
            raise UsageError(f"{other} and {path} both have the name {config.name!r}; each config needs its own name")
        data = data_hash(config)
        experiments[config.name] = Experiment(path, config, config_key(config, data), data)
    for override, name in unused.items():
        raise UsageError(f"--set {override}: no config is called {name!r}{nearest(name, known)}")
    return list(experiments.values())


def addressee(override: str) -> str | None:
    """Return the config that `CONFIG:a.b=c` is for, or `None` for `a.b=c`."""
    name, colon, _ = override.partition("=")[0].partition(":")
    return name.strip() if colon else None


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return the config with absolute paths, which are valid in every working directory."""
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
    """Return a hex hash of the label files that the run reads; a missing file is hashed as missing."""
    names = ["trainset", "valset", *(["testset"] if config.evaluate == "test" else [])]
    files = [label_path(config.data_root, getattr(config.label_name, name)) for name in names]
    if isinstance(config.split.folds, str):
        files.append(Path(config.split.folds))
    digests = [file_sha256(file) if file.is_file() else "absent" for file in files]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:KEY_DIGITS]


def config_key(config: RunConfig, data: str) -> str:
    """Return a hex hash of everything that a run's result depends on, except the seed."""
    settings = {key: value for key, value in config.model_dump(mode="json").items() if key not in IRRELEVANT}
    settings["data"].pop("workers")
    settings["fit"].pop("cache")
    content = {"config": settings, "features": config.features.fingerprint(), "data": data}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]
