"""Split summaries: documented keys, a reason for every missing figure, and coverage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from utils.errors import UsageError
from utils.metrics import Calibration, DecisionRule, fit_calibration, roc_auc, same_source_auc, summarise
from utils.metrics.coverage import POLICIES

DOCUMENTED = {
    "split", "n", "coverage", "auc", "tpr_at_fpr", "eer", "ap", "balanced_accuracy", "brier", "ece", "threshold", "in_sample",
    "initialisation", "per_type", "same_source", "reasons",
}  # fmt: skip
METRICS = (
    "auc", "auc_by_group", "tpr_at_fpr", "eer", "ap", "balanced_accuracy", "at_threshold", "brier", "brier_uncalibrated",
    "ece", "ece_uncalibrated", "same_source", "macro_auc", "per_type", "per_modality", "per_source", "policies",
)  # fmt: skip


def draw(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return a predictions table with every label column and one in ten clips unscored."""
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(n) % 2)
    logit = 4 * (rng.normal(size=n) + 1.2 * target) - 2
    unscored = rng.random(n) < 0.1
    return pd.DataFrame({
        "video_name": [f"{i:05}.mp4" for i in range(n)],
        "target": target,
        "score": np.where(unscored, np.nan, expit(logit)),
        "logit": np.where(unscored, np.nan, logit),
        "status": np.where(unscored, "failed", "ok"),
        "reason": np.where(unscored, "no_face", ""),
        "type": np.where(target == 1, rng.choice(["swap", "reenact", "tts"], n), ""),
        "modality": np.where(target == 1, rng.choice(["FVRA", "RVFA"], n), "RVRA"),
        "source": rng.choice(["s1", "s2", "s3"], n),
        "group": rng.choice([f"g{i}" for i in range(60)], n),
    })  # fmt: skip


def missing(figures: Any, path: str) -> Iterator[str]:
    """Yield the dotted path of every ``None`` below a figure."""
    if figures is None:
        yield path
    elif isinstance(figures, dict):
        for key, below in figures.items():
            yield from missing(below, f"{path}.{key}")


def assert_every_none_has_a_reason(summary: dict[str, Any]) -> None:
    for metric in METRICS:
        for path in missing(summary[metric], metric):
            parent = path.rpartition(".")[0]
            covered_by = {path, parent, f"{parent}.auc", f"{parent}.value"}
            assert any(summary["reasons"].get(cover) for cover in covered_by), path


def all_numbers(figures: dict[str, Any]) -> Iterator[Any]:
    for figure in figures.values():
        if isinstance(figure, dict):
            yield from all_numbers(figure)
        else:
            yield figure


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("n", [2, 5, 30, 400])
def test_summary_has_documented_keys_and_a_reason_for_every_none(n: int, policy: str) -> None:
    summary = summarise(draw(n), split="valset", coverage_policy=policy, bootstrap=50, initialisation="random")
    assert set(summary) >= DOCUMENTED
    assert set(summary["auc"]) == {"value", "low", "high"}
    assert set(summary["tpr_at_fpr"]) == {"0.001", "0.005", "0.01"}
    assert set(summary["same_source"]) == {"value", "low", "high", "sources"}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert_every_none_has_a_reason(summary)


def test_figures_equal_the_metric_functions_on_scored_clips() -> None:
    table = draw()
    scored = table.dropna(subset="logit")
    summary = summarise(table, split="valset", bootstrap=100)
    assert summary["auc"]["value"] == roc_auc(scored["target"], scored["logit"]).value
    assert summary["n"] == 400
    assert summary["n_scored"] == len(scored)
    assert summary["coverage"] == len(scored) / 400
    assert summary["coverage_reasons"] == {"no_face": 400 - len(scored)}
    within = same_source_auc(scored["target"], scored["logit"], scored["source"], resamples=100)
    assert summary["same_source"] == {"value": within.value, "low": within.low, "high": within.high, "sources": 3}
    assert summary["auc_by_group"]["groups"] == scored["group"].nunique()
    assert summary["reasons"].keys() == {"tpr_at_fpr.0.001", "tpr_at_fpr.0.005"}


def test_each_type_is_compared_with_all_reals_and_macro_auc_is_unweighted() -> None:
    table = draw()
    summary = summarise(table, split="valset", bootstrap=0)
    scored = table.dropna(subset="logit")
    for kind in ("swap", "reenact", "tts"):
        chosen = scored[(scored["target"] == 0) | (scored["type"] == kind)]
        row = summary["per_type"][kind]
        assert row["auc"] == pytest.approx(roc_auc(chosen["target"], chosen["logit"]).value)
        assert row["low"] < row["auc"] < row["high"]
        assert row["n"] == (table["type"] == kind).sum()
    assert summary["macro_auc"] == pytest.approx(np.mean([row["auc"] for row in summary["per_type"].values()]))
    assert set(summary["per_modality"]) == {"FVRA", "RVFA"}
    assert set(summary["per_source"]) == {"s1", "s2", "s3"}


def test_coverage_policies_count_unscored_clips() -> None:
    table = pd.DataFrame({"target": [0, 0, 1, 1, 1], "score": [0.1, np.nan, 0.9, np.nan, 0.05]})
    aucs = {policy: row["auc"] for policy, row in summarise(table, split="x")["policies"].items()}
    as_real = roc_auc([0, 0, 1, 1, 1], [0.1, -1, 0.9, -1, 0.05]).value
    as_fake = roc_auc([0, 0, 1, 1, 1], [0.1, 2, 0.9, 2, 0.05]).value
    scored_pairs_won, tossed_pairs = 1, 4
    assert aucs == pytest.approx({
        "exclude": 0.5,
        "as-real": as_real,
        "as-fake": as_fake,
        "as-chance": (scored_pairs_won + 0.5 * tossed_pairs) / 6,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "accuracy"), [("exclude", 0.75), ("as-real", 2 / 3), ("as-fake", 7 / 12), ("as-chance", 0.625)]
)
def test_coverage_policy_affects_headline_auc_and_balanced_accuracy(policy: str, accuracy: float) -> None:
    table = pd.DataFrame({"target": [0, 0, 1, 1, 1], "score": [0.1, np.nan, 0.9, np.nan, 0.05]})
    summary = summarise(table, split="x", coverage_policy=policy)
    assert summary["auc"]["value"] == pytest.approx(summary["policies"][policy]["auc"])
    assert summary["balanced_accuracy"] == pytest.approx(accuracy)
    assert summary["coverage"] == 0.6


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ([np.nan] * 4, "the targets are empty"),
        (["", "", "", ""], "the targets are empty"),
        ([-1] * 4, "the targets are placeholders (-1)"),
        ([0.5] * 4, "the targets are placeholders (0.5)"),
        ([-1, 0.5, -1, np.nan], "the targets are placeholders (-1, 0.5)"),
        ([99] * 4, "the targets are placeholders (99)"),
        ([0] * 4, "no fake clips"),
        ([1] * 4, "no real clips"),
        (None, "there is no target column"),
    ],
)
def test_labels_without_targets_give_no_metrics(targets: list | None, reason: str) -> None:
    table = pd.DataFrame({"video_name": list("abcd"), "score": [0.1, 0.2, 0.8, np.nan], "type": "x", "source": "s"})
    if targets is not None:
        table["target"] = targets
    summary = summarise(table, split="testset", rule=DecisionRule(Calibration(), in_sample=True))
    assert summary["n"] == 4
    assert summary["coverage"] == 0.75
    assert summary["reasons"]["auc"] == reason
    claimed = [figure for metric in METRICS for figure in all_numbers({metric: summary[metric]})]
    assert set(claimed) == {None, 0}  # 0 groups and 0 sources
    assert summary["reliability"] is None
    assert_every_none_has_a_reason(summary)


def test_rows_without_target_are_excluded_and_counted() -> None:
    table = draw(100)
    more = pd.concat([table, table.assign(target=-1)], ignore_index=True)
    summary = summarise(more, split="valset", bootstrap=50)
    assert summary["n_unlabelled"] == 100
    assert summary["n"] == 100
    assert summary["auc"] == summarise(table, split="valset", bootstrap=50)["auc"]


def test_no_scored_clips_give_no_metrics() -> None:
    table = pd.DataFrame({"target": [0, 1], "score": [np.nan, np.nan], "reason": ["no_face", ""]})
    summary = summarise(table, split="x")
    assert summary["coverage"] == 0.0
    assert summary["reasons"]["auc"] == "no clip was scored"
    assert summary["coverage_reasons"] == {"no_face": 1, "not_scored": 1}
    one_sided = summarise(pd.DataFrame({"target": [0, 1, 1], "score": [np.nan, 0.2, 0.4]}), split="x")
    assert one_sided["reasons"]["auc"] == "no real clips among the scored"
    assert one_sided["coverage_by_class"] == {"real": 0.0, "fake": 1.0}


def test_scores_outside_0_1_are_still_ranked() -> None:
    table = draw(60).drop(columns="logit")
    table["score"] = 100 * table["score"] - 50
    summary = summarise(table, split="other", bootstrap=0)
    assert summary["auc"]["value"] == summarise(draw(60), split="x", bootstrap=0)["auc"]["value"]
    assert summary["brier"] is None
    assert summary["ece"] is None
    assert summary["threshold"] is None
    assert summary["reasons"]["brier"] == "the scores are not all within [0, 1]"
    assert "no threshold was given" in summary["reasons"]["balanced_accuracy"]
    assert (
        summarise(table, split="other", rule=DecisionRule(threshold=0.0), bootstrap=0)["balanced_accuracy"] is not None
    )


def test_ranking_uses_the_logit_if_scores_saturate() -> None:
    table = pd.DataFrame({"target": [0, 1, 0, 1], "logit": [50.0, 60.0, 70.0, 80.0], "score": [1.0] * 4})
    assert summarise(table, split="x")["auc"]["value"] == 0.75


def test_calibration_sets_score_and_threshold() -> None:
    table = draw()
    held_out = draw(seed=1).dropna(subset="logit")
    calibration = fit_calibration(held_out["target"], held_out["logit"], fitted_on="valset")
    summary = summarise(table, split="testset", rule=DecisionRule(calibration), bootstrap=0)
    assert summary["threshold"] == calibration.threshold
    assert summary["in_sample"] is False
    assert summary["ece"] < summary["ece_uncalibrated"]
    assert summary["brier"] < summary["brier_uncalibrated"]
    assert sum(row["n"] for row in summary["reliability"]) == summary["n_scored"]
    assert Calibration.from_dict(summary["calibration"]) == calibration
    assert summary["at_threshold"]["fpr"] < 0.05
    assert (
        summarise(table, split="testset", rule=DecisionRule(calibration, threshold=0.3), bootstrap=0)["threshold"]
        == 0.3
    )


def test_in_sample_figures_are_cross_fitted() -> None:
    table = draw(80)
    scored = table.dropna(subset="logit")
    calibration = fit_calibration(scored["target"], scored["logit"], fitted_on="valset")
    in_sample = summarise(table, split="valset", rule=DecisionRule(calibration), bootstrap=0)
    cross_fitted = summarise(table, split="valset", rule=DecisionRule(calibration, in_sample=True), bootstrap=0)
    assert cross_fitted["in_sample"] is True
    assert cross_fitted["brier"] > in_sample["brier"]
    assert cross_fitted["balanced_accuracy"] <= in_sample["balanced_accuracy"]
    assert cross_fitted["threshold"] == in_sample["threshold"]
    assert cross_fitted["auc"] == in_sample["auc"]
    one_group = summarise(
        table.assign(group="g"), split="v", rule=DecisionRule(calibration, in_sample=True), bootstrap=0
    )
    assert one_group["ece"] is None
    assert "2 groups of each class" in one_group["reasons"]["ece"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": [0, 7, 1]}, "the target of b.mp4 is 7; it must be 1"),
        ({"target": ["0", "fake", "1"]}, "the target of b.mp4 is 'fake'"),
        ({"score": [0.1, np.inf, 0.2]}, "the score of b.mp4 is 'inf'"),
        ({"score": ["0.1", "high", "0.2"]}, "the score of b.mp4 is 'high'"),
        ({"score": [0.1, np.nan, 0.2], "logit": [np.nan, 1.0, np.nan]}, "only a score and others only a logit"),
    ],
)
def test_invalid_values_are_named(changes: dict[str, list], message: str) -> None:
    table = pd.DataFrame({"video_name": ["a.mp4", "b.mp4", "c.mp4"], "target": [0, 1, 1], "score": [0.1, 0.2, 0.3]})
    with pytest.raises(UsageError, match=message):
        summarise(table.assign(**changes), split="x")


def test_empty_score_columns_give_no_auc() -> None:
    table = pd.DataFrame({"video_name": ["a.mp4", "b.mp4"], "target": [0, 1]})
    for columns in ("logit",), ("score",), ("score", "logit"):
        summary = summarise(table.assign(**dict.fromkeys(columns, np.nan)), split="x", bootstrap=0)
        assert summary["auc"]["value"] is None and summary["coverage"] == 0
        assert summary["reasons"]["auc"] == "no clip was scored"


def test_missing_column_and_unknown_policy_are_named() -> None:
    with pytest.raises(UsageError, match="neither a score nor a logit"):
        summarise(pd.DataFrame({"target": [0, 1]}), split="x")
    with pytest.raises(UsageError, match="'guess' is not one of exclude"):
        summarise(draw(10), split="x", coverage_policy="guess")


def test_row_order_does_not_matter() -> None:
    table = draw(200)
    shuffled = summarise(table.sample(frac=1, random_state=0), split="x", bootstrap=0)
    straight = summarise(table, split="x", bootstrap=0)
    for key in ("auc", "eer", "ap", "balanced_accuracy", "tpr_at_fpr", "brier", "ece", "macro_auc", "policies"):
        for one, other in zip(all_numbers({key: shuffled[key]}), all_numbers({key: straight[key]}), strict=True):
            assert one == (other if other is None else pytest.approx(other))
