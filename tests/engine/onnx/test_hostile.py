"""Damaged, hostile and mismatched ONNX files are refused with one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper

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
        lambda plain: plain["onnx"].update(terms=["voice"]),
        lambda plain: plain["onnx"].update(terms=[1]),
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
