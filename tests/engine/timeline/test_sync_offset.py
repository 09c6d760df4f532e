"""Offsets between lips and voice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.timeline import sync_offset
from engine.timeline.sync_offset import SyncPart, correlation_curve, joined_parts
from models.experts.sync import SyncConfig, SyncExpert
from tests.support import talking


def test_the_curve_equals_that_of_the_sync_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    expert = SyncExpert(SyncConfig())
    maps = {name: buffer.numpy().astype(np.float64) for name, buffer in expert.named_buffers()}
    monkeypatch.setattr(sync_offset, "sync_maps", lambda: maps)
    mouth, speech = talking(0)
    curve = expert.curve(torch.from_numpy(mouth), torch.from_numpy(speech)).numpy()
    np.testing.assert_allclose(correlation_curve(mouth, speech), curve, atol=1e-9)


def test_only_clear_and_large_lags_are_findings() -> None:
    assert SyncPart(0, 10, 6, 0.3).is_offset and SyncPart(0, 10, -6, 0.3).is_offset
    assert not SyncPart(0, 10, 2, 0.3).is_offset and not SyncPart(0, 10, 6, 0.05).is_offset


def test_neighbouring_parts_with_one_offset_are_joined() -> None:
    parts = [SyncPart(0, 10, 6, 0.2), SyncPart(10, 20, 7, 0.3), SyncPart(20, 30, -8, 0.3), SyncPart(40, 50, -8, 0.2)]
    assert [(part.start_s, part.end_s, part.lag) for part in joined_parts(parts)] == [
        (0, 20, 7),
        (20, 30, -8),
        (40, 50, -8),
    ]


def test_the_shipped_maps_have_the_shapes_of_the_expert() -> None:
    expected = {name: tuple(buffer.shape) for name, buffer in SyncExpert(SyncConfig()).named_buffers()}
    assert all(expected[name] == values.shape for name, values in sync_offset.sync_maps().items())
