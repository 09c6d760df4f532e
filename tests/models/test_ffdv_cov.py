"""System A: its equation, its ablations and its modality masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dataset.batch import Batch, Modality
from models import build_model
from models.ffdv_cov import CovarianceBranch
from tests.support import (
    BATCH_INPUTS,
    FEATURE_CONFIG,
    K,
    one_sentence,
    random_batch,
    tiny_model,
    write_root,
    write_tiny_config,
)
from utils.features.config import FeatureConfig

BOTH = random_batch([True] * 4, [True] * 4)


def built(features=FEATURE_CONFIG, **settings):
    torch.manual_seed(0)
    return build_model(tiny_model("ffdv_cov", **settings), features)


def test_covariance_branch_matches_the_equation_of_the_report():
    branch = CovarianceBranch(K)
    covariance = BOTH.inputs["covariance"].values
    c = covariance.numpy().sum(axis=2)
    weight, bias = branch.linear.weight.detach().numpy(), branch.linear.bias.detach().numpy()
    expected = (c @ weight.T + bias).clip(min=0) + 0.01 * c
    torch.testing.assert_close(branch(covariance), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_logit_is_the_head_plus_alpha_times_the_cosine():
    for alpha in (0.5, 5.0):
        model = built(alpha=alpha).eval()
        terms = model(BOTH).terms
        speech = model.mel_branch(BOTH.inputs["mel"].values)
        frames = model.covariance_branch(BOTH.inputs["covariance"].values)
        torch.testing.assert_close(terms["cosine"], alpha * F.cosine_similarity(speech, frames))
        torch.testing.assert_close(terms["head"], model.head(torch.cat([speech, frames], 1))[:, 0])
        torch.testing.assert_close(model(BOTH).logit, terms["head"] + terms["cosine"])


@torch.no_grad()
def test_absent_modality_masks_the_cosine_of_that_clip_only():
    batch = random_batch([True, False, True], [True, True, False])
    cosine = built().eval()(batch).terms["cosine"]
    assert cosine[0] != 0
    assert cosine[1:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "terms", "usable"),
    [
        ({"audio_branch": False}, {"head"}, [True, False, True]),
        ({"video_branch": False}, {"head"}, [True, True, False]),
        ({"cosine": False}, {"head"}, [True, True, True]),
        ({"alpha": 2.0}, {"head", "cosine"}, [True, True, True]),
    ],
)
def test_each_ablation_builds_runs_and_declares_its_inputs(settings, terms, usable):
    model = built(**settings)
    batch = random_batch([True, True, False], [True, False, True])
    assert model.usable(batch).tolist() == usable
    output = model(batch.select(model.usable(batch)))
    assert set(output.terms) == terms
    output.logit.sum().backward()
    assert all(weights.grad is not None for weights in model.parameters())


def test_disabled_branch_has_no_weights():
    assert not any("mel" in name for name, _ in built(audio_branch=False).named_parameters())
    assert not any("covariance" in name for name, _ in built(video_branch=False).named_parameters())


@pytest.mark.parametrize("covariance", ["frames", "bins"])
@pytest.mark.parametrize("top_k", [64, 96])
def test_k_sets_the_width_of_both_branches(top_k, covariance):
    features = FeatureConfig.model_validate({"video": {"top_k": top_k, "covariance": covariance}})
    model = built(features)
    assert model.head.in_features == 2 * top_k
    assert model(random_batch([True, True], [True, True], config=features.with_inputs(BATCH_INPUTS))).logit.shape == (
        2,
    )


def test_disabling_both_branches_is_an_error(tmp_path, capsys):
    import main

    root = write_root(tmp_path, train=2, val=2, test=2)
    config = write_tiny_config(root, model=tiny_model(audio_branch=False, video_branch=False))
    line = one_sentence(main.main, ["--config", str(config)], capsys)
    assert "audio_branch and video_branch are both off" in line


def test_modality_dropout_masks_the_given_share_in_training_only():
    model = built(modality_dropout=0.4)
    mask = torch.arange(2001) < 2000
    inputs = {
        "mel": Modality(torch.zeros(2001), mask),
        "covariance": Modality(torch.zeros(2001), torch.ones_like(mask)),
    }
    batch = Batch(torch.arange(2001), torch.zeros(2001), inputs)
    torch.manual_seed(1)
    has_mel, has_covariance = model.train()._visible(batch)
    assert 0.17 < (~has_mel[:-1]).float().mean() < 0.23
    assert 0.17 < (~has_covariance).float().mean() < 0.23
    assert (has_mel | has_covariance).all()
    has_mel, has_covariance = model.eval()._visible(batch)
    assert torch.equal(has_mel, mask) and has_covariance.all()
