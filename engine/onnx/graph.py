"""Checks of an ONNX graph before it is loaded: only standard operators, no files besides its own, bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto

MAX_GRAPH_BYTES = 1 << 30
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


class GraphError(ValueError):
    """A graph that is not loaded; the message says why."""


def check_graph(content: bytes) -> None:
    """Check that a graph is well-formed and self-contained.

    Raises:
        GraphError: it is damaged, or has custom operators, external data, functions, loops or branches.
    """
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, RuntimeError):
        raise GraphError("it is not an ONNX file, or it is damaged") from None
    domains = {entry.domain for entry in model.opset_import}
    operators = sorted({node.op_type for node in model.graph.node if node.domain not in STANDARD_DOMAINS})
    if operators:
        raise GraphError(f"it has the custom operator {operators[0][:40]!r}")
    if domains - STANDARD_DOMAINS or model.functions or model.training_info:
        raise GraphError("it has custom operators, functions or training steps")
    if any(attribute.HasField("g") or attribute.graphs for node in model.graph.node for attribute in node.attribute):
        raise GraphError("it has loops or branches")
    if model.graph.sparse_initializer or any(is_external(tensor) for tensor in tensors(model)):
        raise GraphError("it refers to data in other files, or has sparse tensors")
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise GraphError(f"it is not a valid ONNX graph ({' '.join(str(error).split())[:120]})") from None


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield all tensors of a graph without subgraphs."""
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from attribute_tensors(node.attribute)


def attribute_tensors(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    """Yield the tensors among the attributes of a node."""
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def is_external(tensor: TensorProto) -> bool:
    """Return whether the data of a tensor is in another file."""
    return tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0
