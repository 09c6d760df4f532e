"""Seeded report inputs for tests: a full report and its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from engine.report import ReportInputs

TYPES = ("face_swap", "lip_sync", "audio_swap")


def predictions(n_real: int = 60, n_fake: int = 90, seed: int = 0, unscored: int = 3) -> pd.DataFrame:
    """Return a predictions table with label columns and two evidence heads; the last `unscored` rows have no score."""
    generator = np.random.default_rng(seed)
    target = np.r_[np.zeros(n_real, int), np.ones(n_fake, int)]
    logit = generator.normal(1.4 * target - 0.7, 1.0)
    frame = pd.DataFrame(
        {
            "video_name": [f"part/{index:04d}.mp4" for index in range(len(target))],
            "target": target,
            "score": 1 / (1 + np.exp(-logit)),
            "logit": logit,
            "status": "ok",
            "reason": "",
            "type": np.where(target == 1, np.array(TYPES)[np.arange(len(target)) % 3], ""),
            "source": np.array(["studio", "street"])[np.arange(len(target)) % 2],
            "cosine": generator.normal(size=len(target)),
            "mel_head": logit * 0.6,
        }
    )
    if unscored:
        last = frame.index[-unscored:]
        frame.loc[last, ["score", "logit"]] = np.nan
        frame.loc[last, ["status", "reason"]] = ["failed", "truncated"]
    return frame


def metrics(split: str = "test", **changes: Any) -> dict[str, Any]:
    """Return a metrics.json with intervals, tables and one null; `changes` replace keys."""
    return {
        "split": split,
        "n": 150,
        "coverage": 0.98,
        "auc": {"value": 0.8412, "low": 0.7811, "high": 0.8961},
        "tpr_at_fpr": {"0.001": None, "0.005": None, "0.01": None},
        "eer": 0.231,
        "ap": 0.88,
        "balanced_accuracy": 0.77,
        "brier": 0.16,
        "ece": 0.05,
        "threshold": 0.47,
        "at_threshold": {"tpr": 0.8, "fpr": 0.2},
        "in_sample": False,
        "initialisation": "hub",
        "macro_auc": 0.8,
        "per_type": {
            "face_swap": {"n": 30, "auc": 0.51, "low": 0.4, "high": 0.62},
            "lip_sync": {"n": 30, "auc": 0.9, "low": 0.85, "high": 0.95},
            "audio_swap": {"n": 0, "auc": None},
        },
        "per_source": {"studio": {"n_real": 30, "n_fake": 45, "auc": 0.83, "low": 0.75, "high": 0.9}},
        "per_modality": {},
        "same_source": {"value": 0.82, "low": 0.74, "high": 0.88, "sources": 2},
        "policies": {"exclude": {"auc": 0.8412}, "as-real": {"auc": 0.82}},
        "reasons": {f"tpr_at_fpr.{rate}": "only 60 real clips" for rate in ("0.001", "0.005", "0.01")}
        | {"per_type.audio_swap.auc": "no fake clips"},
        **changes,
    }


def history(epochs: int = 12) -> list[dict[str, float]]:
    """Return a training history whose validation AUC peaks at epoch 6."""
    return [
        {
            "epoch": epoch,
            "train_loss": 0.7 * 0.85**epoch,
            "val_loss": 0.6,
            "val_auc": 0.85 - 0.01 * abs(epoch - 6),
            "lr": 3e-3,
        }
        for epoch in range(1, epochs + 1)
    ]


def probe(*values: object) -> dict[str, object]:
    """Return one row of the shortcut audit."""
    return dict(zip(("probe", "auc", "low", "high", "verdict", "remedy"), values, strict=True))


def full_inputs() -> ReportInputs:
    """Return inputs that fill every section of the report."""
    return ReportInputs(
        title="demo: ffdv_cov",
        metrics={"val": metrics("val", in_sample=True), "test": metrics("test")},
        predictions={"val": predictions(seed=1), "test": predictions(seed=2)},
        history=history(),
        provenance={
            "command": "python main.py --config cfg/demo.yml",
            "config_yaml": "model:\n  name: ffdv_cov\ntrain:\n  epochs: 12\n",
            "commit": "0123456789abcdef",
            "dirty": True,
            "versions": {"python": "3.11", "torch": "2.14"},
            "device": "cpu",
            "seed": 7,
            "data_fingerprint": {"testset": "9ab2"},
            "checkpoint": "checkpoint/run/best.pth",
            "initialisation": "hub",
            "finished": "2026-01-02 03:04:05 UTC",
        },
        audit=[
            probe("container facts", 0.72, 0.64, 0.8, "a shortcut", "re-encode"),
            probe("leading silence", None, None, None, "not computed", ""),
        ],
        robustness=pd.DataFrame(
            [
                (family, severity, 0.84 - 0.03 * severity, 0.6, 0.9, 0.95)
                for family in ("h264", "noise")
                for severity in range(1, 6)
            ],
            columns=["family", "severity", "auc", "low", "high", "coverage"],
        ),
        leakage={"same_bytes": 0, "same_visual_fingerprint": [("a.mp4", "b.mp4")]},
    )
