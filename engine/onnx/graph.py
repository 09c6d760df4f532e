"""Checks of an ONNX graph before it is loaded: only standard operators, no files besides its own, bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto, TypeProto, ValueInfoProto

MAX_GRAPH_BYTES = 1 << 30
MAX_COMPUTED_BYTES = 1 << 32
"""Largest size of all results of a graph together. The shipped detector has 0.8 GB, of which few exist at a time."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
WIDTHS: dict[int, int] = {
    TensorProto.BOOL: 1,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT16: 2,
    TensorProto.UINT16: 2,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT32: 4,
    TensorProto.UINT32: 4,
    TensorProto.FLOAT: 4,
    TensorProto.INT64: 8,
    TensorProto.UINT64: 8,
    TensorProto.DOUBLE: 8,
    TensorProto.COMPLEX64: 8,
    TensorProto.COMPLEX128: 16,
}
"""Bytes of a number of each type. Graphs with results of other types are refused."""


class GraphError(ValueError):
    """A graph that is not loaded; the message says why."""


def check_graph(content: bytes, shapes: Mapping[str, Sequence[int]]) -> None:
    """Check that a graph is well-formed and self-contained, and that its results fit into memory.

    Args:
        content: the ONNX file.
        shapes: largest shapes of its inputs.

    Raises:
        GraphError: it is damaged, has custom operators, external data, functions, loops or branches, or its results are too
            large.
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
    check_sizes(model, shapes)


def check_sizes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Check the size of all results for inputs of the given shapes. Shapes that the file states for results are ignored.

    A graph of a few hundred bytes can request any amount of memory. Its results must therefore have shapes that follow from
    the shapes of the inputs and from constants.

    Raises:
        GraphError: they are larger than `MAX_COMPUTED_BYTES`, or a shape depends on the values of an input.
    """
    fix_shapes(model, shapes)
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise GraphError(f"its shapes do not fit ({' '.join(str(error).split())[:120]})") from None
    inferred = {value.name: value for value in (*graph.value_info, *graph.output)}
    total = 0
    for node in graph.node:
        for name in filter(None, node.output):
            total += size_in_bytes(inferred.get(name), node.op_type)
    if total > MAX_COMPUTED_BYTES:
        raise GraphError(f"its results have {total / 1e9:.3g} GB, more than {MAX_COMPUTED_BYTES / 1e9:.3g} GB")


def fix_shapes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Set the shapes of the inputs, and remove the shapes of results and the weights."""
    for value in model.graph.input:
        if value.name in shapes:
            for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=False):
                dimension.dim_value = size
    for tensor in model.graph.initializer:
        # Shapes are integers. Without the weights, the inference takes less time and memory.
        if tensor.data_type in FLOATS:
            tensor.ClearField("raw_data")
    model.graph.ClearField("value_info")
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def size_in_bytes(value: ValueInfoProto | None, operator: str) -> int:
    """Return the size of a result of an operator.

    Raises:
        GraphError: its shape is not known, or it is not made of numbers.
    """
    tensor = value.type.tensor_type if value is not None else TypeProto.Tensor()
    sides = tensor.shape.dim
    if not tensor.HasField("shape") or not all(side.HasField("dim_value") and side.dim_value >= 0 for side in sides):
        raise GraphError(f"the size of a result of the operator {operator[:40]!r} is not known in advance")
    if tensor.elem_type not in WIDTHS:
        raise GraphError(f"a result of the operator {operator[:40]!r} is not made of numbers")
    return WIDTHS[tensor.elem_type] * prod(side.dim_value for side in sides)


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
