"""The shortcut audit: measure the clips, evaluate every probe, classify the results, and repeat after mitigation."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from dataset.workers import run_in_workers
from engine.audit.controls import permuted_aucs, swapped_audio
from engine.audit.findings import (
    LEAK,
    POSSIBLE,
    SHORTCUT,
    SHORTCUTS,
    Finding,
    NullDistribution,
    classify_control,
    classify_probe,
    mann_whitney_deviation,
)
from engine.audit.measure import Measurements, MeasureTask, measure_clip
from engine.audit.mitigations import MITIGATIONS, check_mitigations, shared_window_s
from engine.audit.options import AuditOptions
from engine.audit.probe_evaluation import ProbeData, ProbeResult, evaluate_probe
from engine.audit.probes import PROBES, Probe
from utils.errors import UsageError, WorkError
from utils.metrics import Interval

log = logging.getLogger(__name__)

TIMEOUT_S = 300.0
GROUP_COLUMNS = ("group", "source")
SPLIT_BY_GROUP = "split by group (utils/make_splits.py --by)"
SWAPPED, PERMUTED = "audio swapped between reals (control)", "permuted labels (control)"


@dataclass(frozen=True)
class MeasuredClips:
    """Clips that could be measured.

    Attributes:
        measurements: One entry per clip.
        target: (n,) int, 1 for fake.
        group: (n,) int, or `None` if every clip is its own group.
    """

    measurements: list[Measurements]
    target: np.ndarray
    group: np.ndarray | None


@dataclass(frozen=True)
class ProbeOutcome:
    """Data, results and finding of one probe."""

    data: ProbeData
    result: ProbeResult
    finding: Finding


def audit(labels: pd.DataFrame, video_dir: Path, options: AuditOptions) -> list[dict[str, Any]]:
    """Evaluate every probe on a split.

    Args:
        labels: `video_name`, `target` (0, 1 or NaN; rows without a target are skipped) and further columns.
        video_dir: Folder that the names are relative to.
        options: Grouping, mitigations, workers, seed and sample size.

    Returns:
        One row per probe, controls last. Reports read `probe, auc, low, high, verdict, remedy`; `verdict` is the finding
        and `remedy` the suggested mitigation. Further keys: `explanation, reach, n_clips, n_left_out, n_groups`;
        `random`, the AUC on a random split; `within`, the mean AUC inside held-out groups with both classes;
        `medians`, of the probe's facts among reals and fakes; and, with mitigations, `after`, the results of the second
        pass. `auc` is null if it cannot be computed.

    Raises:
        UsageError: A column or mitigation is unknown, or the labels have only one class.
        WorkError: No clip of one class could be measured.
    """
    seed = options.seed
    chosen = check_mitigations(options.mitigations)
    table = select_clips(labels, options)
    paths = [Path(video_dir) / name for name in table["video_name"]]
    clips = _usable(table, _measure([MeasureTask(path) for path in paths], options))
    null_aucs = permuted_aucs(PROBES[0].data(clips.measurements, clips.target, clips.group, seed), seed)
    null = _null_distribution(clips, null_aucs)
    outcomes = {probe.name: _evaluate(probe, clips, null, seed) for probe in PROBES}
    rows = [_row(probe, outcomes[probe.name], clips, len(table)) for probe in PROBES]
    if chosen:
        window_s = shared_window_s([float(clip.container["duration"]["duration_s"]) for clip in clips.measurements])
        mitigated = _usable(table, _measure([MeasureTask(path, chosen, window_s) for path in paths], options))
        for probe, row in zip(PROBES, rows, strict=True):
            outcome = _evaluate(probe, mitigated, null, seed, outcomes[probe.name])
            row["after"] = {"remedies": sorted(chosen), **_figures(outcome.result, outcome.finding)}
    return [*rows, *_control_rows(clips, null_aucs, null, len(table), seed)]


def select_clips(labels: pd.DataFrame, options: AuditOptions) -> pd.DataFrame:
    """Select the clips to audit.

    Returns:
        The rows with a target, at most `options.max_clips` of them, drawn as whole groups. The column `_unit` contains the
        group, or a unique name for a clip without a group.

    Raises:
        UsageError: The group column is unknown, or the selected clips have only one class.
    """
    group, max_clips = options.group, options.max_clips
    if group is not None and group not in labels.columns:
        raise UsageError(f"there is no column {group!r} to group by; the columns are {', '.join(labels.columns)}")
    column = group or next((name for name in GROUP_COLUMNS if name in labels.columns), None)
    table = labels[labels["target"].notna()].reset_index(drop=True)
    if table["target"].nunique() < 2:
        raise UsageError("the audit needs real and fake clips; the labels have only one class, or none")
    own = "clip:" + table["video_name"]
    if column is None:
        log.warning("no group or source column: each clip is treated as its own group, which may inflate the AUCs")
        table["_unit"] = own
    else:
        values = table[column].fillna("").astype(str).str.strip()
        table["_unit"] = values.mask(values == "", own)
    if len(table) > max_clips:
        sizes = table["_unit"].value_counts(sort=False).sample(frac=1, random_state=options.seed)
        drawn = sizes.index[sizes.cumsum() <= max_clips]
        log.warning("auditing %d of %d groups (at most %d clips)", len(drawn), len(sizes), max_clips)
        table = table[table["_unit"].isin(drawn)].reset_index(drop=True)
        if table["target"].nunique() < 2:
            raise UsageError(f"{max_clips} clips are too few to draw whole groups of both classes from this set")
    return table


def _measure(tasks: list[MeasureTask], options: AuditOptions) -> list[Measurements]:
    results = run_in_workers(measure_clip, tasks, workers=options.workers, timeout_s=TIMEOUT_S)
    progress = tqdm(results, total=len(tasks), desc="audit", unit="clip", disable=options.quiet)
    return [result if result is not None else Measurements(reason=reason) for _, result, reason in progress]


def _usable(table: pd.DataFrame, measured: list[Measurements]) -> MeasuredClips:
    """Select the clips that could be measured, and log the number of other clips by reason."""
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
    return MeasuredClips(clips, target, None if len(names) == len(clips) else group)


def _null_distribution(clips: MeasuredClips, null_aucs: np.ndarray) -> NullDistribution:
    """Estimate the null distribution from permuted-label AUCs of all container facts, which identify groups best."""
    if clips.group is None or len(null_aucs) < 2:
        return NullDistribution(1.0, len(PROBES))
    # Only the upper side is used: out-of-fold AUCs under permuted labels fall below 0.5 more often than above.
    deviation = float(np.sqrt(2 * np.mean(np.maximum(null_aucs - 0.5, 0) ** 2)))
    return NullDistribution(max(1.0, deviation / mann_whitney_deviation(*count_classes(clips.target))), len(PROBES))


def _evaluate(
    probe: Probe, clips: MeasuredClips, null: NullDistribution, seed: int, before: ProbeOutcome | None = None
) -> ProbeOutcome:
    """Evaluate and classify a probe; reuse the outcome of the first pass if the features are unchanged."""
    data = probe.data(clips.measurements, clips.target, clips.group, seed)
    if before is not None and _same(data, before.data):
        return before
    counts = count_classes(data.target)
    if min(counts) == 0:
        result = ProbeResult(Interval(None, reason="no clip of one class has this measurement"))
    else:
        result = evaluate_probe(data, seed)
    finding = classify_probe(result, counts, data.n_units, null)
    if probe.caveat and finding.label in SHORTCUTS:
        finding = replace(finding, explanation=f"{finding.explanation[:-1]}; {probe.caveat}.")
    return ProbeOutcome(data, result, finding)


def _same(one: ProbeData, other: ProbeData) -> bool:
    return len(one.inputs) == len(other.inputs) and all(map(np.array_equal, one.inputs, other.inputs))


def count_classes(target: np.ndarray) -> tuple[int, int]:
    """Return the number of reals and of fakes."""
    return int((target == 0).sum()), int((target == 1).sum())


def _row(probe: Probe, outcome: ProbeOutcome, clips: MeasuredClips, n_all: int) -> dict[str, Any]:
    own = "; ".join(f"{name}: {MITIGATIONS[name]}" for name in probe.mitigations)
    mitigation = {SHORTCUT: own, POSSIBLE: own, LEAK: SPLIT_BY_GROUP}.get(outcome.finding.label, "")
    return (
        {"probe": probe.name}
        | _figures(outcome.result, outcome.finding)
        | {"remedy": mitigation, "medians": probe.medians(clips.measurements, clips.target)}
        | _counts(outcome.data, n_all)
    )


def _figures(result: ProbeResult, finding: Finding) -> dict[str, Any]:
    within = None
    if result.within:
        aucs = result.within.values()
        within = _interval(result.within_mean) | {"groups": len(aucs), "lowest": min(aucs), "highest": max(aucs)}
    return _interval(result.grouped) | {
        "verdict": finding.label,
        "explanation": finding.explanation,
        "reach": finding.reach,
        "random": None if result.random is None else _interval(result.random),
        "within": within,
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"auc": interval.value, "low": interval.low, "high": interval.high}


def _counts(data: ProbeData | None, n_all: int) -> dict[str, int]:
    if data is None:
        return {"n_clips": 0, "n_left_out": n_all, "n_groups": 0}
    n_clips = len(data.target)
    n_groups = n_clips if data.group is None else len(np.unique(data.group))
    return {"n_clips": n_clips, "n_left_out": n_all - n_clips, "n_groups": n_groups}


def _control_rows(
    clips: MeasuredClips, null_aucs: np.ndarray, null: NullDistribution, n_all: int, seed: int
) -> list[dict[str, Any]]:
    """Return the rows of the two controls, with the same keys as the rows of the probes."""
    real = np.flatnonzero(clips.target == 0)
    group = None if clips.group is None else clips.group[real]
    swapped = swapped_audio([clips.measurements[index] for index in real], group, seed)
    result = ProbeResult(Interval(None, reason="fewer than 4 real clips have audio and video"))
    if swapped is not None:
        result = replace(evaluate_probe(swapped, seed), random=None, within={})
    # Each group contains every waveform and video in both classes, so groups do not widen this null distribution.
    finding = classify_control(result.grouped, (len(real), len(real)), NullDistribution(1.0, null.n_probes))
    common = {"remedy": "", "medians": {}}
    rows = [{"probe": SWAPPED} | _figures(result, finding) | common | _counts(swapped, 2 * len(real))]
    spread = Interval(None, reason="a class occurs in fewer than two independent units")
    if len(null_aucs):
        low, high = np.percentile(null_aucs, (2.5, 97.5))
        spread = Interval(float(null_aucs.mean()), float(low), float(high), len(null_aucs))
    finding = classify_control(spread, count_classes(clips.target), null)
    counts = {"n_clips": len(clips.target), "n_left_out": n_all - len(clips.target)}
    counts["n_groups"] = len(clips.target) if clips.group is None else len(np.unique(clips.group))
    return [*rows, {"probe": PERMUTED} | _figures(ProbeResult(spread), finding) | common | counts]
