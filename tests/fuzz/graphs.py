"""Mutations of ONNX graphs: their bytes, and their operators, attributes, weights, shapes and connections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.fuzz.archives import mutate_bytes

EXTREMES = (-1, 0, 1, 2, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
OPERATORS = (
    "Expand",
    "Tile",
    "ConstantOfShape",
    "Range",
    "NonZero",
    "Loop",
    "MatMul",
    "Concat",
    "Resize",
    "StringConcat",
)


def one_of(rng: np.random.Generator, values):  # type: ignore[no-untyped-def]
    """Return a random element."""
    return values[int(rng.integers(len(values)))]


def change_attribute(rng: np.random.Generator, model: ModelProto) -> None:
    """Set an integer of an attribute to an extreme value."""
    found = [one for node in model.graph.node for one in node.attribute if one.HasField("i") or one.ints]
    attribute = one_of(rng, found)
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = one_of(rng, EXTREMES)
    else:
        attribute.i = one_of(rng, EXTREMES)


def change_constant(rng: np.random.Generator, model: ModelProto) -> None:
    """Set a number of an integer constant, usually of a shape, to an extreme value."""
    whole = [one for one in model.graph.initializer if one.data_type == TensorProto.INT64]
    tensor = one_of(rng, whole or list(model.graph.initializer))
    values = numpy_helper.to_array(tensor).copy()
    if values.size and values.dtype == np.int64:
        values.flat[int(rng.integers(values.size))] = one_of(rng, EXTREMES)
    else:
        values = values.ravel()[: values.size // 2]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def change_operator(rng: np.random.Generator, model: ModelProto) -> None:
    """Replace an operator by another."""
    others = (*OPERATORS, one_of(rng, model.graph.node).op_type)
    one_of(rng, model.graph.node).op_type = one_of(rng, others)


def change_input(rng: np.random.Generator, model: ModelProto) -> None:
    """Connect an operator to another value, perhaps to a later one."""
    names = [name for node in model.graph.node for name in node.output] + [one.name for one in model.graph.initializer]
    node = one_of(rng, [node for node in model.graph.node if node.input])
    node.input[int(rng.integers(len(node.input)))] = one_of(rng, names)


def remove_operator(rng: np.random.Generator, model: ModelProto) -> None:
    """Remove an operator."""
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def declare_dimension(rng: np.random.Generator, model: ModelProto) -> None:
    """Declare another size of an input, an output or a weight."""
    tensor = one_of(rng, [*model.graph.input, *model.graph.output, *model.graph.initializer])
    if isinstance(tensor, TensorProto):
        if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = one_of(rng, EXTREMES)
    elif tensor.type.tensor_type.shape.dim:
        one_of(rng, tensor.type.tensor_type.shape.dim).dim_value = one_of(rng, EXTREMES)


def add_bomb(rng: np.random.Generator, model: ModelProto) -> None:
    """Add a result of extreme size to a value."""
    size = [int(one_of(rng, EXTREMES)) for _ in range(int(rng.integers(1, 4)))]
    model.graph.initializer.append(numpy_helper.from_array(np.array(size, np.int64), "bomb_size"))
    node = one_of(rng, model.graph.node)
    huge = helper.make_node("ConstantOfShape", ["bomb_size"], ["bomb"])
    joined = helper.make_node("Add", [node.output[0], "bomb"], ["joined"])
    for other in model.graph.node:
        for at, name in enumerate(other.input):
            if name == node.output[0]:
                other.input[at] = "joined"
    at = list(model.graph.node).index(node) + 1
    rest = list(model.graph.node)[at:]
    del model.graph.node[at:]
    model.graph.node.extend([huge, joined, *rest])


def refer_to_file(rng: np.random.Generator, model: ModelProto) -> None:
    """Store a weight in another file."""
    tensor = one_of(rng, model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(
        key="location", value=one_of(rng, ("/etc/passwd", "../intact.onnx", "intact.json", "/dev/zero"))
    )


CHANGES: dict[str, Callable[[np.random.Generator, ModelProto], None]] = {
    change.__name__: change
    for change in (
        change_constant,
        change_attribute,
        change_operator,
        change_input,
        remove_operator,
        declare_dimension,
        add_bomb,
        refer_to_file,
    )
}


def mutate_graph(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Return the name of a mutation and the mutated graph: one of four has other bytes, the rest one to three changes."""
    if rng.random() < 0.25:
        return mutate_bytes(rng, data, other)
    model = onnx.load_model_from_string(data)
    # In the order of `CHANGES`: a constant cannot be read any more once its size is wrong.
    chosen = {one_of(rng, list(CHANGES)) for _ in range(int(rng.integers(1, 4)))}
    names = [name for name in CHANGES if name in chosen]
    for name in names:
        CHANGES[name](rng, model)
    return "+".join(names), model.SerializeToString()
