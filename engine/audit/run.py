"""The audit: measure every clip once, put each probe to the cross-validation, judge, and again after the remedies."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    LEAK,
    POSSIBLE,
    SHORTCUT,
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
        `explanation, reach, n_clips, n_left_out, n_groups, random, within, medians, after`. `auc` is null where it cannot be
        computed; `random` is the same on a random split; `within` the mean AUC inside held-out groups that hold both classes;
        `medians` those of the probe's facts among reals and fakes; `after` (with remedies) the figures of the second pass.

    Raises:
        UsageError: an unknown column or remedy, or only one class.
        WorkError: no clip of one class could be measured.
    """
    chosen = check_remedies(remedies)
    table = _labelled(labels, group, max_clips, seed)
    paths = [Path(video_dir) / name for name in table["video_name"]]
    measured = _measure([MeasureTask(path) for path in paths], workers, quiet)
    clips = _usable(table, measured)
    null = permuted_aucs(PROBES[0].evidence(clips.measurements, clips.target, clips.group, seed), seed)
    yardstick = _yardstick(clips, null)
    answers = {probe.name: _ask(probe, clips, yardstick, seed) for probe in PROBES}
    rows = [_row(probe, answers[probe.name], clips, len(table)) for probe in PROBES]
    if chosen:
        window_s = shared_window_s([float(clip.container["duration"]["duration_s"]) for clip in clips.measurements])
        treated = _usable(table, _measure([MeasureTask(path, chosen, window_s) for path in paths], workers, quiet))
        for probe, row in zip(PROBES, rows, strict=True):
            answer = _ask(probe, treated, yardstick, seed, answers[probe.name])
            row["after"] = {"remedies": sorted(chosen), **_figures(answer.held, answer.verdict)}
    return [*rows, *_control_rows(clips, null, yardstick, len(table), seed)]


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


def _yardstick(clips: Clips, null: np.ndarray) -> Yardstick:
    """How far chance goes: by permuted labels on all container facts, since those know the groups best."""
    if clips.group is None or len(null) < 2:
        return Yardstick(1.0, len(PROBES))
    # Only the upper side counts: held-out scores of labels that mean nothing fall below one half more often than above.
    deviation = float(np.sqrt(2 * np.mean(np.maximum(null - 0.5, 0) ** 2)))
    return Yardstick(max(1.0, deviation / mann_whitney_deviation(*count_classes(clips.target))), len(PROBES))


def _ask(probe: Probe, clips: Clips, yardstick: Yardstick, seed: int, before: Answer | None = None) -> Answer:
    """Put a probe to the data; an earlier answer from the very same features is given again."""
    evidence = probe.evidence(clips.measurements, clips.target, clips.group, seed)
    if before is not None and _same(evidence, before.evidence):
        return before
    counts = count_classes(evidence.target)
    if min(counts) == 0:
        held = Held(Interval(None, reason="no clip of one class has what the probe looks at"))
    else:
        held = evaluate(evidence, seed)
    verdict = judge(held, counts, evidence.n_units, yardstick)
    if probe.caveat and verdict.verdict in FINDINGS:
        verdict = replace(verdict, explanation=f"{verdict.explanation[:-1]}; {probe.caveat}.")
    return Answer(evidence, held, verdict)


def _same(one: Evidence, other: Evidence) -> bool:
    return len(one.inputs) == len(other.inputs) and all(map(np.array_equal, one.inputs, other.inputs))


def count_classes(target: np.ndarray) -> tuple[int, int]:
    """Number of reals and of fakes."""
    return int((target == 0).sum()), int((target == 1).sum())


def _row(probe: Probe, answer: Answer, clips: Clips, n_all: int) -> dict[str, Any]:
    offered = "; ".join(f"{remedy}: {REMEDIES[remedy]}" for remedy in probe.remedies)
    remedy = {SHORTCUT: offered, POSSIBLE: offered, LEAK: SPLIT_BY_GROUP}.get(answer.verdict.verdict, "")
    return (
        {"probe": probe.name}
        | _figures(answer.held, answer.verdict)
        | {"remedy": remedy, "medians": probe.medians(clips.measurements, clips.target)}
        | _counts(answer.evidence, n_all)
    )


def _figures(held: Held, verdict: Verdict) -> dict[str, Any]:
    within = None
    if held.within:
        aucs = held.within.values()
        within = _interval(held.within_mean) | {"groups": len(aucs), "lowest": min(aucs), "highest": max(aucs)}
    return _interval(held.grouped) | {
        "verdict": verdict.verdict,
        "explanation": verdict.explanation,
        "reach": verdict.reach,
        "random": None if held.random is None else _interval(held.random),
        "within": within,
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"auc": interval.value, "low": interval.low, "high": interval.high}


def _counts(evidence: Evidence | None, n_all: int) -> dict[str, int]:
    if evidence is None:
        return {"n_clips": 0, "n_left_out": n_all, "n_groups": 0}
    n_clips = len(evidence.target)
    n_groups = n_clips if evidence.group is None else len(np.unique(evidence.group))
    return {"n_clips": n_clips, "n_left_out": n_all - n_clips, "n_groups": n_groups}


def _control_rows(clips: Clips, null: np.ndarray, yardstick: Yardstick, n_all: int, seed: int) -> list[dict[str, Any]]:
    """The rows of the two controls, in the shape of the probes' rows."""
    real = np.flatnonzero(clips.target == 0)
    group = None if clips.group is None else clips.group[real]
    swapped = swapped_audio([clips.measurements[index] for index in real], group, seed)
    held = Held(Interval(None, reason="fewer than 4 real clips have sound and pictures"))
    if swapped is not None:
        held = replace(evaluate(swapped, seed), random=None, within={})
    # Each group holds every sound and picture on both sides: groups do not widen the spread of this control.
    verdict = judge_control(held.grouped, (len(real), len(real)), Yardstick(1.0, yardstick.n_probes))
    common = {"remedy": "", "medians": {}}
    rows = [{"probe": SWAPPED} | _figures(held, verdict) | common | _counts(swapped, 2 * len(real))]
    spread = Interval(None, reason="fewer than two independent units hold a class")
    if len(null):
        low, high = np.percentile(null, (2.5, 97.5))
        spread = Interval(float(null.mean()), float(low), float(high), len(null))
    verdict = judge_control(spread, count_classes(clips.target), yardstick)
    counts = {"n_clips": len(clips.target), "n_left_out": n_all - len(clips.target)}
    counts["n_groups"] = len(clips.target) if clips.group is None else len(np.unique(clips.group))
    return [*rows, {"probe": PERMUTED} | _figures(Held(spread), verdict) | common | counts]
