"""Export of a checkpoint to an ONNX graph that scores one clip, and a JSON file with everything else."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn

from dataset.batch import Batch, Modality
from dataset.samples import InputLayout
from engine.checkpoint import Checkpoint
from engine.onnx.agreement import check_agreement, random_sample, sample_clips
from engine.onnx.detector import OnnxDetector, description_path
from engine.onnx.scorer import MASKED, MODEL_KEY, TERMS, USABLE, OnnxScorer, mask_name
from engine.torch_scorer import TorchScorer
from models.base import DetectorModel
from utils.features.base import ArraySpec
from utils.files import atomic_path, file_sha256, write_text_atomic

OPSET = 20
TRIMMED = ("utterance", "utterance_voice")
"""Arrays that the graph reads without their padding, because most of the time is spent on them."""


class ClipGraph(nn.Module):
    """A detector as a function of one clip's arrays and masks, in the order of `specs`."""

    def __init__(self, model: DetectorModel, specs: Sequence[ArraySpec]) -> None:
        """Wrap a model."""
        super().__init__()
        self.model = model
        self.names = [spec.name for spec in specs]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether the clip is usable (1,), its terms (T, 1) and where they abstain (T, 1)."""
        inputs = {
            name: Modality(values, mask)
            for name, values, mask in zip(self.names, tensors[::2], tensors[1::2], strict=True)
        }
        batch = Batch(torch.zeros(1, dtype=torch.int64), torch.zeros(1), inputs)
        output = self.model(batch)
        usable = self.model.usable(batch)
        terms = torch.stack([output.terms[name] for name in self.model.terms])
        never = torch.zeros(1, dtype=torch.bool)
        return usable, terms, torch.stack([output.masked.get(name, never) for name in self.model.terms])


def export_detector(checkpoint: Checkpoint, source: Path, output: Path) -> OnnxDetector:
    """Write the ONNX file `output` and its JSON file, and compare their scores with torch's.

    Args:
        checkpoint: the detector.
        source: its file, whose hash is stored.
        output: the ONNX file to write.

    Raises:
        WorkError: onnxruntime and torch do not agree.
        WriteError: a file cannot be written.
    """
    model = checkpoint.build()
    layout = InputLayout(checkpoint.features, model.inputs)
    specs = layout.specs
    content = onnx_bytes(model, specs, checkpoint.model["name"])
    found = OnnxScorer(content, specs, model.terms, checkpoint.model["name"], path=output)
    check_agreement(TorchScorer(model, torch.device("cpu")), found, sample_clips(layout))
    with atomic_path(output) as temporary:
        temporary.write_bytes(content)
    detector = OnnxDetector(
        model=checkpoint.model,
        features=checkpoint.features,
        calibration=checkpoint.calibration,
        run_config=checkpoint.run_config,
        epoch=checkpoint.epoch,
        metrics=checkpoint.metrics,
        provenance=checkpoint.provenance,
        path=output,
        inputs=specs,
        terms=tuple(model.terms),
        checkpoint_sha256=file_sha256(source),
    )
    write_text_atomic(description_path(output), json.dumps(detector.settings(), indent=1, allow_nan=False) + "\n")
    return detector


def onnx_bytes(model: DetectorModel, specs: Sequence[ArraySpec], name: str) -> bytes:
    """Return the ONNX graph of a model in evaluation mode, with the name of the model."""
    for module in model.modules():
        prepare = getattr(module, "prepare_export", None)
        if prepare is not None:
            prepare()
    sample = random_sample(specs, np.random.default_rng(0))
    arguments: list[Tensor] = []
    sizes: list[dict | None] = []
    for spec in specs:
        array = sample.inputs[spec.name]
        arguments += [torch.from_numpy(array.values)[None], torch.from_numpy(np.asarray(array.mask))[None]]
        sizes += [{1: torch.export.Dim.AUTO} if spec.name in TRIMMED else None] * 2
    names = [name for spec in specs for name in (spec.name, mask_name(spec.name))]
    with quiet():
        program = torch.onnx.export(
            ClipGraph(model, specs).eval(),
            tuple(arguments),
            dynamo=True,
            dynamic_shapes=(tuple(sizes),),
            input_names=names,
            output_names=[USABLE, TERMS, MASKED],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = without_metadata(program.model_proto)
    graph.metadata_props.add(key=MODEL_KEY, value=name)
    return graph.SerializeToString()


def without_metadata(model: ModelProto) -> ModelProto:
    """Remove the exporter's notes, which name local paths and lines of code, and inferred shapes, which take time to read."""
    graph = model.graph
    graph.ClearField("value_info")
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress and the warnings of torch's exporter."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
