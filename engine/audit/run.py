"""The audit: measure every clip once, put each probe to the cross-validation, judge, and again after the remedies."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from dataset.workers import run_in_workers
from engine.audit.controls import permuted_aucs, swapped_audio
from engine.audit.cross_validation import Evidence, Held, evaluate
from engine.audit.measure import Measurements, MeasureTask, measure_clip
from engine.audit.probes import PROBES, Probe
from engine.audit.remedies import REMEDIES, check_remedies, shared_window_s
from engine.audit.verdict import (
    FINDINGS,
    KNOWN_GROUPS,
    Verdict,
    Yardstick,
    judge,
    judge_control,
    mann_whitney_deviation,
)
from utils.errors import UsageError, WorkError
from utils.metrics import Interval

log = logging.getLogger(__name__)

TIMEOUT_S = 300.0
GROUP_COLUMNS = ("group", "source")
SPLIT_BY_GROUP = "split by group (utils/make_splits.py --by)"
SWAPPED, PERMUTED = "audio swapped between reals (control)", "permuted labels (control)"


@dataclass(frozen=True)
class Clips:
    """The measured clips.

    Attributes:
        measurements: one per clip.
        target: (n,) int, 1 for fake.
        group: (n,) int, or `None` when every clip stands for itself.
    """

    measurements: list[Measurements]
    target: np.ndarray
    group: np.ndarray | None


@dataclass(frozen=True)
class Answer:
    """A probe's evidence, figures and verdict."""

    evidence: Evidence
    held: Held
    verdict: Verdict


def audit(
    labels: pd.DataFrame,
    video_dir: Path,
    *,
    group: str | None,
    remedies: Sequence[str],
    workers: int,
    seed: int,
    max_clips: int,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Ask every probe how far it gets on a split.

    Args:
        labels: `video_name`, `target` (0, 1 or NaN; rows without a target are passed over) and further columns.
        video_dir: folder in which the names lie.
        group: column whose values must not lie on both sides of a split; without it `group` or `source` where the table has
            one, else every clip stands for itself.
        remedies: names of `REMEDIES` to apply to all clips for a second pass.
        workers: processes that measure clips.
        seed: of folds, encoders and resampling; the same seed gives the same rows.
        max_clips: of a larger set that many are drawn, whole groups at a time.
        quiet: no progress bar.

    Returns:
        One row per probe, controls last: `probe, auc, low, high, verdict, remedy` as every report reads them, and
        `explanation, reach, n_clips, n_left_out, n_groups, random, within, after`. `auc` is null where it cannot be
        computed; `random` is the same on a random split; `within` the AUC over pairs of one held-out group; `after` (with
        remedies) the figures of the second pass.

    Raises:
        UsageError: an unknown column or remedy, or only one class.
        WorkError: no clip of one class could be measured.
    """
    chosen = check_remedies(remedies)
    table = _labelled(labels, group, max_clips, seed)
    paths = [Path(video_dir) / name for name in table["video_name"]]
    measured = _measure([MeasureTask(path) for path in paths], workers, quiet)
    clips = _usable(table, measured)
    yardstick = _yardstick(clips, seed)
    answers = {probe.name: _ask(probe, clips, yardstick, seed) for probe in PROBES}
    rows = {probe.name: _row(probe.name, answers[probe.name], len(table), probe.remedies) for probe in PROBES}
    if chosen:
        window_s = shared_window_s([float(clip.container["duration"]["duration_s"]) for clip in clips.measurements])
        measured = _measure([MeasureTask(path, chosen, window_s) for path in paths], workers, quiet)
        treated = _usable(table, measured)
        for probe in PROBES:
            answer = _ask(probe, treated, yardstick, seed, answers[probe.name])
            rows[probe.name]["after"] = {"remedies": sorted(chosen), **_figures(answer)}
    return [*rows.values(), *_controls(clips, yardstick, len(table), seed)]


def _labelled(labels: pd.DataFrame, group: str | None, max_clips: int, seed: int) -> pd.DataFrame:
    """The rows with a target, with a column `_unit`: the group, or a name of its own for a clip that has none."""
    if group is not None and group not in labels.columns:
        raise UsageError(f"there is no column {group!r} to group by; there are {', '.join(labels.columns)}")
    column = group or next((name for name in GROUP_COLUMNS if name in labels.columns), None)
    table = labels[labels["target"].notna()].reset_index(drop=True)
    if table["target"].nunique() < 2:
        raise UsageError("the audit needs real and fake clips; the labels hold only one class, or none")
    own = "clip:" + table["video_name"]
    if column is None:
        log.warning("no column tells which clips belong together: every clip is held out on its own, which may flatter")
        table["_unit"] = own
    else:
        values = table[column].fillna("").astype(str).str.strip()
        table["_unit"] = values.mask(values == "", own)
    if len(table) > max_clips:
        sizes = table["_unit"].value_counts(sort=False).sample(frac=1, random_state=seed)
        kept = sizes.index[sizes.cumsum() <= max_clips]
        log.warning("the audit looks at %d of %d groups, %d clips at most", len(kept), len(sizes), max_clips)
        table = table[table["_unit"].isin(kept)].reset_index(drop=True)
        if table["target"].nunique() < 2:
            raise UsageError(f"{max_clips} clips are too few to draw whole groups of both classes from this set")
    return table


def _measure(tasks: list[MeasureTask], workers: int, quiet: bool) -> list[Measurements]:
    results = run_in_workers(measure_clip, tasks, workers=workers, timeout_s=TIMEOUT_S)
    progress = tqdm(results, total=len(tasks), desc="audit", unit="clip", disable=quiet)
    return [result if result is not None else Measurements(reason=reason) for _, result, reason in progress]


def _usable(table: pd.DataFrame, measured: list[Measurements]) -> Clips:
    """The clips that could be measured; the others are counted aloud."""
    good = np.array([not clip.reason for clip in measured])
    reasons = Counter(clip.reason for clip in measured if clip.reason)
    if reasons:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        log.warning("%d of %d clips could not be measured: %s", (~good).sum(), len(good), counts)
    target = table["target"].to_numpy(int)[good]
    if len(np.unique(target)) < 2:
        raise WorkError("the audit could not measure clips of both classes")
    names, group = np.unique(table["_unit"].to_numpy(str)[good], return_inverse=True)
    clips = [clip for clip in measured if not clip.reason]
    return Clips(clips, target, None if len(names) == len(clips) else group)


def _yardstick(clips: Clips, seed: int) -> Yardstick:
    """How far chance goes: from permuted labels on all container facts, since they know the groups best."""
    if clips.group is None:
        return Yardstick(1.0, len(PROBES))
    evidence = PROBES[0].evidence(clips.measurements, clips.target, clips.group, seed)
    aucs = permuted_aucs(evidence, seed)
    if len(aucs) < 2:
        return Yardstick(1.0, len(PROBES))
    deviation = float(np.sqrt(np.mean((aucs - 0.5) ** 2)))
    return Yardstick(max(1.0, deviation / mann_whitney_deviation(*np.bincount(clips.target))), len(PROBES))


def _ask(probe: Probe, clips: Clips, yardstick: Yardstick, seed: int, before: Answer | None = None) -> Answer:
    """Put a probe to the data; an earlier answer from the very same features is given again."""
    evidence = probe.evidence(clips.measurements, clips.target, clips.group, seed)
    if before is not None and _same(evidence, before.evidence):
        return before
    counts = tuple(int(count) for count in np.bincount(evidence.target, minlength=2))
    if min(counts) == 0:
        held = Held(Interval(None, reason="no clip of one class has what the probe looks at"), None, {}, Interval(None))
    else:
        held = evaluate(evidence, seed)
    return Answer(evidence, held, judge(held, counts, evidence.n_units, yardstick))


def _same(one: Evidence, other: Evidence) -> bool:
    return len(one.inputs) == len(other.inputs) and all(map(np.array_equal, one.inputs, other.inputs))


def _row(name: str, answer: Answer, n_all: int, remedies: tuple[str, ...]) -> dict[str, Any]:
    target, group = answer.evidence.target, answer.evidence.group
    verdict = answer.verdict.verdict
    offered = "; ".join(f"{remedy}: {REMEDIES[remedy]}" for remedy in remedies)
    return {"probe": name} | _figures(answer) | {
        "remedy": (SPLIT_BY_GROUP if verdict == KNOWN_GROUPS else offered) if verdict in FINDINGS else "",
        "n_clips": len(target),
        "n_left_out": n_all - len(target),
        "n_groups": len(target) if group is None else len(np.unique(group)),
    }


def _figures(answer: Answer) -> dict[str, Any]:
    held, within = answer.held, answer.held.within
    spread = {"groups": len(within), "lowest": min(within.values()), "highest": max(within.values())} if within else {}
    return {
        "auc": held.grouped.value,
        "low": held.grouped.low,
        "high": held.grouped.high,
        "verdict": answer.verdict.verdict,
        "explanation": answer.verdict.explanation,
        "reach": answer.verdict.reach,
        "random": None if held.random is None else _interval(held.random),
        "within": _interval(held.within_mean) | spread if within else None,
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"auc": interval.value, "low": interval.low, "high": interval.high}


def _controls(clips: Clips, yardstick: Yardstick, n_all: int, seed: int) -> list[dict[str, Any]]:
    real = np.flatnonzero(clips.target == 0)
    group = None if clips.group is None else clips.group[real]
    swapped = swapped_audio([clips.measurements[index] for index in real], group, seed)
    if swapped is None:
        held = Held(Interval(None, reason="fewer than 4 real clips have sound and pictures"), None, {}, Interval(None))
        swapped = Evidence([], np.empty(0, int), None, ())
        verdict = judge_control(held.grouped, (0, 0), yardstick)
    else:
        grouped = evaluate(swapped, seed).grouped
        held = Held(grouped, None, {}, Interval(None))
        verdict = judge_control(grouped, (len(swapped.target) // 2,) * 2, yardstick)
    rows = [_row(SWAPPED, Answer(swapped, held, verdict), len(swapped.target), ())]
    evidence = PROBES[0].evidence(clips.measurements, clips.target, clips.group, seed)
    aucs = permuted_aucs(evidence, seed)
    null = Interval(None, reason="fewer than two independent units hold a class")
    if len(aucs):
        null = Interval(float(aucs.mean()), *(float(limit) for limit in np.percentile(aucs, (2.5, 97.5))), len(aucs))
    verdict = judge_control(null, tuple(np.bincount(clips.target)), yardstick)
    held = Held(null, None, {}, Interval(None))
    return [*rows, _row(PERMUTED, Answer(evidence, held, verdict), n_all, ())]
