"""The speech-embedding expert: its discriminant, its size, and its mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset.batch import Batch, Modality
from engine.fitting.discriminant import fit_discriminant
from models.experts.speech_embedding import SpeechEmbeddingConfig, SpeechEmbeddingExpert
from tests.support import FEATURE_CONFIG, random_batch
from utils.errors import UsageError

SHIFT = np.array([2.0, 0.0, 0.0, -1.0])


def fitted() -> SpeechEmbeddingExpert:
    rng = np.random.default_rng(0)
    is_fake = np.arange(400) % 4 != 0
    rows = (rng.normal(size=(400, 4)) * [1, 5, 1, 0.1] + SHIFT * [1, 1, 1, 0.1] * is_fake[:, None]).astype(np.float32)
    expert = SpeechEmbeddingExpert(SpeechEmbeddingConfig(ridge=1e-3))
    fit_discriminant(expert, rows, is_fake, ridge=expert.ridge, weights=np.where(is_fake, 1.0, 3.0))
    return expert.eval()


def batch_of(rows: torch.Tensor, own: torch.Tensor) -> Batch:
    batch = random_batch([True] * len(rows), [True] * len(rows))
    return replace(batch, inputs={"speech_embedding": Modality(rows, own)})


def scored(expert: SpeechEmbeddingExpert, rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    return expert.raw(batch_of(rows, own))


def test_scores_are_the_log_odds_of_two_shifted_normal_distributions():
    expert = fitted()
    scores = expert.score_windows(torch.from_numpy(np.stack([np.zeros(4), SHIFT * [1, 1, 1, 0.1]])))
    # The log-odds of the class means are plus and minus half the squared Mahalanobis distance, 5 / 2.
    assert scores.tolist() == pytest.approx([-2.5, 2.5], abs=0.6)


def test_score_is_the_mean_over_the_windows_of_the_clip():
    expert, rows = fitted(), torch.randn(2, 3, 4)
    own = torch.tensor([[True, True, False], [False, False, False]])
    alone = expert.score_windows(rows[0, :2]).mean().float()
    assert scored(expert, rows, own).tolist() == [pytest.approx(alone.item(), rel=1e-5), 0.0]


def test_weights_of_any_size_load_into_a_new_expert():
    expert = fitted()
    other = SpeechEmbeddingExpert(SpeechEmbeddingConfig())
    other.load_state_dict(expert.state_dict())
    rows, own = torch.randn(3, 2, 4), torch.ones(3, 2, dtype=torch.bool)
    assert torch.equal(scored(other, rows, own), scored(expert, rows, own))


def test_an_unfitted_expert_masks_every_clip():
    expert = SpeechEmbeddingExpert(SpeechEmbeddingConfig())
    batch = batch_of(torch.randn(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    assert expert.mask(batch).tolist() == [False] and expert.raw(batch).tolist() == [0.0]


def test_a_missing_encoder_is_reported():
    with pytest.raises(UsageError, match="features.speech_encoder"):
        SpeechEmbeddingExpert.check_features(FEATURE_CONFIG)
