"""Contract of every registered model. Models added to the registry are tested automatically."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset.batch import Batch, Modality
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.scoring import FLIPS
from engine.torch_scorer import score_batches
from engine.train import batch_loss
from models import MODELS, build_model, model_config
from models.base import DetectorOutput
from tests.support import SIZE_PX, WITH_VOICE, K, random_batch, tiny_model, with_input
from utils.features.clip import ClipFacts
from utils.metrics import Calibration

HAS_MEL = [True, True, True, False, False, True, True, False]
HAS_COVARIANCE = [True, True, False, True, True, True, False, False]

pytestmark = pytest.mark.parametrize("name", list(MODELS))


def built(name):
    torch.manual_seed(0)
    return build_model(tiny_model(name), WITH_VOICE)


def skip_if_fitted(name):
    if command := MODELS.get(name).built_class.fitted_by:
        pytest.skip(f"fitted by {command}, not by gradient descent")


def usable_batch(model, seed=0):
    batch = random_batch(HAS_MEL, HAS_COVARIANCE, seed)
    return batch.select(model.usable(batch))


def test_terms_are_finite_and_sum_to_the_logit(name):
    model = built(name)
    batch = usable_batch(model)
    for training in (True, False):
        output = model.train(training)(batch)
        assert output.terms
        for term in output.terms.values():
            assert term.shape == (len(batch),) and term.dtype == torch.float32
            assert torch.isfinite(term).all()
        torch.testing.assert_close(output.logit, torch.stack(list(output.terms.values())).sum(dim=0))


def test_the_score_differs_between_clips(name):
    model = built(name).eval()
    with torch.no_grad():
        logit = model(usable_batch(model)).logit
    assert len(logit.unique()) == len(logit)


def test_usable_requires_a_modality(name):
    model = built(name)
    batch = random_batch([True, False], [True, False])
    usable = model.usable(batch)
    assert usable.dtype == torch.bool
    assert usable.tolist() == [True, False]


def test_every_parameter_gets_a_finite_gradient(name):
    skip_if_fitted(name)
    model = built(name).train()
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    # Residual blocks start as the identity (their last normalisation is zero), so some first gradients are zero.
    for _ in range(2):
        optimizer.zero_grad()
        loss, _ = batch_loss(model, usable_batch(model))
        loss.backward()
        optimizer.step()
    still = [key for key, weights in model.named_parameters() if weights.grad is None or not weights.grad.any()]
    assert still == []
    assert all(torch.isfinite(weights.grad).all() for weights in model.parameters())


def test_every_term_changes_the_training_loss(name):
    skip_if_fitted(name)
    model = built(name).train()
    batch = usable_batch(model)
    torch.manual_seed(0)
    terms = model(batch).terms

    def loss_of(changed):
        class Fixed(torch.nn.Module):
            def forward(self, batch):
                return DetectorOutput(changed)

        return batch_loss(Fixed(), batch)[0]

    before = loss_of(terms)
    for key in terms:
        assert terms[key].requires_grad, f"{key} is detached from the graph"
        (slope,) = torch.autograd.grad(before, terms[key], retain_graph=True)
        assert slope.abs().min() > 0
        assert loss_of(terms | {key: terms[key] + 1}) != before


def test_training_steps_lower_the_loss(name):
    skip_if_fitted(name)
    model = built(name).train()
    batch = usable_batch(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss, _ = batch_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.7 * losses[0]


@torch.no_grad()
def test_logit_does_not_depend_on_other_clips_in_the_batch(name):
    model = built(name).train()
    model(usable_batch(model))  # updates the running statistics of batch normalisation
    model.eval()
    batch = usable_batch(model, seed=1)
    together = model(batch).logit
    others = usable_batch(model, seed=2)
    for row in range(len(batch)):
        alone = torch.arange(len(batch)) == row
        one = batch.select(alone)
        torch.testing.assert_close(model(one).logit, together[alone], rtol=0, atol=1e-5)
        torch.testing.assert_close(model(joined(others, one)).logit[-1:], together[alone], rtol=0, atol=1e-5)


def joined(first, second):
    inputs = {
        name: Modality(torch.cat([one.values, other.values]), torch.cat([one.mask, other.mask]))
        for (name, one), other in zip(first.inputs.items(), second.inputs.values(), strict=True)
    }
    return Batch(torch.cat([first.index, second.index]), torch.cat([first.target, second.target]), inputs)


@torch.no_grad()
def test_evaluation_mode_is_deterministic_and_uses_no_random_numbers(name):
    model = built(name).eval()
    batch = usable_batch(model)
    state = torch.get_rng_state()
    first, second = model(batch).logit, model(batch).logit
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_absent_input_is_not_read_and_differs_from_zeros(name):
    model = built(name).train()
    model(usable_batch(model))
    model.eval()
    complete = random_batch([True] * 4, [True] * 4)
    for slot in model.inputs:
        modality = complete.inputs[slot]
        absent = with_input(complete, slot, mask=torch.zeros_like(modality.mask))
        if not model.usable(absent).all():
            assert not model.usable(absent).any()
            continue
        logit = model(absent).logit
        zeros = torch.zeros_like(modality.values)
        assert torch.equal(model(with_input(absent, slot, values=zeros)).logit, logit)
        silent = model(with_input(complete, slot, values=zeros)).logit
        ignores_it = torch.equal(silent, model(complete).logit)
        assert ignores_it or (silent - logit).abs().min() > 1e-6


@torch.no_grad()
def test_a_checkpoint_restores_the_same_model(name, tmp_path):
    model = built(name).train()
    model(usable_batch(model))
    calibration = Calibration(method="platt", slope=1.5, bias=-0.25, threshold=0.7, fitted_on="valset", n=9)
    saved = Checkpoint(
        model=tiny_model(name), features=WITH_VOICE, weights=model.state_dict(), calibration=calibration, epoch=3
    )
    loaded = load_checkpoint(saved.save(tmp_path / "some" / "best.pth"))
    assert (loaded.epoch, loaded.calibration, loaded.features) == (3, calibration, WITH_VOICE)
    rebuilt = loaded.build()
    assert not rebuilt.training
    batch = usable_batch(model, seed=1)
    assert torch.equal(rebuilt(batch).logit, model.eval()(batch).logit)
    for key, weights in model.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[key], weights), key


@pytest.mark.parametrize("tta", list(FLIPS))
def test_scoring_returns_every_row_and_does_not_score_unusable_clips(name, tta):
    model = built(name).train()
    batch = random_batch(HAS_MEL, HAS_COVARIANCE)
    facts = [ClipFacts("ok")] * 7 + [ClipFacts("failed", "unreadable")]
    calibration = Calibration(method="platt", slope=2.0, bias=0.5)

    def score(batches):
        return score_batches(model, batches, device=torch.device("cpu"), calibration=calibration, tta=tta)

    table = score([(batch, facts)])
    assert model.training, "scoring restores training mode"
    assert table["index"].tolist() == list(range(8))
    usable = model.usable(batch).numpy()
    assert (table["logit"].notna() == usable).all() and (table["score"].notna() == usable).all()
    assert table["reason"].tolist() == [*("" if ok else "missing_modality" for ok in usable[:7]), "unreadable"]
    np.testing.assert_allclose(table["score"][usable], 1 / (1 + np.exp(-(2 * table["logit"][usable] + 0.5))))
    evidence = table.filter(like="evidence_")
    np.testing.assert_allclose(evidence.sum(axis=1)[usable], table["logit"][usable], atol=1e-5)
    one_by_one = score([(batch.select(batch.index == row), [facts[row]]) for row in range(8)])
    np.testing.assert_allclose(one_by_one["logit"], table["logit"], atol=1e-5)


def test_tta_averages_logits_over_flips(name):
    model = built(name).eval()
    batch = usable_batch(model)
    expected = np.mean([score_one(model, batch.flipped(time=t, frequency=f)) for t, f in FLIPS[4]], axis=0)
    np.testing.assert_allclose(score_one(model, batch, tta=4), expected, atol=1e-5)
    assert len(FLIPS[1]) == 1 and len(FLIPS[2]) == 2 and len(FLIPS[4]) == 4


def score_one(model, batch, tta=1):
    facts = [ClipFacts("ok")] * len(batch)
    table = score_batches(model, [(batch, facts)], device=torch.device("cpu"), calibration=Calibration(), tta=tta)
    return table["logit"].to_numpy()


def test_a_non_finite_logit_is_unscored_with_a_reason(name):
    model = built(name)
    with torch.no_grad():
        for weights in model.state_dict().values():
            if weights.is_floating_point():
                weights.fill_(float("nan"))
    batch = usable_batch(model)
    facts = [ClipFacts("partial", "too_long")] + [ClipFacts("ok")] * (len(batch) - 1)
    table = score_batches(model, [(batch, facts)], device=torch.device("cpu"), calibration=Calibration())
    assert table["score"].isna().all()
    assert table["reason"].tolist() == ["too_long+non_finite"] + ["non_finite"] * (len(batch) - 1)


def test_input_sizes_follow_the_feature_config(name):
    batch = random_batch([True], [True])
    assert batch.inputs["mel"].values.shape == (1, 1, SIZE_PX, SIZE_PX)
    assert batch.inputs["covariance"].values.shape == (1, K, K)
    assert built(name).eval()(batch).logit.shape == (1,)


@torch.no_grad()
def test_a_model_reads_only_its_declared_inputs(name):
    model = built(name).eval()
    batch = usable_batch(model)
    declared = replace(batch, inputs={key: batch.inputs[key] for key in model.inputs})
    assert torch.equal(model(declared).logit, model(batch).logit)
    assert model_config(tiny_model(name)).inputs == model.inputs
