"""A detector exported to ONNX: a graph, and a JSON file beside it with everything else that scoring needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from dataset.samples import InputLayout
from engine.onnx.graph import MAX_GRAPH_BYTES
from engine.onnx.scorer import OnnxScorer
from engine.saved_detector import FORMAT, SavedDetector, parse_settings
from utils.errors import UsageError
from utils.features.base import ArraySpec
from utils.files import existing_file, file_sha256

MAX_DESCRIPTION_BYTES = 1 << 26


@dataclass(kw_only=True)
class OnnxDetector(SavedDetector):
    """A detector whose network is an ONNX graph.

    Attributes:
        path: the ONNX file.
        inputs: the arrays that the graph reads, as declared by the features.
        terms: names of the terms.
        checkpoint_sha256: SHA-256 of the checkpoint that was exported.
    """

    path: Path
    inputs: tuple[ArraySpec, ...]
    terms: tuple[str, ...]
    checkpoint_sha256: str

    def scorer(self, device: str, tta: int) -> OnnxScorer:
        """Load the graph; see `SavedDetector.scorer`."""
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"device {device!r}: an ONNX detector is scored on the CPU; use auto or cpu, or the .pth file"
            )
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from None
        return OnnxScorer(content, self.inputs, self.terms, self.model["name"], tta=tta, path=self.path)

    def identity_file(self, path: Path) -> Path:
        """Return the description, which has the thresholds and the hash of the graph."""
        return description_path(path)

    def settings(self) -> dict[str, Any]:
        """Return the content of the description; see `SavedDetector.settings`."""
        return {
            **super().settings(),
            "onnx": {
                "sha256": file_sha256(self.path),
                "inputs": [plain_spec(spec) for spec in self.inputs],
                "terms": list(self.terms),
                "checkpoint_sha256": self.checkpoint_sha256,
            },
        }


def description_path(path: Path) -> Path:
    """Return the JSON file that belongs to an ONNX file."""
    return path.with_suffix(".json")


def plain_spec(spec: ArraySpec) -> dict[str, Any]:
    """Return the declaration of an array as plain types."""
    return {"name": spec.name, "shape": list(spec.shape), "dtype": np.dtype(spec.dtype).name, "padded": spec.padded}


def load_onnx(path: str | Path) -> OnnxDetector:
    """Read the description of an exported detector. `OnnxDetector.scorer` then loads the graph.

    Raises:
        UsageError: a file is missing, too large or damaged, the two files do not belong together, or the detector was trained
            on features that this code no longer extracts.
    """
    path = existing_file(path, "checkpoint")
    description = description_path(path)
    if not description.is_file():
        raise UsageError(f"{path} has no {description.name} beside it; utils/export_onnx.py writes both")
    for file, limit in ((path, MAX_GRAPH_BYTES), (description, MAX_DESCRIPTION_BYTES)):
        if file.stat().st_size > limit:
            raise UsageError(f"{file} is larger than {limit >> 20} MiB, which no exported detector is")
    not_ours = f"{description} does not describe a multi-ffdv detector"
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise TypeError("it has other content")
        settings = parse_settings(content, description)
        graph = content["onnx"]
        if graph["sha256"] != file_sha256(path):
            raise UsageError(f"{description} belongs to another ONNX file than {path.name}")
        inputs = declared_inputs(graph["inputs"], settings)
        if not inputs:
            raise TypeError("it has no inputs")
        terms = checked_terms(graph["terms"])
        return OnnxDetector(
            path=path, inputs=inputs, terms=terms, checkpoint_sha256=str(graph["checkpoint_sha256"]), **settings
        )
    except OSError as error:
        raise UsageError(f"{description} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ValidationError) as error:
        raise UsageError(f"{not_ours}: {' '.join(str(error).split())[:200]}") from None


def checked_terms(plain: Any) -> tuple[str, ...]:
    """Return the terms that a description names.

    Raises:
        TypeError: they are not a list of different names.
    """
    if not plain or not isinstance(plain, list) or not all(isinstance(term, str) for term in plain):
        raise TypeError("its terms are not a list of names")
    if len(set(plain)) < len(plain):
        raise TypeError("a term is named twice")
    return tuple(plain)


def declared_inputs(plain: Sequence[dict[str, Any]], settings: dict[str, Any]) -> tuple[ArraySpec, ...]:
    """Return the arrays that a description names, as the features declare them.

    Raises:
        ValueError: the features declare other arrays.
        UsageError: see `InputLayout`.
    """
    specs = {spec.name: spec for spec in InputLayout(settings["features"], [entry["name"] for entry in plain]).specs}
    inputs = tuple(specs[entry["name"]] for entry in plain)
    for spec, entry in zip(inputs, plain, strict=True):
        if plain_spec(spec) != entry:
            raise ValueError(f"input {spec.name!r} is declared as {entry}, but its feature gives {plain_spec(spec)}")
    return inputs
