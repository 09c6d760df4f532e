"""The thresholds of a calibration, their rules and their measured error rates, in words."""

from __future__ import annotations

from utils.metrics.calibration import Calibration
from utils.metrics.estimate import count_of


def describe_thresholds(calibration: Calibration) -> str:
    """Describe thresholds and measured error rates in lines of at most 80 columns, for a terminal."""
    fake_from, real_below, rates = calibration.threshold, calibration.real_threshold, calibration.rates
    alarms = missed = between = measured = ""
    if rates is not None:
        alarms = f" ({_percent(rates.false_alarms)} of {count_of(rates.n_real, 'real clip')} called fake)"
        missed = f" ({_percent(rates.missed)} of {fakes_measured(calibration)} called real)"
        between = f" ({_percent(rates.inconclusive_real)} of the real clips, {_percent(rates.inconclusive_fake)} of the fakes)"
        measured = f"; rates measured {where_measured(calibration)}"
    if real_below is None or real_below >= fake_from:
        return f"fake from {fake_from:.4f}{alarms}, real below it{missed}{measured}"
    lines = [
        f"fake from {fake_from:.4f}{alarms},",
        f"real below {real_below:.4f}{missed},",
        f"inconclusive between{between}",
    ]
    return "\n".join(lines) + measured.replace("; ", ";\n")


def fake_rule(calibration: Calibration) -> str:
    """Return the rule that set the fake threshold."""
    if calibration.threshold_rule == "target_fpr":
        return f"set to call at most {_percent(calibration.target_fpr)} of real clips fake"
    if calibration.threshold_rule == "balanced_accuracy":
        return "set at the best balanced accuracy on labelled clips"
    return "not fitted to any data"


def real_rule(calibration: Calibration) -> str:
    """Return the rule that set the real threshold."""
    if calibration.real_threshold is None:
        return "equal to the fake threshold: no second threshold was fitted"
    at_most = f"at most {_percent(calibration.target_fnr)} of fakes"
    if calibration.real_threshold >= calibration.threshold:
        return f"equal to the fake threshold: {at_most} are below it"
    return f"set to call {at_most} real"


def fakes_measured(calibration: Calibration) -> str:
    """Return the number of fakes that the error rates were measured on, for example ``81 fakes``."""
    rates = calibration.rates
    return "" if rates is None else count_of(rates.n_fake, "pseudo-fake" if rates.pseudo_fakes else "fake")


def where_measured(calibration: Calibration) -> str:
    """Return how the error rates were measured: ``out of fold``, or cross-fitted on a named split."""
    split = calibration.fitted_on
    return "out of fold" if split in ("", "out_of_fold") else f"by cross-fitting on {split}"


def _percent(share: float) -> str:
    """Return a percentage with one decimal, as on the pages and in the model card, and smaller ones with two digits."""
    text = f"{100 * share:.1f}" if share >= 0.01 else f"{100 * share:.2g}"
    return text.removesuffix(".0") + " %"
