"""The `split` section: the leakage check and the folds of cross-validation. Importing it does not load torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from utils.config import Section


class SplitConfig(Section):
    """Settings for dividing clips, and for finding clips shared by training and evaluation (`engine/leakage.py`)."""

    check: Literal["off", "files", "stored", "clips"] = Field(
        "stored",
        description="compare training and evaluated clips by file bytes (files), also by stored features (stored), "
        "or by decoding each clip once (clips)",
    )
    strict: bool = Field(False, description="refuse to train when training and evaluated clips share frames or audio")
    folds: Annotated[int, Field(ge=2)] | str | None = Field(
        None, description="cross-validate: a file written by utils/make_splits.py, or a number of folds"
    )
    fold_column: str = Field("fold", description="column of that file with each clip's fold")
    fold_validation: float = Field(
        0.15, gt=0, lt=1, description="share of a fold's training clips used to select the epoch"
    )

    @field_validator("check", mode="before")
    @classmethod
    def _read_off(cls, value: Any) -> Any:
        """Accept `off`, which YAML 1.1 reads as false."""
        return "off" if value is False else value
