"""Classification of a probe's results. The thresholds are fixed conventions; none is fitted to the audited clips."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from scipy.stats import norm

from engine.audit.probe_evaluation import ProbeResult
from utils.metrics import Interval

SHORTCUT = "shortcut"
POSSIBLE = "possible shortcut"
LEAK = "leaks through groups"
NOTHING = "nothing found"
TOO_FEW = "too few clips to tell"
HOLDS = "control holds"
FAILS = "control fails"

SHORTCUTS = (SHORTCUT, POSSIBLE, LEAK)

INSIDE = "inside unseen groups"
BETWEEN = "between unseen groups only"
KNOWN = "known groups only"
UNKNOWN = "unknown"
REACH_MEANINGS = {
    INSIDE: "carries over to clips of unseen groups",
    BETWEEN: "tells groups apart, including unseen ones, but not the clips within a group",
    KNOWN: "shown only on groups seen in training",
    UNKNOWN: "found, but it is unknown whether it works within an unseen group",
}
"""Reach of a shortcut -> its description."""

FEW_UNITS = 10
"""With fewer real or fake units (groups, or clips if there are no groups), the result is inconclusive."""

FEW_GROUPS = 3
"""With fewer groups that contain both classes, the reach of a shortcut is `UNKNOWN`."""

WORTHLESS_AUC = 0.55
"""A mean within-group AUC up to this value, with an interval that includes 0.5, counts as no effect."""

WORTH_NAMING_AUC = 0.6
"""Smallest AUC reported as a shortcut. With very many clips even 0.52 is significant, but it is of no practical use."""

HIDDEN_AUC = 0.8
"""If chance alone can exceed this AUC, the set is too small for the finding `nothing found`."""

FAMILY_ERROR = 0.05
"""Probability of at least one false `shortcut` on a set without shortcuts, shared by all probes (Bonferroni)."""

HINT_ERROR = 0.01
"""Probability of a false `possible shortcut` for a single probe."""

GAP_TO_RANDOM = 0.1
"""Minimum excess of the random-split AUC over the grouped AUC to conclude that the probe recognises groups."""


@dataclass(frozen=True)
class NullDistribution:
    """Distribution of a probe's AUC if its measurements carry no information about the class.

    Attributes:
        inflation: Standard deviation of the AUC under permuted labels, divided by its value for independent clips;
            at least 1.
        n_probes: Number of probes that share the family-wise error.
    """

    inflation: float
    n_probes: int

    def upper_auc(self, n_real: int, n_fake: int, error: float) -> float:
        """Return the AUC that an uninformative probe exceeds with probability `error`."""
        return 0.5 + float(norm.isf(error)) * self.inflation * mann_whitney_deviation(n_real, n_fake)


def mann_whitney_deviation(n_real: int, n_fake: int) -> float:
    """Return the standard deviation of the AUC for independent clips with identically distributed scores."""
    return sqrt((n_real + n_fake + 1) / (12 * n_real * n_fake))


@dataclass(frozen=True)
class Finding:
    """Conclusion about one probe.

    Attributes:
        label: One of the constants of this module.
        explanation: One sentence with the figures.
        reach: Where the shortcut works, a key of `REACH_MEANINGS`; empty if no shortcut was found.
    """

    label: str
    explanation: str
    reach: str = ""


def classify_probe(
    result: ProbeResult, n_clips: tuple[int, int], n_units: tuple[int, int], null: NullDistribution
) -> Finding:
    """Decide whether a probe found a shortcut.

    Args:
        result: AUCs of the probe.
        n_clips: Number of real and of fake clips.
        n_units: Number of independent units with real clips, and of those with fakes.
        null: Null distribution of the AUC.
    """
    auc = result.grouped.value
    if auc is None:
        return Finding(TOO_FEW, f"It cannot be cross-validated: {result.grouped.reason}.")
    certain = null.upper_auc(*n_clips, FAMILY_ERROR / null.n_probes)
    hint = null.upper_auc(*n_clips, HINT_ERROR)
    few = min(n_units) < FEW_UNITS
    clear = auc >= WORTH_NAMING_AUC and (result.grouped.low or 0.0) > 0.5
    unseen = "held-out clips" if result.random is None else "held-out groups"
    sentence = f"AUC {figure(result.grouped)} on {unseen}, where chance reaches {hint:.2f}"
    if auc > hint or (clear and not few):
        label = SHORTCUT if clear and auc > certain and not few else POSSIBLE
        sentence += _random_split_remark(result) + _within_remark(result) + _few_remark(few, n_clips, n_units, result)
        return Finding(label, sentence + ".", _reach(result))
    random = result.random
    if (
        random is not None
        and random.value is not None
        and random.value > max(_random_split_limit(n_clips, null), auc + GAP_TO_RANDOM)
    ):
        sentence += (
            f"; {figure(random)} on a random split: the probe recognises the groups, "
            "and its effect on unseen groups is not certain"
        )
        return Finding(LEAK, sentence + ".", KNOWN)
    if few or hint > HIDDEN_AUC:
        return Finding(TOO_FEW, sentence + _few_remark(few, n_clips, n_units, result) + ".")
    return Finding(NOTHING, sentence + ".")


def _random_split_limit(n_clips: tuple[int, int], null: NullDistribution) -> float:
    """Return the highest AUC that chance explains on a random split.

    Training and test folds share groups in such a split, so groups do not widen the null distribution.
    """
    return NullDistribution(1.0, null.n_probes).upper_auc(*n_clips, FAMILY_ERROR / null.n_probes)


def classify_control(auc: Interval, n_clips: tuple[int, int], null: NullDistribution) -> Finding:
    """Decide whether a control is at chance, as it should be."""
    if auc.value is None:
        return Finding(TOO_FEW, f"The control could not be run: {auc.reason}.")
    hint = null.upper_auc(*n_clips, HINT_ERROR)
    if auc.value <= hint:
        return Finding(HOLDS, f"AUC {figure(auc)}; chance reaches {hint:.2f}, as expected.")
    return Finding(FAILS, f"AUC {figure(auc)}, although there is nothing to learn and chance reaches {hint:.2f}.")


def figure(interval: Interval) -> str:
    """Format an AUC and its limits, for example `0.72 (0.58 to 0.85)`."""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _few_remark(few: bool, n_clips: tuple[int, int], n_units: tuple[int, int], result: ProbeResult) -> str:
    if not few:
        return ""
    if result.random is None:
        return f"; {n_clips[0]} real and {n_clips[1]} fake clips are too few for a firm conclusion"
    return f"; {n_units[0]} groups with reals and {n_units[1]} with fakes are too few for a firm conclusion"


def _random_split_remark(result: ProbeResult) -> str:
    auc, random = result.grouped.value, result.random
    if random is None or random.value is None or auc is None or random.value < auc + GAP_TO_RANDOM:
        return ""
    return f"; {random.value:.2f} on a random split, where it also recognises the groups"


def _within_remark(result: ProbeResult) -> str:
    within = result.within_mean
    if result.random is None:
        return ""
    if within.value is None:
        return "; no group has both classes, so it may only tell groups apart"
    remark = f"; {figure(within)} inside held-out groups (mean of {within.units})"
    if _reach(result) == BETWEEN:
        remark += ", so it tells groups apart but has no effect inside a group"
    return remark


def _reach(result: ProbeResult) -> str:
    within = result.within_mean
    if result.random is None or within.value is None or within.units < FEW_GROUPS:
        return UNKNOWN
    # Without limits, all groups have the same AUC, and the mean is exact.
    low = within.value if within.low is None else within.low
    if low > 0.5:
        return INSIDE
    return BETWEEN if within.value <= WORTHLESS_AUC else UNKNOWN
