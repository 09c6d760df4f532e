"""The two thresholds of a calibration: rules, verdicts at the boundaries, cross-fitted error rates, and their description."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from utils.metrics import (
    Calibration,
    DecisionRule,
    ErrorRates,
    TargetRates,
    fit_calibration,
    summarise,
    threshold_at_fnr,
    threshold_at_fpr,
)
from utils.metrics.calibration_scale import fit_platt
from utils.metrics.cross_fit import assign_folds, cross_fit
from utils.metrics.threshold_text import describe_thresholds, fake_rule, real_rule

TWO = Calibration(threshold=0.75, threshold_rule="target_fpr", target_fpr=0.05, real_threshold=0.25)
RATES = ErrorRates(0.05, 0.0625, 0.5, 0.375, n_real=40, n_fake=16)


def overlapping(seed: int, n_real: int = 200, n_fake: int = 200, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and logits of two normal distributions, in random order."""
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.repeat([0, 1], [n_real, n_fake]))
    return target, rng.normal(size=len(target)) + shift * target


def test_real_threshold_misses_at_most_the_target_share_of_the_fakes() -> None:
    target = np.repeat([0, 1], [5, 20])
    score = np.concatenate([[0.05, 0.1, 0.22, 0.4, 0.6], np.linspace(0.2, 0.96, 20)])
    threshold = threshold_at_fnr(target, score, 0.05).value
    assert threshold == pytest.approx((0.22 + 0.24) / 2), "the lowest fake is missed, the next one has a score of 0.24"
    assert threshold_at_fnr(target, score, 0.1).value == pytest.approx((0.24 + 0.28) / 2)


@pytest.mark.parametrize("fnr", [0.05, 0.1, 0.37])
@pytest.mark.parametrize("levels", [None, 20])
def test_real_threshold_is_the_highest_that_meets_the_rate(fnr: float, levels: int | None) -> None:
    target, logit = overlapping(0)
    score = 1 / (1 + np.exp(-logit))
    score = score if levels is None else np.round(score * levels) / levels
    fakes = score[target == 1]
    threshold = threshold_at_fnr(target, score, fnr).value
    assert np.mean(fakes < threshold) <= fnr
    next_higher = score[score >= threshold].min()
    assert np.mean(fakes <= next_higher) > fnr


def test_missing_real_threshold_has_a_reason() -> None:
    target = np.array([0] + [1] * 19)
    assert threshold_at_fnr(target, np.linspace(0, 1, 20), 0.05) == (None, "only 19 fakes")
    assert threshold_at_fnr(target, np.linspace(0, 1, 20), 0.05, must_resolve=False).value is not None
    assert threshold_at_fnr([1, 1], [0.0, 0.0], 0.5).reason == "too many fakes share the lowest score"
    assert threshold_at_fnr([0, 0], [0.0, 1.0], 0.5).reason == "only 0 fakes"
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold_at_fnr([0, 1], [0.0, 1.0], 1.0)


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (0.0, "real"),
        (np.nextafter(0.25, 0), "real"),
        (0.25, "inconclusive"),
        (np.nextafter(0.75, 0), "inconclusive"),
        (0.75, "fake"),
        (1.0, "fake"),
        (None, "unscored"),
        (float("nan"), "unscored"),
    ],
)
def test_verdicts_at_the_boundaries(score: float | None, verdict: str) -> None:
    assert TWO.verdict(score) == verdict


def test_one_threshold_has_no_inconclusive_verdict() -> None:
    stored = {"method": "platt", "slope": 0.45, "bias": 0.2, "threshold": 0.7, "threshold_rule": "target_fpr"}
    one = Calibration.from_dict({**stored, "target_fpr": 0.05, "fitted_on": "out_of_fold", "n": 151, "isotonic": None})
    assert (one.thresholds, one.rates) == ({"fake": 0.7}, None)
    assert [one.verdict(score) for score in (0.1, np.nextafter(0.7, 0), 0.7, None)] == [
        "real",
        "real",
        "fake",
        "unscored",
    ]
    equal = replace(one, real_threshold=0.7)
    assert [equal.verdict(score) for score in (np.nextafter(0.7, 0), 0.7)] == ["real", "fake"]


def test_both_thresholds_are_fitted_at_their_rates() -> None:
    target, logit = overlapping(1)
    fitted = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(fpr=0.05, fnr=0.1))
    score = fitted.score(logit)
    assert fitted.threshold == threshold_at_fpr(target, score, 0.05).value
    assert fitted.real_threshold == threshold_at_fnr(target, score, 0.1).value < fitted.threshold
    assert (fitted.target_fpr, fitted.target_fnr, fitted.reason) == (0.05, 0.1, "")


def test_separated_classes_leave_no_inconclusive_zone() -> None:
    target, logit = overlapping(2, shift=8.0)
    fitted = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(0.05, 0.1))
    assert fitted.real_threshold == fitted.threshold
    assert set(map(fitted.verdict, fitted.score(logit))) == {"fake", "real"}
    assert "equal to the fake threshold: at most 10 % of fakes" in real_rule(fitted)


def test_too_few_fakes_leave_one_threshold_with_a_reason() -> None:
    target, logit = overlapping(3, n_fake=19)
    fitted = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(0.05, 0.05))
    assert fitted.real_threshold is None
    assert fitted.reason == "no threshold at a false-negative rate of 0.05: only 19 fakes; using one threshold"
    assert fitted.rates is not None and fitted.rates.inconclusive_fake == 0


def test_rates_are_measured_without_the_fold_of_a_clip() -> None:
    target, logit = overlapping(4, 60, 60)
    groups = np.random.default_rng(0).integers(0, 20, 120)
    fitted = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(0.05, 0.05), groups=groups)
    verdicts = np.empty(120, dtype=object)
    fold_of = assign_folds(target == 1, groups, 5, 0)
    for fold in range(5):
        held = fold_of == fold
        slope, bias = fit_platt(target[~held], logit[~held])
        others = replace(fitted, slope=slope, bias=bias).score(logit)
        kept = target[~held], others[~held]
        fake_from = threshold_at_fpr(*kept, 0.05, must_resolve=False).value
        real_below = min(fake_from, threshold_at_fnr(*kept, 0.05, must_resolve=False).value)
        inner = Calibration(threshold=fake_from, real_threshold=real_below)
        verdicts[held] = [inner.verdict(score) for score in others[held]]
    real, fake = verdicts[target == 0], verdicts[target == 1]
    assert fitted.rates == ErrorRates(
        np.mean(real == "fake"), np.mean(fake == "real"), np.mean(real == "inconclusive"), np.mean(fake == "inconclusive"),
        n_real=60, n_fake=60,
    )  # fmt: skip


def test_measured_rates_show_sources_on_different_scales() -> None:
    """Check that the rates of unseen groups are worse than the targets if each group shifts its scores."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(12), 40)
    target = np.tile([0, 1], 240)
    logit = rng.normal(size=480) + target + np.repeat(rng.normal(scale=6, size=12), 40)
    rates = TargetRates(0.05, 0.05)
    by_group = fit_calibration(target, logit, fitted_on="valset", rates=rates, groups=groups).rates
    by_clip = fit_calibration(target, logit, fitted_on="valset", rates=rates).rates
    assert by_group.false_alarms + by_group.missed > 1.5 * (by_clip.false_alarms + by_clip.missed)


def test_rates_that_cannot_be_measured_have_a_reason() -> None:
    target, logit = overlapping(6, 40, 40)
    fitted = fit_calibration(target, logit, fitted_on="valset", groups=np.zeros(80))
    assert fitted.rates is None
    assert "error rates not measured: cross-fitting needs 2 groups of each class but one class has 1" in fitted.reason


def test_calibration_survives_json() -> None:
    target, logit = overlapping(7)
    fitted = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(0.05, 0.05))
    assert fitted.rates is not None and fitted.real_threshold is not None
    assert Calibration.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold": 0.5, "real_threshold": 0.6},
        {"real_threshold": float("nan")},
        {"rates": {**RATES.__dict__, "missed": 1.5}},
        {"rates": {**RATES.__dict__, "n_real": -1}},
    ],
)
def test_invalid_thresholds_and_rates_are_rejected(fields: dict) -> None:
    with pytest.raises(ValueError, match="real threshold|calibration"):
        Calibration.from_dict(fields)


def test_summary_has_thresholds_and_rates() -> None:
    score = [0.1, 0.25, 0.8, 0.9, 0.2, 0.5, 0.75, 0.9]
    table = pd.DataFrame({"target": [0] * 4 + [1] * 4, "score": score})
    summary = summarise(table, split="testset", rule=DecisionRule(TWO), bootstrap=0)
    assert summary["thresholds"] == {
        "fake": 0.75, "real": 0.25, "false_alarms": 0.5, "missed": 0.25, "inconclusive": {"real": 0.25, "fake": 0.25}
    }  # fmt: skip
    assert (summary["threshold"], summary["at_threshold"]) == (0.75, {"tpr": 0.5, "fpr": 0.5})
    single = summarise(table, split="testset", rule=DecisionRule(TWO, threshold=0.5), bootstrap=0)["thresholds"]
    assert (single["fake"], single["real"], single["inconclusive"]) == (0.5, 0.5, {"real": 0.0, "fake": 0.0})
    unlabelled = summarise(table.drop(columns="target"), split="testset", rule=DecisionRule(TWO), bootstrap=0)
    assert unlabelled["thresholds"]["missed"] is None and "thresholds.missed" in unlabelled["reasons"]


def test_unscored_clips_count_as_the_policy_states() -> None:
    table = pd.DataFrame({"target": [0, 0, 1, 1], "score": [0.1, None, 0.9, None]})
    expected = {"exclude": (0.0, 0.0), "as-real": (0.0, 0.5), "as-fake": (0.5, 0.0), "as-chance": (0.25, 0.25)}
    for policy, (alarms, missed) in expected.items():
        summary = summarise(table, split="x", rule=DecisionRule(TWO), coverage_policy=policy, bootstrap=0)["thresholds"]
        assert (summary["false_alarms"], summary["missed"]) == (alarms, missed)
        assert summary["inconclusive"] == {"real": 0.0, "fake": 0.0}


def test_summary_of_the_fitted_split_repeats_the_measured_rates() -> None:
    target, logit = overlapping(8, 80, 80)
    fitted = fit_calibration(target, logit, fitted_on="valset", rates=TargetRates(0.05, 0.05))
    table = pd.DataFrame({"target": target, "logit": logit})
    summary = summarise(table, split="valset", rule=DecisionRule(fitted, in_sample=True), bootstrap=0)["thresholds"]
    assert (summary["false_alarms"], summary["missed"]) == (fitted.rates.false_alarms, fitted.rates.missed)
    assert fitted.rates == cross_fit(target, logit, like=fitted).rates(target)


def test_thresholds_are_described_with_their_rates() -> None:
    assert describe_thresholds(replace(TWO, rates=RATES, fitted_on="out_of_fold")) == (
        "fake from 0.7500 (5 % of 40 real clips called fake),\nreal below 0.2500 (6.2 % of 16 fakes called real),\n"
        "inconclusive between (50 % of the real clips, 37.5 % of the fakes);\nrates measured out of fold"
    )
    assert describe_thresholds(TWO) == "fake from 0.7500,\nreal below 0.2500,\ninconclusive between"
    assert describe_thresholds(Calibration(threshold=0.7)) == "fake from 0.7000, real below it"
    pseudo = replace(TWO, rates=replace(RATES, pseudo_fakes=True), real_threshold=None, fitted_on="valset")
    assert describe_thresholds(pseudo) == (
        "fake from 0.7500 (5 % of 40 real clips called fake), real below it (6.2 % of 16 pseudo-fakes called real); "
        "rates measured by cross-fitting on valset"
    )


def test_rules_in_words() -> None:
    assert fake_rule(TWO) == "set to call at most 5 % of real clips fake"
    assert real_rule(TWO) == "set to call at most 5 % of fakes real"
    assert fake_rule(Calibration()) == "not fitted to any data"
    assert real_rule(Calibration()) == "equal to the fake threshold: no second threshold was fitted"
    assert "balanced accuracy" in fake_rule(Calibration(threshold_rule="balanced_accuracy"))
