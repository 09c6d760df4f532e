"""Scoring with onnxruntime, one clip at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from dataset.samples import Sample
from dataset.workers import default_workers
from engine.onnx.graph import GraphError, check_graph
from engine.scoring import FLIPS, ClipTerms
from utils.errors import UsageError
from utils.features.base import ArraySpec, MaskedArray
from utils.onnx_session import FATAL_ONLY

USABLE, TERMS, MASKED = "usable", "terms", "masked"
"""Outputs of a graph: (1,) bool, whether the clip can be scored; (T, 1) float32, its terms; (T, 1) bool, where they abstain."""

MODEL_KEY = "multi_ffdv_model"
"""Metadata of a graph: the name of the model that was exported."""

ONNX_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "bool": "tensor(bool)"}


def mask_name(array: str) -> str:
    """Return the name of the graph's input for the mask of an array."""
    return f"{array}_mask"


def input_shapes(specs: Sequence[ArraySpec]) -> dict[str, tuple[int, ...]]:
    """Return the largest shapes of a graph's inputs: one clip, without trimmed padding."""
    shapes: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        shapes[spec.name] = (1, *spec.shape)
        shapes[mask_name(spec.name)] = (1, spec.shape[0]) if spec.padded else (1,)
    return shapes


class OnnxScorer:
    """A detector that scores with onnxruntime; see `engine.scoring.Scorer`."""

    def __init__(
        self,
        graph: bytes,
        specs: Sequence[ArraySpec],
        terms: Sequence[str],
        model: str,
        *,
        tta: int = 1,
        path: Path | None = None,
    ) -> None:
        """Load a graph.

        Args:
            graph: the content of the ONNX file.
            specs: the declared arrays of a clip.
            terms: names of the terms.
            model: name of the model that was exported.
            tta: number of views averaged per clip.
            path: the file, for messages.

        Raises:
            UsageError: `check_graph` or onnxruntime refuses the graph, or its model, inputs or outputs are not the declared
                ones.
        """
        self.inputs = tuple(spec.name for spec in specs)
        self.terms = tuple(terms)
        self._tta = tta
        self._path = path
        try:
            check_graph(graph, input_shapes(specs))
        except GraphError as error:
            raise UsageError(f"{path} is refused: {error}") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL_ONLY
        options.intra_op_num_threads = default_workers()
        # Threads that wait for work in a loop take the cores from the workers that decode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # Folding would keep every vector of the synthetic-speech expert in single precision: 0.1 to 0.5 GB.
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
            )
        except Exception as error:  # onnxruntime raises its own kinds of exceptions
            raise UsageError(f"{path} cannot be loaded: {summary(error)}") from None
        exported = self._session.get_modelmeta().custom_metadata_map.get(MODEL_KEY)
        if exported is None:
            raise UsageError(f"{path} does not name its model; export the checkpoint again with utils/export_onnx.py")
        if exported != model:
            raise UsageError(f"{path} does not fit its description: its model is {exported[:40]!r}, not {model[:40]!r}")
        self._check_signature(specs)
        shapes = {node.name: node.shape for node in self._session.get_inputs()}
        self._trimmed = {spec.name for spec in specs if spec.padded and not isinstance(shapes[spec.name][1], int)}

    def __call__(self, samples: Sequence[Sample]) -> ClipTerms:
        """Score the samples of B clips, one after the other."""
        rows = [self._score(sample) for sample in samples]
        terms = np.stack([row[1] for row in rows], axis=1)
        logit = np.stack([row[2] for row in rows])
        return ClipTerms(np.array([row[0] for row in rows]), logit, dict(zip(self.terms, terms, strict=True)))

    def _score(self, sample: Sample) -> tuple[bool, np.ndarray, float]:
        """Return whether a clip is usable, its terms (T,), NaN where they abstain, and its logit."""
        unusable = False, np.full(len(self.terms), np.nan), np.nan
        if not any(sample.inputs[name].mask.any() for name in self.inputs):
            return unusable
        views = [
            self._run(flipped(sample.inputs, time=time, frequency=frequency)) for time, frequency in FLIPS[self._tta]
        ]
        usable, _, masked = views[0]
        if not usable[0]:
            return unusable
        terms = np.stack([view[1][:, 0] for view in views]).mean(axis=0).astype(np.float64)
        logit = float(terms.sum())
        terms[masked[:, 0] | ~np.isfinite(terms)] = np.nan
        return True, terms, logit if np.isfinite(logit) else np.nan

    def _run(self, inputs: Mapping[str, MaskedArray]) -> list[np.ndarray]:
        feeds: dict[str, np.ndarray] = {}
        for name in self.inputs:
            values, mask = inputs[name].values, inputs[name].mask
            if name in self._trimmed:
                count = max(1, int(mask.sum()))
                values, mask = values[:count], mask[:count]
            feeds |= {name: np.ascontiguousarray(values)[None], mask_name(name): np.asarray(mask)[None]}
        try:
            outputs = self._session.run([USABLE, TERMS, MASKED], feeds)
        except Exception as error:  # see above
            raise UsageError(f"{self._path} cannot score a clip: {summary(error)}") from None
        shapes = [(1,), (len(self.terms), 1), (len(self.terms), 1)]
        if [output.shape for output in outputs] != shapes:
            raise UsageError(f"{self._path} cannot score a clip: its outputs have other shapes than declared")
        return outputs

    def _check_signature(self, specs: Sequence[ArraySpec]) -> None:
        """Raise a `UsageError` unless the inputs and outputs of the graph are the declared ones."""
        found = {node.name: node for node in self._session.get_inputs()}
        shapes = input_shapes(specs)
        expected = {spec.name: (np.dtype(spec.dtype).name, shapes[spec.name]) for spec in specs}
        expected |= {mask_name(spec.name): ("bool", shapes[mask_name(spec.name)]) for spec in specs}
        padded = {name for spec in specs if spec.padded for name in (spec.name, mask_name(spec.name))}
        if set(found) != set(expected):
            odd = sorted(set(found) ^ set(expected))[0]
            raise UsageError(f"{self._path} does not fit its description: input {odd!r} is missing or not declared")
        for name, (dtype, shape) in expected.items():
            if found[name].type != ONNX_TYPES[dtype] or not fits(found[name].shape, shape, name in padded):
                raise UsageError(
                    f"{self._path} does not fit its description: input {name!r} is {found[name].type} "
                    f"{found[name].shape}, expected {dtype} {list(shape)}"
                )
        outputs: dict[str, Any] = {node.name: node.type for node in self._session.get_outputs()}
        if outputs != {USABLE: "tensor(bool)", TERMS: "tensor(float)", MASKED: "tensor(bool)"}:
            raise UsageError(f"{self._path} does not fit its description: its outputs are {', '.join(outputs)}")


def fits(found: Sequence[int | str | None], declared: Sequence[int], padded: bool) -> bool:
    """Return whether a graph's input accepts the declared shape; the length of a padded array may be variable."""
    if len(found) != len(declared):
        return False
    return all(
        size == wanted or (padded and axis == 1 and not isinstance(size, int))
        for axis, (size, wanted) in enumerate(zip(found, declared, strict=True))
    )


def flipped(inputs: Mapping[str, MaskedArray], *, time: bool, frequency: bool) -> Mapping[str, MaskedArray]:
    """Return the inputs with the mel-spectrogram image mirrored in time and/or frequency."""
    axes = tuple(axis for axis, wanted in ((2, time), (1, frequency)) if wanted)
    if not axes or "mel" not in inputs:
        return inputs
    mel = inputs["mel"]
    return {**inputs, "mel": MaskedArray(np.flip(mel.values, axes), mel.mask)}


def summary(error: Exception) -> str:
    """Return the message of an error on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
