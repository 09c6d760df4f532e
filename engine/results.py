"""The result files of a run: predictions, metrics and report."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.splits import SPLITS
from dataset.workers import default_workers
from engine.audit import AuditOptions, run_audit
from engine.checkpoint import Checkpoint
from engine.config import RunConfig
from engine.evaluate import SplitResult, split_of
from engine.leakage import Leakage
from engine.provenance import git_state, package_versions, table_fingerprint
from engine.report import ReportInputs, write_report
from engine.resume import recorded_changes
from engine.run_folder import PREDICTION_FILE, RunFolder, write_submission
from engine.scoring import EVIDENCE_PREFIX
from utils.errors import WorkError
from utils.files import write_text_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResultOrigin:
    """Origin of a run's results.

    Attributes:
        checkpoint: the detector that scored the clips.
        checkpoint_path: its file, or the run folder if several were trained.
        started: when the run started.
        leakage: clips shared by training and evaluation; `None` if the run trained nothing.
        best_epoch: the best epoch of each model if several were trained, else that of the checkpoint.
    """

    checkpoint: Checkpoint
    checkpoint_path: Path
    started: datetime
    leakage: Leakage | None = None
    best_epoch: str | None = None


def finish(
    folder: RunFolder,
    results: dict[str, SplitResult],
    config: RunConfig,
    origin: ResultOrigin,
    submission: Path = PREDICTION_FILE,
) -> None:
    """Write predictions, metrics and report, and log the headline.

    Args:
        folder: the run folder.
        results: by split; the last split is the headline.
        config: the resolved configuration.
        origin: origin of the results.
        submission: path of the challenge's prediction file.

    Raises:
        WriteError: a file cannot be written.
    """
    *others, headline = results
    folder.write_predictions(results[headline].predictions)
    write_submission(results[headline].predictions, submission)
    for name in others:
        folder.write_predictions(results[name].predictions, f"predictions.{name}.csv")
    metrics = {**results[headline].metrics, **{name: results[name].metrics for name in others}}
    if origin.leakage is not None:
        metrics["leakage"] = origin.leakage.as_metrics()
    folder.write_metrics(metrics)
    write_report(folder.path / "report.html", report_inputs(folder, results, config, origin))
    log.info("%s", headline_sentence(results[headline].metrics))
    log.info("report: %s", folder.path / "report.html")


def report_inputs(
    folder: RunFolder, results: dict[str, SplitResult], config: RunConfig, origin: ResultOrigin
) -> ReportInputs:
    """Gather the report's inputs; the last split is the headline."""
    headline = list(results)[-1]
    history = folder.read_history()
    # The default output of utils/robustness.py.
    robustness = origin.checkpoint_path.parent / "robustness" / "robustness.csv"
    return ReportInputs(
        title=f"{config.name} on {headline}",
        metrics={name: result.metrics for name, result in results.items()},
        predictions={name: result.predictions for name, result in results.items()},
        history=history,
        provenance=provenance(results, config, origin, recorded_changes(history)),
        audit=audit_of(headline, results[headline].predictions, origin.checkpoint, config),
        robustness=pd.read_csv(robustness) if robustness.is_file() else None,
        leakage=origin.leakage.found if origin.leakage else None,
        evidence_columns=tuple(
            name for name in map(str, results[headline].predictions) if name.startswith(EVIDENCE_PREFIX)
        ),
    )


def provenance(
    results: dict[str, SplitResult], config: RunConfig, origin: ResultOrigin, changes: str
) -> dict[str, Any]:
    """Return the report's record of command, code, data, checkpoint and times.

    Args:
        results: by split.
        config: the resolved configuration.
        origin: origin of the results.
        changes: settings changed when the run was resumed; omitted if empty.
    """
    checkpoint = origin.checkpoint
    seen = {name: result.metrics.get("n_seen_in_training") for name, result in results.items()}
    return {
        "command": shlex.join(["python", *sys.argv]),
        "config_yaml": config.to_yaml(),
        **git_state(),
        "versions": package_versions(),
        "device": config.device,
        "seed": config.seed,
        **({"settings_changed_on_resume": changes} if changes else {}),
        "data_fingerprint": {name: table_fingerprint(result.predictions) for name, result in results.items()},
        "clips_seen_in_training": {name: "unknown" if count is None else count for name, count in seen.items()},
        "checkpoint": str(origin.checkpoint_path),
        "trained_at_commit": checkpoint.provenance.get("commit", "unknown"),
        "best_epoch": checkpoint.epoch if origin.best_epoch is None else origin.best_epoch,
        "initialisation": checkpoint.provenance.get("initialisation", "unknown"),
        "started": origin.started.isoformat(timespec="seconds"),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def audit_of(
    name: str, predictions: pd.DataFrame, checkpoint: Checkpoint, config: RunConfig
) -> list[dict[str, Any]] | None:
    """Return the shortcut audit of an evaluated split: a stored one, or a new one if `eval.audit` is set.

    Args:
        name: the split. Pooled folds have no folder of clips and are not audited.
        predictions: the labels to audit.
        checkpoint: its feature settings locate the stored audit.
        config: `eval.audit`, the data root and the number of workers.

    Returns:
        The rows of the audit, or `None` if there is none.
    """
    if name not in SPLITS or predictions["target"].nunique() < 2:
        return None
    split = split_of(config, name, checkpoint.features)
    path, labels = split.store.root / "audit.json", table_fingerprint(predictions)
    if path.is_file():
        # A damaged audit is made again.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["labels"] == labels:
                return stored["probes"]
    if not config.eval.audit:
        return None
    workers = config.extraction.workers or default_workers()
    probes = run_audit(predictions, split.videos, AuditOptions(workers=workers, seed=config.seed))
    write_text_atomic(path, json.dumps({"labels": labels, "probes": probes}, indent=2, allow_nan=False) + "\n")
    return probes


def headline_sentence(metrics: dict[str, Any]) -> str:
    """Return AUC, interval, coverage and initialisation in one line."""
    auc = metrics["auc"]
    start = f"{metrics['split']}: {metrics['n']} clips, coverage {metrics['coverage']:.3f}, start {metrics['initialisation']}; "
    if auc["value"] is None:
        return f"{start}no AUC ({metrics['reasons'].get('auc', 'unknown reason')})"
    if auc["low"] is None:
        return f"{start}AUC {auc['value']:.4f}"
    return f"{start}AUC {auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]"


def refuse_unscored(folder: RunFolder, result: SplitResult, config: RunConfig) -> None:
    """Raise if no clip of the headline split has a score. The run's files have been written.

    Raises:
        WorkError: no clip has a logit.
    """
    if result.predictions["logit"].isna().all():
        raise WorkError(f"no clip of {config.evaluated_split} could be scored; the reasons are in {folder.path}")
