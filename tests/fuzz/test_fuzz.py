"""A small run of the fuzzer, and its own parts: mutations are repeatable, and broken promises are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.onnx.graph import GraphError, check_graph
from tests.fuzz.files import FileTask, answer_fault, read_file
from tests.fuzz.graphs import CHANGES, mutate_graph
from tests.fuzz.media import Limits, make_case, row_faults, run_faults
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.originals import AUDIO, VIDEO, make_originals
from tests.fuzz.results import Results, Row
from tests.fuzz.structure import parts_of
from tests.fuzz.texts import mutate_text
from tests.fuzz.watch import Observed
from utils.features.config import FeatureConfig
from utils.features.extract import extract_clip
from utils.media.errors import REASONS

SMOKE_CLIPS = 68
"""Four clips per mutation."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_originals(tmp_path_factory.mktemp("originals"), identities=1, frames=10)


def test_originals_cover_every_container(originals) -> None:
    assert {path.suffix for path in originals} == {*VIDEO, *AUDIO}
    structured = {path.suffix for path in originals if len(parts_of(path.read_bytes())) > 3}
    assert structured >= {".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".wav"}


def test_mutated_clips_are_repeatable_and_each_has_an_answer(originals, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    config = FeatureConfig()
    statuses = set()
    for number in range(SMOKE_CLIPS):
        case = make_case(7, number, originals, tmp_path / "a")
        make_case(7, number, originals, tmp_path / "b")
        path = tmp_path / "a" / case.name
        assert path.read_bytes() == (tmp_path / "b" / case.name).read_bytes()
        facts = extract_clip(path, config, features=("covariance", "mel")).facts
        assert not row_faults({"status": facts.status, "reason": facts.reason}), case
        statuses.add(facts.status)
    assert statuses == {"ok", "partial", "failed"} and len(MUTATIONS) == 17


@pytest.mark.parametrize("kind", ["config", "labels", "predictions"])
def test_mutated_text_files_are_read_or_refused_with_one_sentence(tmp_path: Path, kind: str) -> None:
    intact = {
        "config": "name: a\nseed: 3\ntrain: {epochs: 2}\nmodel: {name: ffdv_cov}\n",
        "labels": "video_name,target,type\na.mp4,1,x\nb.mp4,0,y\n",
        "predictions": "video_name,target,score\na.mp4,1,0.7\nb.mp4,0,0.2\n",
    }[kind].encode()
    rng = np.random.default_rng(3)
    answers = set()
    for number in range(40):
        path = tmp_path / f"{number}.yml"
        mutation, content = mutate_text(rng, intact, intact)
        path.write_bytes(content)
        answer = read_file(FileTask(kind, number, mutation, path, path))
        assert answer_fault(answer, "") is None, (number, mutation)
        answers.add(answer[0])
    assert answers == {"accepted", "refused"}


def small_graph() -> bytes:
    """Return a graph with weights, shapes as constants, and attributes."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["planes"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Reshape", ["planes", "shape"], ["rows"]),
        helper.make_node("ReduceMax", ["rows"], ["y"], keepdims=0),
    ]
    constants = {"kernel": np.ones((2, 1, 3, 3), np.float32), "shape": np.array([1, 2, 64])}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def test_mutated_graphs_are_accepted_or_refused_with_one_sentence() -> None:
    intact = small_graph()
    check_graph(intact, {"x": (1, 1, 8, 8)})
    rng = np.random.default_rng(0)
    seen, sentences = set(), []
    for _ in range(200):
        name, content = mutate_graph(rng, intact, intact)
        seen |= set(name.split("+"))
        try:
            check_graph(content, {"x": (1, 1, 8, 8)})
        except GraphError as error:
            sentences.append(str(error))
    assert seen >= set(CHANGES) and 100 < len(sentences) < 200
    assert all(0 < len(sentence) < 400 and "\n" not in sentence for sentence in sentences)


def test_broken_promises_are_found() -> None:
    good = {"status": "ok", "reason": "", "verdict": "real", "score": "0.2"}
    assert row_faults(good) == []
    assert row_faults(None) == ["there is no row"]
    for change in (
        {"reason": "no_such_reason", "status": "partial"},
        {"reason": "crashed", "status": "failed"},
        {"status": "done"},
        {"score": "1.2"},
        {"score": "", "verdict": "fake"},
        {"score": "", "verdict": "unscored"},
        {"reason": "truncated"},
    ):
        assert row_faults({**good, **change}), change
    limits = Limits(memory_gb=2.0)
    assert list(run_faults(Observed(1, "error: no clip could be scored", 1.0, 3.0), limits)) == []
    for code, output, peak_gb in (
        (None, "", 1.0),
        (-11, "", 1.0),
        (0, "Traceback (most recent call last)", 1.0),
        (0, "", 3.0),
    ):
        assert list(run_faults(Observed(code, output, peak_gb, 3.0), limits))
    assert answer_fault(None, "timeout") == "timeout"
    assert answer_fault(("refused", "two\nlines"), "") and answer_fault(("refused", " "), "")
    assert "timeout" in REASONS


def test_counts_group_clips_by_reason_and_other_files_by_outcome(tmp_path: Path) -> None:
    rows = [
        Row("clip", 0, "m", "s", "failed", "unreadable"),
        Row("clip", 1, "m", "s", "ok"),
        Row("config", 0, "m", "s", "refused", "x"),
    ]
    results = Results(rows)
    assert results.counts() == {"clip": {"failed: unreadable": 1, "ok": 1}, "config": {"refused": 1}}
    results.write(tmp_path, {"seed": 0})
    assert (tmp_path / "fuzz.csv").read_text().count("\n") == 4 and "unreadable" in (tmp_path / "fuzz.json").read_text()
