"""The sync expert: it estimates the lag between mouth and speech and is robust to appearance and lighting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.fitting.canonical import canonical_maps, principal_axes
from engine.fitting.sync import fit_sync
from models.experts import EXPERTS
from models.experts.sync import SyncConfig, SyncExpert
from tests.support import random_batch, talking, with_input
from utils.errors import UsageError
from utils.features.face.features import MOUTH_COLUMNS, MOUTH_ROWS
from utils.features.speech import MAX_LAG, PAD

SMALL = SyncConfig(mouth_dims=4, speech_dims=6, components=2)


def tensors(pair: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(pair[0]), torch.from_numpy(pair[1])


@pytest.fixture(scope="module")
def expert() -> SyncExpert:
    expert = SyncExpert(SMALL)
    fit_sync(expert, *zip(*[talking(seed) for seed in range(8)], strict=True))
    return expert


def test_lag_of_unseen_clips_is_estimated(expert: SyncExpert) -> None:
    for seed, lag in ((50, 0), (51, 0), (52, 8), (53, -5)):
        curve = expert.curve(*tensors(talking(seed, lag=lag)))
        assert curve.shape == (2 * MAX_LAG + 1,) and curve.abs().max() <= 1
        assert int(curve.argmax()) - MAX_LAG == lag and curve.max() > 0.6


def test_swapped_and_shifted_speech_scores_higher_than_genuine_speech(expert: SyncExpert) -> None:
    own = [float(expert.score(*tensors(talking(seed)))) for seed in range(60, 66)]
    other = [float(expert.score(tensors(talking(seed))[0], tensors(talking(seed + 100))[1])) for seed in range(60, 66)]
    moved = [float(expert.score(*tensors(talking(seed, lag=8)))) for seed in range(60, 66)]
    assert max(own) < min(*other, *moved) and min(own) >= -2


def test_appearance_and_lighting_hardly_change_the_score(expert: SyncExpert) -> None:
    mouth, speech = tensors(talking(70))
    rng = np.random.default_rng(0)
    still = torch.from_numpy(rng.integers(0, 40, (MOUTH_ROWS, MOUTH_COLUMNS), dtype=np.uint8))
    dimmed = (mouth // 2 + still).clamp(0, 255)
    assert float(expert.score(dimmed, speech)) == pytest.approx(float(expert.score(mouth, speech)), abs=0.03)


def test_a_still_mouth_has_a_finite_score(expert: SyncExpert) -> None:
    mouth, speech = tensors(talking(71))
    assert float(expert.score(torch.full_like(mouth, 80), speech)) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(expert.score(mouth, torch.zeros_like(speech)))


def test_padding_frames_do_not_change_the_score(expert: SyncExpert) -> None:
    batch = random_batch([True, True, True, False], [True, True, False, True])
    mouth, speech = batch.inputs["mouth"], batch.inputs["speech"]
    assert expert.mask(batch).tolist() == [True, True, False, False]
    raw = expert.raw(batch)
    assert raw.dtype == torch.float32 and raw[2:].tolist() == [0.0, 0.0] and raw[0] != raw[1]
    for row in (0, 1):
        frames = int(mouth.mask[row].sum())
        alone = expert.score(mouth.values[row, :frames], speech.values[row, : frames + 2 * PAD])
        assert raw[row] == alone.float()
    noise = torch.where(mouth.mask[:, :, None, None], mouth.values, 77).to(torch.uint8)
    assert torch.equal(expert.raw(with_input(batch, "mouth", values=noise)), raw)


def test_fitting_is_deterministic_and_maps_are_in_the_state_dict(expert: SyncExpert) -> None:
    again = EXPERTS.get("sync").built_class(SMALL)
    fit_sync(again, *zip(*[talking(seed) for seed in range(8)], strict=True))
    for name, buffer in expert.state_dict().items():
        assert torch.equal(again.state_dict()[name], buffer), name
    restored = SyncExpert(SMALL)
    restored.load_state_dict(expert.state_dict())
    pair = tensors(talking(80))
    assert torch.equal(restored.score(*pair), expert.score(*pair))
    assert not list(expert.parameters())


def test_too_many_components_are_rejected() -> None:
    with pytest.raises(UsageError, match="more components than dimensions"):
        SyncExpert(SyncConfig(mouth_dims=2, speech_dims=3, components=4))


def test_canonical_maps_find_the_shared_directions() -> None:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((4000, 2))
    turns = [np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (5, 4)]
    left = np.concatenate([rng.standard_normal((4000, 3)), shared], axis=1) @ turns[0]
    right = np.concatenate([shared * [1, -3], rng.standard_normal((4000, 2))], axis=1) @ turns[1]
    maps = canonical_maps(left - left.mean(axis=0), right - right.mean(axis=0), components=2)
    agreement = np.corrcoef((left @ maps.left).T, (right @ maps.right).T)[:2, 2:]
    np.testing.assert_allclose(np.diag(agreement), 1, atol=0.1)
    assert (np.diff(maps.strength) <= 0).all() and 0.6 < maps.strength[1] <= 1


def test_principal_axes_are_orthogonal_and_ordered() -> None:
    rows = np.random.default_rng(0).standard_normal((500, 6)) * [1, 9, 2, 5, 0.1, 3]
    axes = principal_axes(rows - rows.mean(axis=0), 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.abs(axes).argmax(axis=0).tolist() == [1, 3, 5]
