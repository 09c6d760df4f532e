"""The whole configuration of a run: a YAML file over defaults, then `--set` overrides, checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from dataset.config import AugmentConfig, DataConfig, ExtractionConfig, LabelNames
from utils.config import Section, describe_problems
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.files import existing_file

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "cfg" / "cfg.yml"
EMPTY_DATA_HINT = "`make demo` builds a small data set and goes through every step with it"


class TrainConfig(Section):
    """Optimiser and schedule; the defaults are System A's."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(0.003, gt=0, description="Adam's learning rate")
    step_epochs: int = Field(4, ge=1, description="StepLR: epochs between two decays")
    gamma: float = Field(0.85, gt=0, le=1, description="StepLR: factor of a decay")
    balance_classes: bool = Field(False, description="draw real and fake clips equally often")
    augment: AugmentConfig = AugmentConfig()


class EvalConfig(Section):
    """How scores and metrics are made."""

    batch_size: int = Field(64, ge=1)
    tta: Literal[1, 2, 4] = Field(
        1, description="1: as it is; 2: and mirrored in time; 4: both flips of the mel picture"
    )
    bootstrap: int = Field(2000, ge=100, description="resamples of the intervals")
    target_fpr: float = Field(0.01, gt=0, lt=1, description="false-positive rate that the stored threshold aims at")
    audit: bool = Field(False, description="run the shortcut audit on the evaluated clips, once, for the report")
    calibrate: bool = Field(True, description="fit temperature and bias on the validation scores")


class FitConfig(Section):
    """What the experts of `av_experts` are fitted with, beside the labelled clips."""

    cache: str = Field(
        "data/expert_bank", description="folder of what is made once: described clips, pseudo-fakes, fits"
    )
    bank_seed: int = Field(0, ge=0, lt=2**32, description="seed of the pseudo-fakes; the run's own is that of the fits")
    synthetic_voices: str | None = Field(
        None, description="folder of utterances of speech synthesisers, learnt as fakes"
    )
    labelled_fakes: bool = Field(False, description="learn from the labelled fakes too, not from pseudo-fakes alone")

    @property
    def cache_dir(self) -> Path:
        """The cache as a path."""
        return Path(self.cache)


class SplitConfig(Section):
    """How the clips are divided, and what is done about clips that both sides share."""

    check: Literal["off", "files", "stored", "clips"] = Field(
        "stored",
        description="compare training and evaluated clips by their bytes (files), by what the extractor stored too (stored), "
        "or by decoding each clip once (clips)",
    )
    strict: bool = Field(False, description="refuse to train when clips of both sides share frames or sound")
    folds: Annotated[int, Field(ge=2)] | str | None = Field(
        None, description="cross-validate: a file of utils/make_splits.py, or a number of folds"
    )
    fold_column: str = Field("fold", description="the column of that file that names each clip's fold")
    fold_validation: float = Field(
        0.15, gt=0, lt=1, description="share of a fold's training clips that its epoch is selected on"
    )

    @field_validator("check", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML 1.1 reads `off` as false."""
        return "off" if value is False else value


class RunConfig(Section):
    """Every setting of a run; `cfg/cfg.yml` shows each with its default."""

    name: str = Field("ffdv_cov", pattern=r"^[\w.-]+$", description="names the run folder")
    label_name: LabelNames = LabelNames()
    evaluate: Literal["val", "test"] = "val"
    extract_path: str = Field("data", description="the data root")
    output_dir: str = Field("checkpoint", description="where run folders are made")
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

    @property
    def evaluated_split(self) -> str:
        """The split that `evaluate` names: `valset` or `testset`."""
        return f"{self.evaluate}set"

    @property
    def data_root(self) -> Path:
        """The data root as a path."""
        return Path(self.extract_path)

    def to_yaml(self) -> str:
        """The resolved configuration, itself a valid config file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_run_config(path: str | Path | None, overrides: Sequence[str] = (), *, check_model: bool = False) -> RunConfig:
    """Read and check a configuration.

    Args:
        path: a YAML file; `None` reads the project's own `cfg/cfg.yml`.
        overrides: `a.b=c` texts, each value read as YAML; they win over the file.
        check_model: check the model section too and fill in its defaults, which loads the models (and torch).

    Raises:
        UsageError: names the file and lists every problem at once.
    """
    file = existing_file(path or DEFAULT_CONFIG, "config file")
    return check_run_config(read_yaml_mapping(file), overrides, where=str(file), check_model=check_model)


def check_run_config(
    raw: dict[str, Any], overrides: Sequence[str] = (), *, where: str, check_model: bool = False
) -> RunConfig:
    """Check a configuration that is already a mapping; `where` is what error messages call it.

    Raises:
        UsageError: lists every problem at once.
    """
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
        raise UsageError(f"{where}: " + "; ".join(problems))
    return config.model_copy(update={"model": model}) if check_model else config


def resolve_model(section: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A model section with every default filled in, and what is wrong with it, one line per problem."""
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
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected `key: value` lines, found a {type(content).__name__}")
    return content


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one `a.b=c` in a nested mapping."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted.strip():
        raise UsageError(f"--set {override!r}: expected key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
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
    """YAML 1.1 reads `1e-4` as text, for want of a dot; here it is the number that its writer meant."""
    if isinstance(value, str):
        try:
            return float(value) if any(sign in value for sign in "eE.") else value
        except ValueError:
            return value
    return value


def nearest(name: str, names: Sequence[str]) -> str:
    """` (did you mean 'x'?)` for the closest of `names`, or nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
