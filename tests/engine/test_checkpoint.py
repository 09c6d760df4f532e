"""Files that are not multi-ffdv checkpoints are rejected with one sentence, and code in them is not executed."""

from __future__ import annotations

import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

import inference
import main
from engine.checkpoint import load_checkpoint
from tests.support import FEATURE_CONFIG, K, one_sentence, random_checkpoint, write_video
from utils.errors import UsageError
from utils.metrics import Calibration, ErrorRates


class Hostile:
    """An object whose unpickling would create a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def hostile_pickle(path, proof):
    path.write_bytes(pickle.dumps(Hostile(proof)))


def hostile_torch_file(path, proof):
    torch.save({"format": "multi-ffdv", "version": 1, "weights": Hostile(proof)}, path)


def text(path, _):
    path.write_text("epoch,loss\n1,0.5\n")


def empty(path, _):
    path.write_bytes(b"")


def noise(path, _):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def truncated(path, _):
    random_checkpoint(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_zip(path, _):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("report.txt", "hello")


def other_state_dict(path, _):
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)


def lone_tensor(path, _):
    torch.save(torch.zeros(3), path)


def whole_module(path, _):
    torch.save(torch.nn.Linear(3, 2), path)


def changed(path, **parts):
    content = torch.load(random_checkpoint(path), weights_only=True)
    torch.save({**content, **parts}, path)


def newer_version(path, _):
    changed(path, version=99)


def no_model(path, _):
    changed(path, model=None)


def odd_calibration(path, _):
    changed(path, calibration={"slope": -1.0})


def other_features(path, _):
    changed(path, fingerprint="0123456789abcdef")


def bad_features(path, _):
    changed(path, features={"video": {"top_k": "many"}})


def hashes_in_a_list(path, _):
    changed(path, trained_on=[[[]]])


def bad_limits(path, _):
    changed(path, run_config={"extraction": {"timeout_s": "never"}})


def unlimited_memory(path, _):
    changed(path, run_config={"extraction": {"memory_gb": 1e300}})


def unlimited_time(path, _):
    changed(path, run_config={"extraction": {"timeout_s": float("inf")}})


def threshold_of_text(path, _):
    changed(path, calibration={"threshold": "0.5"})


def complex_weights(path, _):
    weights = torch.load(random_checkpoint(path), weights_only=True)["weights"]
    changed(path, weights={name: tensor.to(torch.complex64) for name, tensor in weights.items()})


def unknown_model(path, _):
    changed(path, model={"name": "ffdv_cow"})


def wider_weights(path, _):
    changed(path, weights={"head.weight": torch.zeros(1, 4 * K)})


def weights_of_a_list(path, _):
    changed(path, weights=[1, 2])


def crossed_thresholds(path, _):
    changed(path, calibration={"threshold": 0.3, "real_threshold": 0.6})


def odd_error_rates(path, _):
    changed(path, calibration={"rates": [0.1, 0.2]})


def compressed(path, _):
    changed(path, metrics={"zeros": torch.zeros(1_000_000)})
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert path.stat().st_size < 3_000_000


def expanded_weight(path, _):
    changed(path, weights={"head.weight": torch.zeros(1).expand(10**11)})


def expanded_hashes(path, _):
    changed(path, trained_on={"video": torch.zeros(1, dtype=torch.int64).expand(10**11)})


def sparse_weight(path, _):
    changed(path, weights={"head.weight": torch.eye(3).to_sparse()})


def weight_of_text(path, _):
    changed(path, weights={"head.weight": "1.0"})


def weight_without_a_name(path, _):
    changed(path, weights={5: torch.zeros(3)})


REFUSED = {
    compressed: "not a multi-ffdv checkpoint",
    expanded_weight: "head.weight has shape (100000000000,), which is larger than its data",
    expanded_hashes: "video has shape (100000000000,)",
    sparse_weight: "head.weight is not a dense tensor",
    weight_of_text: "'head.weight' is a str, not a tensor",
    hashes_in_a_list: "a list is in place of named tensors",
    bad_limits: "timeout_s",
    unlimited_memory: "memory_gb",
    unlimited_time: "timeout_s",
    threshold_of_text: "a threshold or rate of a calibration is '0.5'",
    complex_weights: "is made of complex numbers",
    weight_without_a_name: "5 is not the name of a tensor",
    hostile_pickle: "not a multi-ffdv checkpoint",
    hostile_torch_file: "not a multi-ffdv checkpoint",
    text: "not a multi-ffdv checkpoint",
    empty: "not a multi-ffdv checkpoint",
    noise: "not a multi-ffdv checkpoint",
    truncated: "not a multi-ffdv checkpoint",
    other_zip: "not a multi-ffdv checkpoint",
    other_state_dict: "contains unrelated tensors",
    lone_tensor: "contains unrelated tensors",
    whole_module: "not a multi-ffdv checkpoint",
    newer_version: "version 99; this code reads version 1",
    no_model: "model is a NoneType",
    odd_calibration: "slope",
    crossed_thresholds: "the real threshold 0.6 is not at or below the fake threshold 0.3",
    odd_error_rates: "ErrorRates",
    other_features: "features of an incompatible version",
    bad_features: "top_k",
    weights_of_a_list: "weights is a list",
}


@pytest.mark.parametrize("write", list(REFUSED), ids=lambda write: write.__name__)
def test_every_command_rejects_the_file_with_one_sentence(write, tmp_path, capsys):
    path, proof, clip = tmp_path / "some.pth", tmp_path / "proof", write_video(tmp_path / "a.mp4", 0)
    write(path, proof)
    lines = {
        one_sentence(main.main, ["--checkpoint", str(path)], capsys),
        one_sentence(main.main, ["--resume", str(path)], capsys),
        one_sentence(inference.main, ["--video_path", str(clip), "--checkpoint", str(path)], capsys),
    }
    assert len(lines) == 1
    assert REFUSED[write] in lines.pop()
    assert not proof.exists()


@pytest.mark.parametrize(
    ("write", "words"), [(unknown_model, "did you mean 'ffdv_cov'"), (wider_weights, "weights do not fit its model")]
)
def test_weights_that_do_not_fit_the_model_are_rejected(write, words, tmp_path, capsys):
    path, clip = tmp_path / "some.pth", write_video(tmp_path / "a.mp4", 0)
    write(path, None)
    assert words in one_sentence(main.main, ["--checkpoint", str(path)], capsys)
    line = one_sentence(inference.main, ["--video_path", str(clip), "--checkpoint", str(path)], capsys)
    assert words in line


def test_thresholds_and_their_rates_are_stored(tmp_path):
    rates = ErrorRates(0.05, 0.06, 0.3, 0.4, n_real=70, n_fake=81, pseudo_fakes=True)
    calibration = Calibration(threshold=0.7, real_threshold=0.3, target_fnr=0.1, rates=rates)
    assert load_checkpoint(random_checkpoint(tmp_path / "a.pth", calibration=calibration)).calibration == calibration


def test_checkpoint_of_an_earlier_version_has_one_threshold(tmp_path):
    new = ("real_threshold", "target_fnr", "rates")
    plain = {name: value for name, value in Calibration(threshold=0.7).to_dict().items() if name not in new}
    changed(tmp_path / "old.pth", calibration=plain)
    calibration = load_checkpoint(tmp_path / "old.pth").calibration
    assert (calibration.thresholds, calibration.verdict(0.69), calibration.verdict(0.7)) == (
        {"fake": 0.7},
        "real",
        "fake",
    )


def test_folder_and_missing_file_are_rejected_by_name(tmp_path, capsys):
    assert "is a folder, not a file" in one_sentence(main.main, ["--checkpoint", str(tmp_path)], capsys)
    line = one_sentence(main.main, ["--checkpoint", str(tmp_path / "none.pth")], capsys)
    assert re.search(r"checkpoint does not exist: .*none\.pth", line)


def test_truncated_file_is_rejected_at_every_length(tmp_path):
    whole = random_checkpoint(tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "part.pth"
    for share in (0.001, 0.01, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UsageError, match="not a multi-ffdv checkpoint"):
            load_checkpoint(path)


def test_checkpoint_contains_only_tensors_and_plain_types(tmp_path):
    path = random_checkpoint(tmp_path / "best.pth", provenance={"initialisation": "random"}, epoch=4)
    content = torch.load(path, weights_only=True)
    assert content["fingerprint"] == FEATURE_CONFIG.fingerprint()
    assert (content["format"], content["version"], content["epoch"]) == ("multi-ffdv", 1, 4)
    assert "1 = fake" in content["convention"]
