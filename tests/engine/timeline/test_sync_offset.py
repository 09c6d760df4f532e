"""Offsets between lips and voice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.timeline import sync_offset
from engine.timeline.sync_offset import SyncPart, correlation_curve, joined_parts, sync_findings
from models.experts.sync import SyncConfig, SyncExpert
from tests.support import talking
from utils.features.speech import MAX_LAG


def test_the_curve_equals_that_of_the_sync_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    expert = SyncExpert(SyncConfig())
    maps = {name: buffer.numpy().astype(np.float64) for name, buffer in expert.named_buffers()}
    monkeypatch.setattr(sync_offset, "sync_maps", lambda: maps)
    mouth, speech = talking(0)
    curve = expert.curve(torch.from_numpy(mouth), torch.from_numpy(speech)).numpy()
    np.testing.assert_allclose(correlation_curve(mouth, speech), curve, atol=1e-9)


def part(start_s: float, end_s: float, lag: int, gain: float) -> SyncPart:
    """Return a part whose correlation is `gain` at one lag and 0 elsewhere."""
    curve = np.zeros(2 * MAX_LAG + 1)
    curve[MAX_LAG + lag] = gain
    return SyncPart(start_s, end_s, curve)


def test_only_clear_and_large_lags_are_findings() -> None:
    for lag in (6, -6):
        (finding,) = sync_findings([part(0, 10, lag, 0.2)])
        assert finding.message.endswith("offset 0.24 s") and (finding.start_s, finding.end_s) == (0, 10)
    assert sync_findings([part(0, 10, 2, 0.3)]) == sync_findings([part(0, 10, 6, 0.1)]) == ()


def test_a_short_part_needs_a_larger_gain() -> None:
    assert sync_findings([part(0, 4, 6, 0.2)]) == ()
    assert len(sync_findings([part(0, 4, 6, 0.25)])) == 1


def test_parts_that_agree_are_one_finding_over_the_clip_although_none_suffices_alone() -> None:
    (finding,) = sync_findings([part(10 * k, 10 * k + 10, 8, 0.1) for k in range(4)])
    assert (finding.start_s, finding.end_s) == (0, 40) and finding.message.endswith("offset 0.32 s")
    lags = (8, -7, 5, -10)
    assert sync_findings([part(10 * k, 10 * k + 10, lag, 0.1) for k, lag in enumerate(lags)]) == ()
    assert sync_findings([part(0, 10, 8, 0.1), part(10, 20, 8, 0.1)]) == ()


def test_one_shifted_part_of_a_long_clip_is_found_where_it_is() -> None:
    parts = [part(10 * k, 10 * k + 10, 0, 0.3) for k in range(5)]
    parts[2] = part(20, 30, 8, 0.3)
    (finding,) = sync_findings(parts)
    assert (finding.start_s, finding.end_s) == (20, 30)


def test_neighbouring_parts_with_one_offset_are_joined() -> None:
    parts = [part(0, 10, 6, 0.2), part(10, 20, 7, 0.3), part(20, 30, -8, 0.3), part(40, 50, -8, 0.2)]
    assert [(one.start_s, one.end_s, one.lag) for one in joined_parts(parts)] == [
        (0, 20, 7),
        (20, 30, -8),
        (40, 50, -8),
    ]


def test_the_shipped_maps_have_the_shapes_of_the_expert() -> None:
    expected = {name: tuple(buffer.shape) for name, buffer in SyncExpert(SyncConfig()).named_buffers()}
    assert all(expected[name] == values.shape for name, values in sync_offset.sync_maps().items())
