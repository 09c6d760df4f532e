"""The configuration of a run: defaults, then a YAML file, then `--set` overrides, checked before any work starts.

Each section is defined next to the code it configures and composed here. Importing this module does not load torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from dataset.config import DataConfig, ExtractionConfig, LabelNames
from engine.evaluate_config import EvalConfig
from engine.fitting.config import FitConfig
from engine.split_config import SplitConfig
from engine.train_config import TrainConfig
from utils.config import Section, describe_problems
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.files import existing_file
from utils.remote import is_url
from utils.yaml_text import parse_yaml

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "cfg" / "cfg.yml"
EMPTY_DATA_HINT = "`make demo` builds a small data set and runs every step on it"


class RunConfig(Section):
    """Every setting of a run. `cfg/cfg.yml` shows each one with its default."""

    name: str = Field("ffdv_cov", pattern=r"^[\w.-]+$", description="part of the run folder's name")
    label_name: LabelNames = LabelNames()
    evaluate: Literal["val", "test"] = "val"
    extract_path: str = Field("data", description="the data root")
    output_dir: str = Field("checkpoint", description="folder of the run folders")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: DataConfig = DataConfig()
    features: FeatureConfig = FeatureConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    model: dict[str, Any] = Field(default_factory=lambda: {"name": "ffdv_cov"})
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    fit: FitConfig = FitConfig()
    eval: EvalConfig = EvalConfig()
    _local_root: Path | None = PrivateAttr(None)

    @property
    def evaluated_split(self) -> str:
        """The split that `evaluate` names: `valset` or `testset`."""
        return f"{self.evaluate}set"

    @property
    def data_root(self) -> Path:
        """The data root as a path.

        Raises:
            UsageError: it is a URL without a local copy.
        """
        if self._local_root is not None:
            return self._local_root
        if is_url(self.extract_path):
            raise UsageError(
                f"{self.extract_path}: of a data root at a URL, clips can be extracted and scored, and packs can be trained "
                "on with main.py; for anything else, copy it to a local disk (docs/SCALING.md)"
            )
        return Path(self.extract_path)

    def with_local_root(self, folder: Path) -> RunConfig:
        """Return this configuration with a local copy of the data root at the URL `extract_path`."""
        config = self.model_copy()
        config._local_root = folder
        return config

    def to_yaml(self) -> str:
        """Return the resolved configuration as YAML, which is itself a valid config file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_run_config(path: str | Path | None, overrides: Sequence[str] = (), *, check_model: bool = False) -> RunConfig:
    """Read and check a configuration.

    Args:
        path: a YAML file; `None` reads the project's own `cfg/cfg.yml`.
        overrides: `a.b=c` texts that take precedence over the file. Each value is read as YAML.
        check_model: also check the model section and fill in its defaults. This imports the models (and torch).

    Raises:
        UsageError: lists every problem at once, each with the file or the `--set` value it comes from.
    """
    file = existing_file(path or DEFAULT_CONFIG, "config file")
    return check_run_config(read_yaml_mapping(file), overrides, where=str(file), check_model=check_model)


def check_run_config(
    raw: dict[str, Any], overrides: Sequence[str] = (), *, where: str, check_model: bool = False
) -> RunConfig:
    """Check a configuration given as a mapping.

    Args:
        raw: the mapping; overrides are written into it.
        overrides: `a.b=c` texts.
        where: name of the mapping's source in error messages.
        check_model: see `load_run_config`.

    Raises:
        UsageError: lists every problem at once.
    """
    before = flat_keys(raw)
    for override in overrides:
        apply_override(raw, override)
    problems: list[str] = []
    config = None
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        problems += describe_problems(error, RunConfig)
    model = raw.get("model", {})
    if check_model and isinstance(model, dict):
        model, model_problems = resolve_model(model)
        problems += model_problems
    if config is None or problems:
        raise UsageError(attribute_problems(problems, overrides, before, where))
    if not check_model:
        return config
    features = config.features.with_inputs(inputs_of(model))
    return config.model_copy(update={"model": model, "features": features})


def inputs_of(model: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the arrays that a model of this section reads."""
    from models import model_config

    return model_config(model).inputs


def flat_keys(raw: Any, prefix: str = "") -> set[str]:
    """Return the dotted paths of all sections and values of a nested mapping."""
    if not isinstance(raw, dict):
        return set()
    paths = {f"{prefix}{key}": value for key, value in raw.items()}
    return set(paths).union(*(flat_keys(value, f"{path}.") for path, value in paths.items()))


def attribute_problems(problems: Sequence[str], overrides: Sequence[str], in_file: set[str], where: str) -> str:
    """Return one sentence that names the source of each problem: the file, or the `--set` value that caused it.

    Args:
        problems: texts that start with the dotted path of the wrong key.
        overrides: the `--set` texts; the last one for a path is named.
        in_file: dotted paths that are set in the file.
        where: name of the file.
    """
    by_source: dict[str, list[str]] = {}
    for problem in problems:
        path = problem.partition(": ")[0]
        source = where
        for override in overrides:
            changed = override.partition("=")[0].strip()
            # Blame an invalid section on the override only if the file does not contain that section.
            made_section = changed.startswith(f"{path}.") and path not in in_file
            if changed == path or path.startswith(f"{changed}.") or made_section:
                source = f"--set {override}"
        by_source.setdefault(source, []).append(problem)
    return "; ".join(f"{source}: {'; '.join(found)}" for source, found in by_source.items())


def resolve_model(section: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a model section with every default filled in, and one line per problem found in it."""
    from models import MODELS, model_config
    from models.registry import DEFAULT_MODEL

    try:
        return model_config(section).model_dump(), []
    except UsageError as error:
        return section, [f"model.name: {error}"]
    except ValidationError as error:
        owner = MODELS.get(section.get("name", DEFAULT_MODEL)).config_class
        return section, describe_problems(error, owner, prefix="model.")


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file; an empty file is an empty mapping."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected `key: value` lines, found a {type(content).__name__}")
    return content


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Write one `a.b=c` into a nested mapping."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted.strip():
        raise UsageError(f"--set {override!r}: expected key.path=value")
    try:
        value = parse_yaml(text)
    except ValueError:
        value = text
    *parents, leaf = dotted.strip().split(".")
    level = raw
    for key in parents:
        child = level.setdefault(key, {})
        if not isinstance(child, dict):
            raise UsageError(f"--set {override!r}: {key!r} is a value, not a section")
        level = child
    level[leaf] = parse_number(value)


def parse_number(value: Any) -> Any:
    """Return text such as `1e-4` as a number; YAML 1.1 reads it as text because it has no decimal point."""
    if isinstance(value, str):
        try:
            return float(value) if any(sign in value for sign in "eE.") else value
        except ValueError:
            return value
    return value


def nearest(name: str, names: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)` with the closest of `names`, or an empty string."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
