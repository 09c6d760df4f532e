"""Damaged, hostile and mismatched ONNX files are refused with one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.detector import Detector
from inference import main as inference
from tests.support import one_sentence
from utils.errors import UsageError


@pytest.fixture
def copy(experts, tmp_path):
    for path in (experts[1], experts[1].with_suffix(".json")):
        shutil.copy(path, tmp_path)
    return tmp_path / experts[1].name


def rewrite(path, change):
    """Apply `change` to the graph and store the new hash, as an attacker would."""
    model = onnx.load_model(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    description = path.with_suffix(".json")
    plain = json.loads(description.read_text())
    plain["onnx"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    description.write_text(json.dumps(plain))


def describe(path, change):
    description = path.with_suffix(".json")
    plain = json.loads(description.read_text())
    change(plain)
    description.write_text(json.dumps(plain))


def custom_operator(model):
    model.graph.node.add(op_type="Evil", domain="com.example", output=["never"])


def custom_domain(model):
    model.opset_import.add(domain="com.example", version=1)


def local_function(model):
    model.functions.add(name="f", domain="com.example")


def external_weights(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def endless_loop(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["never"], body=body))


def other_input_shape(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value += 1


def other_input_type(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def missing_output(model):
    del model.graph.output[0]


def add_results(model, *nodes, **constants):
    """Add nodes that the outputs need: a number that is computed from their last result is added to the terms."""
    for name, values in constants.items():
        array = np.asarray(values)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    terms = next(node for node in model.graph.node if "terms" in node.output)
    terms.output[list(terms.output).index("terms")] = "small"
    last = nodes[-1].output[0]
    model.graph.node.extend(nodes)
    model.graph.node.add(op_type="Cast", input=[last], output=["numbers"]).attribute.add(
        name="to", i=TensorProto.FLOAT, type=onnx.AttributeProto.INT
    )
    model.graph.node.add(op_type="ReduceMax", input=["numbers"], output=["number"])
    model.graph.node.add(op_type="Add", input=["small", "number"], output=["terms"])


def huge_constant(model):
    add_results(model, helper.make_node("ConstantOfShape", ["size"], ["huge"]), size=[1 << 20, 1 << 20])


def huge_expansion(model):
    add_results(
        model,
        helper.make_node("Expand", ["one", "size"], ["huge"]),
        one=np.ones(1, np.float32),
        size=[1 << 20, 1 << 20],
    )


def huge_tile(model):
    add_results(model, helper.make_node("Tile", ["row", "times"], ["huge"]), row=np.ones(1 << 10), times=[1 << 30])


def huge_range(model):
    add_results(model, helper.make_node("Range", ["first", "end", "step"], ["huge"]), first=0, end=1 << 40, step=1)


def huge_product(model):
    nodes = [
        helper.make_node("Expand", ["one", "wide"], ["row"]),
        helper.make_node("Expand", ["one", "tall"], ["column"]),
        helper.make_node("MatMul", ["column", "row"], ["huge"]),
    ]
    add_results(model, *nodes, one=np.ones((1, 1), np.float32), wide=[1, 1 << 20], tall=[1 << 20, 1])


def many_large_results(model):
    nodes = [helper.make_node("Expand", ["one", "size"], ["part0"])]
    nodes += [helper.make_node("Exp", [f"part{index}"], [f"part{index + 1}"]) for index in range(100)]
    add_results(model, *nodes, one=np.ones(1, np.float32), size=[1 << 24])


def size_from_an_input(model):
    values, *_ = (value for value in model.graph.input if value.name == "utterance")
    nodes = [
        helper.make_node("ReduceMax", [values.name], ["loudest"], keepdims=0),
        helper.make_node("Mul", ["loudest", "much"], ["count"]),
        helper.make_node("Cast", ["count"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Range", ["first", "whole", "step"], ["huge"]),
    ]
    add_results(model, *nodes, much=np.float32(1e12), first=0, step=1)


def stated_size_is_a_lie(model):
    size_from_an_input(model)
    model.graph.value_info.append(helper.make_tensor_value_info("huge", TensorProto.INT64, [1]))


def growing_text(model):
    nodes = [helper.make_node("Cast", ["one"], ["text0"], to=TensorProto.STRING)]
    nodes += [helper.make_node("StringConcat", [f"text{index}"] * 2, [f"text{index + 1}"]) for index in range(40)]
    add_results(model, *nodes, helper.make_node("Cast", ["text40"], ["again"], to=TensorProto.DOUBLE), one=np.ones(1))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (huge_constant, "GB"),
        (huge_expansion, "GB"),
        (huge_tile, "GB"),
        (huge_range, "GB"),
        (huge_product, "GB"),
        (many_large_results, "GB"),
        (size_from_an_input, "'Range' is not known in advance"),
        (stated_size_is_a_lie, "'Range' is not known in advance"),
        (growing_text, "not made of numbers"),
    ],
)
def test_graph_with_unbounded_results_is_refused_before_it_is_loaded(copy, change, part, monkeypatch):
    rewrite(copy, change)
    onnx.checker.check_model(onnx.load_model(copy))  # otherwise another check refuses it
    monkeypatch.setattr(onnxruntime, "InferenceSession", pytest.fail)
    with pytest.raises(UsageError, match=f"{copy.name} is refused: .*{part}"):
        Detector.load(copy)


@pytest.mark.parametrize(
    "change",
    [custom_operator, custom_domain, local_function, external_weights, endless_loop, other_input_shape,
     other_input_type, missing_output],
)  # fmt: skip
def test_hostile_graph_is_refused(copy, change):
    rewrite(copy, change)
    with pytest.raises(UsageError, match=copy.name) as error:
        Detector.load(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.pop("onnx"),
        lambda plain: plain.update(version=99),
        lambda plain: plain.update(fingerprint="0" * 16),
        lambda plain: plain["calibration"].update(slope=-1),
        lambda plain: plain.update(model={}),
        lambda plain: plain.update(metrics={"out_of_fold": 5}),
        lambda plain: plain["calibration"].pop("threshold"),
        lambda plain: plain["calibration"].update(threshold=float("nan")),
        lambda plain: plain["calibration"].update(threshold="0.5"),
        lambda plain: plain["calibration"].update(threshold=0.2, real_threshold=0.8),
        lambda plain: plain["onnx"].update(terms=["voice"]),
        lambda plain: plain["onnx"].update(terms="x"),
        lambda plain: plain["onnx"].update(inputs=[]),
        lambda plain: plain["onnx"].update(terms=[1]),
        lambda plain: plain["onnx"].update(terms=["voice"] * len(plain["onnx"]["terms"])),
        lambda plain: plain["onnx"]["inputs"][0].update(name="absent"),
        lambda plain: plain["onnx"]["inputs"][0].update(shape=[1, 2]),
        lambda plain: plain["onnx"].update(inputs=plain["onnx"]["inputs"][1:]),
        lambda plain: plain["features"]["video"].update(top_k=9),
    ],
)
def test_mismatched_description_is_refused(copy, change, tmp_path, media):
    describe(copy, change)
    with pytest.raises(UsageError) as error:
        # The number of terms is only known when the graph runs.
        Detector.load(copy).score(media.clip(tmp_path / "clip.mp4"))
    assert "\n" not in str(error.value)


def test_description_of_another_model_is_refused(copy):
    describe(copy, lambda plain: plain["model"].update(name="mel_baseline"))
    with pytest.raises(
        UsageError, match="exported.onnx does not fit .*: its model is 'av_experts', not 'mel_baseline'"
    ):
        Detector.load(copy)
    rewrite(copy, lambda model: model.ClearField("metadata_props"))
    with pytest.raises(UsageError, match="does not name its model; export the checkpoint again"):
        Detector.load(copy)


def test_command_names_the_file_in_one_sentence(copy, tmp_path, media, capsys):
    clip = str(media.clip(tmp_path / "clip.mp4"))
    arguments = ["--video_path", clip, "--checkpoint", str(copy), "--output", str(tmp_path / "scores.csv")]
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    assert "another ONNX file" in one_sentence(inference, arguments, capsys)
    copy.with_suffix(".json").write_text("[" * 100_000)
    assert "does not describe" in one_sentence(inference, arguments, capsys)
    copy.with_suffix(".json").unlink()
    assert "has no exported.json" in one_sentence(inference, arguments, capsys)


def test_other_devices_are_refused(copy):
    with pytest.raises(UsageError, match="scored on the CPU"):
        Detector.load(copy, "cuda")
