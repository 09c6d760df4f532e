"""From a probe's figures to plain words. The thresholds are conventions: none is fitted to the clips that are judged."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from scipy.stats import norm

from engine.audit.cross_validation import Held
from utils.metrics import Interval

SHORTCUT = "shortcut"
POSSIBLE = "possible shortcut"
LEAK = "leaks through groups"
NOTHING = "nothing found"
TOO_FEW = "too few clips to tell"
HOLDS = "control holds"
FAILS = "control fails"

FINDINGS = (SHORTCUT, POSSIBLE, LEAK)

INSIDE = "inside unseen groups"
BETWEEN = "between unseen groups only"
KNOWN = "known groups only"
UNKNOWN = "unknown"
REACHES = {
    INSIDE: "carries over to clips of groups it has not seen",
    BETWEEN: "tells groups apart, also new ones, but not the clips of one group",
    KNOWN: "shown only on groups it was trained on",
    UNKNOWN: "found, but whether it works inside a group it has not seen is not settled",
}
"""Where a shortcut works -> what that means."""

FEW_UNITS = 10
"""With fewer real or fewer fake units (groups, else clips) than this nothing is proved either way."""

FEW_GROUPS = 3
"""With fewer groups that hold both classes it is not said whether a shortcut works inside a group."""

WORTHLESS_AUC = 0.55
"""A mean inside groups up to here, whose interval also holds one half, is worth nothing."""

WORTH_NAMING_AUC = 0.6
"""With very many clips even an AUC of 0.52 is significant; a shortcut should also be of use."""

HIDDEN_AUC = 0.8
"""When chance alone may come as high as this, "nothing found" would say nothing."""

FAMILY_ERROR = 0.05
"""Chance that a set without any shortcut gets even one verdict `shortcut`, shared by the probes (Bonferroni)."""

HINT_ERROR = 0.01
"""The same chance for a single probe's `possible shortcut`."""

GAP_TO_RANDOM = 0.1
"""How much higher a random split must come out before it is said to recognise groups."""


@dataclass(frozen=True)
class Yardstick:
    """How far chance goes on this data.

    Attributes:
        inflation: spread of the AUC under permuted labels, over its spread if all clips were independent; at least 1.
        n_probes: probes that share the error.
    """

    inflation: float
    n_probes: int

    def chance(self, n_real: int, n_fake: int, error: float) -> float:
        """The AUC that a probe which knows nothing exceeds with probability `error`."""
        return 0.5 + float(norm.isf(error)) * self.inflation * mann_whitney_deviation(n_real, n_fake)


def mann_whitney_deviation(n_real: int, n_fake: int) -> float:
    """Standard deviation of the AUC of independent clips that differ in nothing."""
    return sqrt((n_real + n_fake + 1) / (12 * n_real * n_fake))


@dataclass(frozen=True)
class Verdict:
    """What is said of a probe.

    Attributes:
        verdict: one of the constants of this module.
        explanation: one sentence with the numbers.
        reach: where the shortcut works, a key of `REACHES`; empty where nothing was found.
    """

    verdict: str
    explanation: str
    reach: str = ""


def judge(held: Held, n_clips: tuple[int, int], n_units: tuple[int, int], yardstick: Yardstick) -> Verdict:
    """Judge one probe.

    Args:
        held: its figures.
        n_clips: real and fake clips.
        n_units: independent units that hold reals, and that hold fakes.
        yardstick: how far chance goes.
    """
    auc = held.grouped.value
    if auc is None:
        return Verdict(TOO_FEW, f"It cannot be cross-validated: {held.grouped.reason}.")
    certain = yardstick.chance(*n_clips, FAMILY_ERROR / yardstick.n_probes)
    hint = yardstick.chance(*n_clips, HINT_ERROR)
    few = min(n_units) < FEW_UNITS
    clear = auc >= WORTH_NAMING_AUC and (held.grouped.low or 0.0) > 0.5
    seen = "held-out clips" if held.random is None else "held-out groups"
    sentence = f"AUC {figure(held.grouped)} on {seen}, where chance reaches {hint:.2f}"
    if auc > hint or (clear and not few):
        verdict = SHORTCUT if clear and auc > certain and not few else POSSIBLE
        sentence += _against_random(held) + _inside(held) + _few(few, n_clips, n_units, held)
        return Verdict(verdict, sentence + ".", _reach(held))
    random = held.random
    if (
        random is not None
        and random.value is not None
        and random.value > max(_alone(n_clips, yardstick), auc + GAP_TO_RANDOM)
    ):
        sentence += (
            f"; {figure(random)} on a random split: it recognises the groups, and shows nothing certain on others"
        )
        return Verdict(LEAK, sentence + ".", KNOWN)
    if few or hint > HIDDEN_AUC:
        return Verdict(TOO_FEW, sentence + _few(few, n_clips, n_units, held) + ".")
    return Verdict(NOTHING, sentence + ".")


def _alone(n_clips: tuple[int, int], yardstick: Yardstick) -> float:
    """What chance reaches on a random split, where clips of one group lie on both sides and do not widen it."""
    return Yardstick(1.0, yardstick.n_probes).chance(*n_clips, FAMILY_ERROR / yardstick.n_probes)


def judge_control(auc: Interval, n_clips: tuple[int, int], yardstick: Yardstick) -> Verdict:
    """Judge a control, which should be at chance."""
    if auc.value is None:
        return Verdict(TOO_FEW, f"The control could not be run: {auc.reason}.")
    hint = yardstick.chance(*n_clips, HINT_ERROR)
    if auc.value <= hint:
        return Verdict(HOLDS, f"AUC {figure(auc)}; chance reaches {hint:.2f}, as it should be.")
    return Verdict(FAILS, f"AUC {figure(auc)} where nothing can be known and chance reaches {hint:.2f}.")


def figure(interval: Interval) -> str:
    """`0.72 (0.58 to 0.85)`."""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _few(few: bool, n_clips: tuple[int, int], n_units: tuple[int, int], held: Held) -> str:
    if not few:
        return ""
    if held.random is None:
        return f"; {n_clips[0]} real and {n_clips[1]} fake clips prove little"
    return f"; {n_units[0]} groups with reals and {n_units[1]} with fakes prove little"


def _against_random(held: Held) -> str:
    auc, random = held.grouped.value, held.random
    if random is None or random.value is None or auc is None or random.value < auc + GAP_TO_RANDOM:
        return ""
    return f"; {random.value:.2f} on a random split, where it also recognises the groups"


def _inside(held: Held) -> str:
    within = held.within_mean
    if held.random is None:
        return ""
    if within.value is None:
        return "; no group holds both classes, so whether it only tells groups apart is not known"
    told = f"; {figure(within)} inside held-out groups (mean of {within.units})"
    if _reach(held) == BETWEEN:
        told += ", so that it tells groups apart and is worth nothing inside one"
    return told


def _reach(held: Held) -> str:
    within = held.within_mean
    if held.random is None or within.value is None or within.units < FEW_GROUPS:
        return UNKNOWN
    # Without a spread between groups there are no limits, and the mean is every group's own figure.
    low = within.value if within.low is None else within.low
    if low > 0.5:
        return INSIDE
    return BETWEEN if within.value <= WORTHLESS_AUC else UNKNOWN
