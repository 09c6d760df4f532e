"""What a run leaves behind: its origin, predictions, metrics and report."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.clips import ClipTable
from dataset.splits import SPLITS
from dataset.workers import default_workers
from engine.audit import AuditOptions, run_audit
from engine.checkpoint import Checkpoint
from engine.config import RunConfig
from engine.evaluate import SplitResult, split_of
from engine.leakage import Leakage
from engine.provenance import git_state, package_versions, table_fingerprint
from engine.report import ReportInputs, write_report
from engine.run_folder import RunFolder, write_submission
from engine.scoring import EVIDENCE_PREFIX
from models.base import Detector
from utils.errors import WorkError
from utils.files import write_text_atomic

log = logging.getLogger(__name__)


def describe_run(config: RunConfig, model: Detector, clips: dict[str, ClipTable]) -> dict[str, Any]:
    """What a checkpoint remembers of its origin."""
    return {
        **git_state(),
        "versions": package_versions(),
        "initialisation": model.initialisation,
        "seed": config.seed,
        "data": {name: table_fingerprint(table.labels) for name, table in clips.items()},
        "label_files": {name: table.split.labels.name for name, table in clips.items()},
    }


def finish(
    folder: RunFolder,
    results: dict[str, SplitResult],
    checkpoint: Checkpoint,
    config: RunConfig,
    started: datetime,
    checkpoint_path: Path,
    leakage: Leakage | None = None,
    best_epoch: int | str | None = None,
) -> None:
    """Write predictions, then metrics, then the report; say the headline.

    Where several models were trained, `best_epoch` tells each one's; else it is the checkpoint's.
    """
    *others, headline = results
    folder.write_predictions(results[headline].predictions)
    write_submission(results[headline].predictions)
    for name in others:
        folder.write_predictions(results[name].predictions, f"predictions.{name}.csv")
    metrics = {**results[headline].metrics, **{name: results[name].metrics for name in others}}
    if leakage is not None:
        metrics["leakage"] = leakage.as_metrics()
    folder.write_metrics(metrics)
    provenance = {
        "command": shlex.join(["python", *sys.argv]),
        "config_yaml": config.to_yaml(),
        **git_state(),
        "versions": package_versions(),
        "device": config.device,
        "seed": config.seed,
        "data_fingerprint": {name: table_fingerprint(result.predictions) for name, result in results.items()},
        "checkpoint": str(checkpoint_path),
        "trained_at_commit": checkpoint.provenance.get("commit", "unknown"),
        "best_epoch": checkpoint.epoch if best_epoch is None else best_epoch,
        "initialisation": checkpoint.provenance.get("initialisation", "unknown"),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    # Where utils/robustness.py leaves its table unless it is told otherwise.
    robustness = checkpoint_path.parent / "robustness" / "robustness.csv"
    inputs = ReportInputs(
        title=f"{config.name} on {headline}",
        metrics={name: result.metrics for name, result in results.items()},
        predictions={name: result.predictions for name, result in results.items()},
        history=folder.read_history(),
        provenance=provenance,
        audit=audit_of(headline, results[headline].predictions, checkpoint, config),
        robustness=pd.read_csv(robustness) if robustness.is_file() else None,
        leakage=leakage.found if leakage else None,
        evidence_columns=tuple(
            name for name in map(str, results[headline].predictions) if name.startswith(EVIDENCE_PREFIX)
        ),
    )
    write_report(folder.path / "report.html", inputs)
    log.info("%s", headline_sentence(results[headline].metrics))
    log.info("report: %s", folder.path / "report.html")


def audit_of(
    name: str, predictions: pd.DataFrame, checkpoint: Checkpoint, config: RunConfig
) -> list[dict[str, Any]] | None:
    """The shortcut audit of an evaluated split: the one kept beside its features, or a new one where the config asks for it.

    Args:
        name: the split; anything else (pooled folds, say) has no folder of clips to audit.
        predictions: its labels.
        checkpoint: says which features the split has.
        config: `eval.audit` and the data root.

    Returns:
        Rows of the audit, or `None` when there is none.
    """
    if name not in SPLITS or predictions["target"].nunique() < 2:
        return None
    split = split_of(config, name, checkpoint.features)
    path, labels = split.store.root / "audit.json", table_fingerprint(predictions)
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["labels"] == labels:
            return kept["probes"]
    if not config.eval.audit:
        return None
    workers = config.extraction.workers or default_workers()
    probes = run_audit(predictions, split.videos, AuditOptions(workers=workers, seed=config.seed))
    write_text_atomic(path, json.dumps({"labels": labels, "probes": probes}, indent=2, allow_nan=False) + "\n")
    return probes


def headline_sentence(metrics: dict[str, Any]) -> str:
    """AUC, interval, coverage and initialisation in one line."""
    auc = metrics["auc"]
    start = f"{metrics['split']}: {metrics['n']} clips, coverage {metrics['coverage']:.3f}, start {metrics['initialisation']}; "
    if auc["value"] is None:
        return f"{start}no AUC ({metrics['reasons'].get('auc', 'unknown reason')})"
    if auc["low"] is None:
        return f"{start}AUC {auc['value']:.4f}"
    return f"{start}AUC {auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]"


def refuse_unscored(folder: RunFolder, result: SplitResult, config: RunConfig) -> None:
    """End a run whose headline split has not one score; everything is written by then.

    Raises:
        WorkError: no clip has a logit.
    """
    if result.predictions["logit"].isna().all():
        raise WorkError(f"no clip of {config.evaluated_split} could be scored; the reasons are in {folder.path}")
