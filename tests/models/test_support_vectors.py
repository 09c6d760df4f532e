"""A support-vector machine as tensors: equal to the library's, and loadable with any number of vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from models.blocks import support_vectors
from models.blocks.support_vectors import SupportVectors

D, GAMMA = 30, 0.4


def examples(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D) float32 of two classes and the class (N,) bool."""
    rng = np.random.default_rng(seed)
    second = np.arange(count) % 2 == 1
    features = rng.standard_normal((count, D)) * 3 + 2 * second[:, None] + 5
    return features.astype(np.float32), second


def fitted(count: int = 200) -> tuple[SupportVectors, SVC]:
    features, second = examples(0, count)
    machine = SupportVectors(D, GAMMA)
    machine.centre.copy_(torch.from_numpy(features.mean(axis=0)))
    machine.scale.copy_(torch.from_numpy(1 / (features.std(axis=0) * np.sqrt(D))))
    rows = machine.scaled(torch.from_numpy(features))
    machine.set_step(rows)
    levels = machine.levels(rows)
    library = SVC(C=4, gamma=GAMMA).fit((levels * machine.step).numpy(), second)
    machine.set_vectors(
        levels[torch.from_numpy(library.support_)], torch.from_numpy(library.dual_coef_[0].astype(np.float32))
    )
    machine.offset.fill_(float(library.intercept_[0]))
    return machine, library


def test_decision_values_equal_those_of_the_library() -> None:
    machine, library = fitted()
    features, second = examples(1)
    values = machine(torch.from_numpy(features))
    expected = library.decision_function(machine.scaled(torch.from_numpy(features)).numpy())
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert ((values > 0).numpy() == second).mean() > 0.8


def test_number_of_vectors_at_a_time_does_not_matter(monkeypatch) -> None:
    machine, _ = fitted()
    features = torch.from_numpy(examples(1)[0])
    at_once = machine(features)
    monkeypatch.setattr(support_vectors, "CHUNK", 17)
    torch.testing.assert_close(machine(features), at_once, rtol=0, atol=1e-6)


def test_rounding_to_eight_bits_changes_little() -> None:
    machine, _ = fitted()
    features, second = examples(0)
    rows = machine.scaled(torch.from_numpy(features))
    assert machine.vectors.dtype == torch.int8 and int(machine.vectors.abs().max()) <= 127
    assert ((machine.levels(rows) * machine.step - rows).abs() <= 0.51 * machine.step).all()
    exact = SVC(C=4, gamma=GAMMA).fit(rows.numpy(), second)
    held_out = torch.from_numpy(examples(1)[0])
    np.testing.assert_allclose(machine(held_out), exact.decision_function(machine.scaled(held_out).numpy()), atol=0.03)


def test_vectors_in_half_precision_of_earlier_checkpoints_are_loaded() -> None:
    machine, _ = fitted()
    state = {**machine.state_dict(), "vectors": (machine.vectors * machine.step).half()}
    del state["step"]
    other = SupportVectors(D, GAMMA)
    other.load_state_dict(state)
    features = torch.from_numpy(examples(1)[0])
    assert other.vectors.dtype == torch.float16
    torch.testing.assert_close(other(features), machine(features), rtol=0, atol=2e-3)
    other.load_state_dict(machine.state_dict())
    assert torch.equal(other(features), machine(features))


def test_unfitted_machine_scores_zero() -> None:
    assert SupportVectors(D, GAMMA)(torch.randn(3, D)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [40, 120])
def test_machine_is_loaded_with_another_number_of_vectors(count: int) -> None:
    machine, _ = fitted()
    other, _ = fitted(count)
    features = torch.from_numpy(examples(1)[0])
    assert len(other.weights) != len(machine.weights)
    for target in (other, SupportVectors(D, GAMMA)):
        target.load_state_dict(machine.state_dict())
        assert target.vectors.dtype == torch.int8
        assert torch.equal(target(features), machine(features))


def test_state_of_a_containing_module_is_loaded() -> None:
    machine, _ = fitted()
    state = {f"part.{key}": value for key, value in machine.state_dict().items()}
    outer = torch.nn.ModuleDict({"part": SupportVectors(D, GAMMA)})
    outer.load_state_dict(state)
    assert torch.equal(outer.state_dict()["part.vectors"], machine.vectors)


def test_inconsistent_state_is_rejected() -> None:
    machine, _ = fitted()
    for change in ({"weights": machine.weights[:-1]}, {"vectors": machine.vectors[:, 1:]}, {"weights": torch.ones(())}):
        with pytest.raises(RuntimeError, match="size mismatch"):
            SupportVectors(D, GAMMA).load_state_dict({**machine.state_dict(), **change})


def test_extreme_features_have_finite_values() -> None:
    machine, _ = fitted()
    for level in (1e9, -1e9):
        value = machine(torch.full((1, D), level))
        assert float(value) == pytest.approx(float(machine.offset), abs=1e-6)
