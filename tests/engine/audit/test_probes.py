"""Encoding of facts as feature matrices."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audit.measure import Measurements
from engine.audit.mitigations import MITIGATIONS
from engine.audit.probes import ALL_FACTS, PROBES, Probe, fact_matrix


def test_text_is_one_hot_encoded_and_missing_values_are_flagged():
    nan = float("nan")
    rows = [
        {"codec": "a", "x": 1.0, "file_bytes": 99},
        {"codec": "b", "x": nan, "file_bytes": 0},
        {"codec": "a", "x": 3},
    ]
    matrix = fact_matrix(rows)
    assert np.isfinite(matrix).all()
    codec, file_absent, file_log, x_absent, x = matrix[:, :2], matrix[:, 2], matrix[:, 3], matrix[:, 4], matrix[:, 5]
    assert codec.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert file_absent.tolist() == [0, 0, 1] and file_log[0] == pytest.approx(np.log(100))
    assert x_absent.tolist() == [0, 1, 0] and x.tolist() == [1, 2, 3]


def test_clips_without_audio_are_excluded_from_audio_probes():
    loud = Measurements(audio={"loudness": {"rms_db": -20.0}})
    probe = Probe("loudness", ("level",), ("loudness",))
    clips, target = [loud, Measurements(), loud], np.array([0, 1, 1])
    evidence = probe.data(clips, target, np.array([4, 5, 6]), 0)
    assert evidence.target.tolist() == [0, 1] and evidence.group.tolist() == [4, 6]
    assert probe.medians(clips, target) == {"rms_db": {"real": -20.0, "fake": -20.0}}
    assert probe.data([Measurements()], np.array([1]), None, 0).inputs == []


def test_probe_table_is_consistent():
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names) == 18
    assert all(set(probe.mitigations) <= set(MITIGATIONS) and (probe.mitigations or probe.caveat) for probe in PROBES)
    assert all(bool(probe.families) != bool(probe.array) for probe in PROBES)
    assert set(ALL_FACTS) <= {family for probe in PROBES[1:] for family in probe.families}
