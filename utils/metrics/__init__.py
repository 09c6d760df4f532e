"""Evaluation metrics: ranking metrics, confidence intervals, significance tests, calibration, and a split summary."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.metrics.calibration import Calibration, ErrorRates
    from utils.metrics.calibration_fit import TargetRates, fit_calibration
    from utils.metrics.coverage import POLICIES, CoveragePolicy
    from utils.metrics.cross_fit import CrossFit, cross_fit
    from utils.metrics.decisions import DecisionRule
    from utils.metrics.delong import DeLongTest, delong_interval, delong_test, holm
    from utils.metrics.estimate import Estimate, Interval
    from utils.metrics.intervals import bootstrap_auc, bootstrap_auc_over_groups, same_source_auc
    from utils.metrics.ranking import (
        DetCurve,
        RocCurve,
        average_precision,
        balanced_accuracy,
        det_curve,
        equal_error_rate,
        roc_auc,
        roc_curve,
        tpr_at_fpr,
    )
    from utils.metrics.reliability import ReliabilityBin, brier_score, expected_calibration_error, reliability_table
    from utils.metrics.summary import summarise, summary_row
    from utils.metrics.thresholds import DEFAULT_THRESHOLD, best_balanced_threshold, threshold_at_fnr, threshold_at_fpr

__all__ = [
    "DEFAULT_THRESHOLD",
    "POLICIES",
    "Calibration",
    "CoveragePolicy",
    "CrossFit",
    "DeLongTest",
    "DecisionRule",
    "DetCurve",
    "ErrorRates",
    "Estimate",
    "Interval",
    "ReliabilityBin",
    "RocCurve",
    "TargetRates",
    "average_precision",
    "balanced_accuracy",
    "best_balanced_threshold",
    "bootstrap_auc",
    "bootstrap_auc_over_groups",
    "brier_score",
    "cross_fit",
    "delong_interval",
    "delong_test",
    "det_curve",
    "equal_error_rate",
    "expected_calibration_error",
    "fit_calibration",
    "holm",
    "reliability_table",
    "roc_auc",
    "roc_curve",
    "same_source_auc",
    "summarise",
    "summary_row",
    "threshold_at_fnr",
    "threshold_at_fpr",
    "tpr_at_fpr",
]

_NAMES = {
    "calibration": (
        "Calibration",
        "ErrorRates",
    ),
    "calibration_fit": (
        "TargetRates",
        "fit_calibration",
    ),
    "coverage": (
        "POLICIES",
        "CoveragePolicy",
    ),
    "cross_fit": (
        "CrossFit",
        "cross_fit",
    ),
    "decisions": ("DecisionRule",),
    "delong": (
        "DeLongTest",
        "delong_interval",
        "delong_test",
        "holm",
    ),
    "estimate": (
        "Estimate",
        "Interval",
    ),
    "intervals": (
        "bootstrap_auc",
        "bootstrap_auc_over_groups",
        "same_source_auc",
    ),
    "ranking": (
        "DetCurve",
        "RocCurve",
        "average_precision",
        "balanced_accuracy",
        "det_curve",
        "equal_error_rate",
        "roc_auc",
        "roc_curve",
        "tpr_at_fpr",
    ),
    "reliability": (
        "ReliabilityBin",
        "brier_score",
        "expected_calibration_error",
        "reliability_table",
    ),
    "summary": (
        "summarise",
        "summary_row",
    ),
    "thresholds": (
        "DEFAULT_THRESHOLD",
        "best_balanced_threshold",
        "threshold_at_fnr",
        "threshold_at_fpr",
    ),
}
"""Module -> the names that it provides. They are imported on first use, because scoring needs neither pandas nor scipy."""


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
