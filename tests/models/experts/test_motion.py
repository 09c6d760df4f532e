"""The motion expert: smoothness of a series, its mask, and scores that do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models import build_model, model_config
from models.experts.motion import LARGEST_Z, LEAST_STEPS, MotionConfig, MotionExpert, smoothness
from tests.support import WITH_FACE, random_batch, tiny_model, with_input
from utils.features.face.motion import MOTION_CHANNELS


def series(*channels: np.ndarray) -> torch.Tensor:
    """Return motion (1, T, C); the first array is the velocity of every region, the second the eyes' brightness."""
    velocity, brightness = channels
    columns = [velocity] * (MOTION_CHANNELS - 1) + [brightness]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))[None]


def everywhere(motion: torch.Tensor) -> torch.Tensor:
    return torch.ones(motion.shape[:2], dtype=torch.bool)


def fitted() -> MotionExpert:
    expert = MotionExpert(MotionConfig())
    expert.centre.copy_(torch.tensor([0.2, 0.1]))
    expert.spread.copy_(torch.tensor([0.3, 0.4]))
    return expert


def test_slow_sine_is_smooth_and_white_noise_is_not() -> None:
    sine, noise = np.sin(np.arange(100) / 5), np.random.default_rng(0).standard_normal(100)
    for motion, expected in ((series(sine, noise), [1, 0]), (series(noise, sine), [0, 1])):
        values = smoothness(motion, everywhere(motion))
        assert values.dtype == torch.float64
        np.testing.assert_allclose(values[0], expected, atol=0.2)


def test_offset_and_scale_of_the_motion_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    motion = series(rng.standard_normal(60), rng.standard_normal(60))
    changed = 3 * motion + 7
    torch.testing.assert_close(
        smoothness(changed, everywhere(motion)), smoothness(motion, everywhere(motion)), atol=1e-5, rtol=0
    )


def test_still_face_has_no_smoothness() -> None:
    motion = series(np.full(50, 2.0), np.zeros(50))
    np.testing.assert_allclose(smoothness(motion, everywhere(motion)), 0, atol=1e-6)


def test_padding_does_not_change_the_smoothness() -> None:
    rng = np.random.default_rng(2)
    motion = series(rng.standard_normal(40), rng.standard_normal(40))
    padded = torch.cat([motion, torch.full((1, 30, MOTION_CHANNELS), 50.0)], dim=1)
    mask = torch.arange(70)[None] < 40
    torch.testing.assert_close(smoothness(padded, mask), smoothness(motion, everywhere(motion)))


def test_expert_abstains_below_one_second() -> None:
    batch = random_batch([True] * 3, [True, True, False])
    steps = torch.arange(batch.inputs["motion"].mask.shape[1])
    mask = steps < torch.tensor([LEAST_STEPS, LEAST_STEPS - 1, 0])[:, None]
    expert = fitted()
    assert expert.mask(with_input(batch, "motion", mask=mask)).tolist() == [True, False, False]
    assert expert.mask(batch).tolist() == [True, True, False]
    assert torch.isfinite(expert.raw(with_input(batch, "motion", mask=mask))).all()


def test_score_does_not_depend_on_other_clips() -> None:
    expert, batch = fitted(), random_batch([True] * 4, [True, False, True, True])
    together = expert.raw(batch)
    assert together.dtype == torch.float32 and len(together.unique()) == 4
    for row in range(4):
        torch.testing.assert_close(expert.raw(batch.select(torch.arange(4) == row)), together[row : row + 1])


def test_score_is_higher_for_smoother_motion_and_each_part_is_bounded() -> None:
    expert = fitted()
    rising = expert.score(torch.tensor([[0.2, 0.1], [0.5, 0.1], [0.5, 0.5]], dtype=torch.float64))
    np.testing.assert_allclose(rising, [0, 1, 2], atol=1e-5)
    expert.spread.fill_(1e-3)
    extreme = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]], dtype=torch.float64)
    assert expert.score(extreme).tolist() == [2 * LARGEST_Z, -2 * LARGEST_Z, 0]


def test_loaded_expert_gives_the_same_scores() -> None:
    expert, batch = fitted(), random_batch([True] * 3, [True] * 3)
    restored = MotionExpert(MotionConfig())
    assert not torch.equal(restored.raw(batch), expert.raw(batch))
    restored.load_state_dict(expert.state_dict())
    assert torch.equal(restored.raw(batch), expert.raw(batch)) and not list(expert.parameters())


def test_detector_of_the_expert_needs_a_face() -> None:
    model = build_model(tiny_model("av_experts", experts={"motion": {}}), WITH_FACE)
    assert model.inputs == ("motion",)
    assert model.usable(random_batch([True, True], [True, False])).tolist() == [True, False]
    with pytest.raises(ValidationError):
        model_config({"name": "av_experts", "experts": {"motion": {"window": 3}}})
