"""The score of a clip as a function of the scores of its windows and faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.scoring import EVIDENCE_PREFIX
from utils.features.windows import CLIP_HOP_S, CLIP_WINDOW_S
from utils.media.errors import join_reasons

WORST_WINDOWS = 5
"""The logit of a long clip is the highest mean over this many windows in a row, or over all of them if there are fewer."""

WORST_S = CLIP_WINDOW_S + (WORST_WINDOWS - 1) * CLIP_HOP_S
"""Duration of these windows. `docs/LOG.md` compares this choice with others."""


def worst_windows(logits: np.ndarray) -> slice:
    """Return the windows in a row whose logits (W,) have the highest mean. Without a finite logit, the slice is empty."""
    known = np.isfinite(logits)
    width = min(WORST_WINDOWS, len(logits))
    kernel = np.ones(width)
    count = np.convolve(known, kernel, "valid")
    total = np.convolve(np.where(known, logits, 0.0), kernel, "valid")
    # Half of the windows must be scored, so that one window between unscored ones does not stand for 30 s.
    usable = count >= max(1.0, min(width / 2, count.max()))
    if not usable.any():
        return slice(0, 0)
    start = int(np.argmax(np.where(usable, total / np.maximum(count, 1), -np.inf)))
    return slice(start, start + width)


def worst_faces(rows: Sequence[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """Return the row with the highest logit of each window, in the order of the windows. NaN is lower than any number."""
    worst: dict[int, Mapping[Any, Any]] = {}
    for row in rows:
        known = worst.setdefault(row["window"], row)
        if row["logit"] > known["logit"] or np.isnan(known["logit"]):
            worst[row["window"]] = row
    return [worst[window] for window in sorted(worst)]


def combine_rows(rows: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """Return the row of a clip from the rows of its windows and faces.

    Every window has the logit of its most suspicious face. The clip's logit is the mean over the worst windows in a row, see
    `worst_windows`. Terms are averaged over the same windows, so they still sum to the logit; a term counts as 0 in a window
    in which it abstains. A reason code must apply to all windows, so a clip with a face in one of them is not `no_face`.

    Args:
        rows: one row per window and face with `window`, `logit` (NaN if unscored), `status`, `reason`, and one column per
            term (NaN where it abstains).
    """
    if len(rows) == 1:
        return dict(rows[0])
    windows = worst_faces(rows)
    chosen = windows[worst_windows(np.array([row["logit"] for row in windows], float))]
    chosen = [row for row in chosen if np.isfinite(row["logit"])]
    if not chosen:
        return dict(rows[0])
    reason = join_reasons(set.intersection(*(set(row["reason"].split("+")) for row in windows)))
    status = "ok" if chosen[0]["status"] == "partial" and not reason else chosen[0]["status"]
    logit = float(np.mean([row["logit"] for row in chosen]))
    combined = dict(chosen[0]) | {"logit": logit, "status": status, "reason": reason}
    for name in combined:
        if name.startswith(EVIDENCE_PREFIX):
            values = np.array([row[name] for row in chosen], float)
            combined[name] = float(np.nan_to_num(values).mean()) if np.isfinite(values).any() else np.nan
    return combined
