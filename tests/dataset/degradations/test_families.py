"""The table of degradation families, and plans made from it."""

from __future__ import annotations

import pytest

from dataset.degradations import FAMILIES, Degradation, families, find_family, plan
from engine.robustness_tables import format_level
from tests.support import REPOSITORY
from utils.errors import UsageError


def test_every_family_has_five_severities_or_is_a_baseline():
    for family in FAMILIES.values():
        assert family.severities in ((1, 2, 3, 4, 5), (0,))
        assert FAMILIES[family.baseline].severities == (0,)
    assert [name for name, family in FAMILIES.items() if not family.levels] == [
        "none",
        "reencode_video",
        "reencode_audio",
    ]


def test_family_changes_only_the_streams_of_its_kind():
    for family in FAMILIES.values():
        for severity in family.severities:
            change = Degradation(family, severity).change
            touched = (change.video is not None, change.audio is not None)
            assert touched == (family.kind == "video", family.kind == "audio"), family.name
            assert change.is_identity == (family.name == "none")
            # Families that use the intermediate encoding are compared with that encoding alone.
            intermediate = [("reencode_video", families.VISUALLY_LOSSLESS), ("reencode_audio", families.LOSSLESS)]
            encoding = change.video or change.audio
            expected = next((name for name, same in intermediate if same == encoding), "none")
            assert family.baseline == (expected if family.levels else "none"), family.name


def test_identities_are_unique_and_contain_the_parameters():
    cells = plan(None, [1, 2, 3, 4, 5])
    assert len({cell.identity for cell in cells}) == len(cells) == 3 + 22 * 5
    h264 = Degradation(find_family("h264"), 3)
    assert "libx264" in h264.identity and "'crf': '36'" in h264.identity
    assert str(h264) == "h264-3"


def test_plan_includes_the_baselines_of_its_families():
    assert [str(cell) for cell in plan(["offset", "mp3"], [2, 5])] == [
        "none-0",
        "reencode_audio-0",
        "mp3-2",
        "mp3-5",
        "offset-2",
        "offset-5",
    ]
    assert [str(cell) for cell in plan(["none"], [1])] == ["none-0"]


def test_unknown_names_and_severities_are_rejected():
    with pytest.raises(UsageError, match="unknown family 'blurr'; did you mean 'blur'"):
        plan(["blurr"], [1])
    with pytest.raises(UsageError, match="severity 6: expected 1 to 5"):
        plan(["blur"], [1, 6])


def test_missing_encoder_is_an_error_if_requested_and_skipped_otherwise(monkeypatch, caplog):
    monkeypatch.setattr(families, "can_encode", lambda codec: codec != "libsvtav1")
    with pytest.raises(UsageError, match="no encoder for av1"):
        plan(["av1", "blur"], [1])
    assert "av1" not in {cell.family.name for cell in plan(None, [1])}
    assert "av1 (libsvtav1)" in caplog.text


def test_encoders_are_looked_up_in_libav():
    assert families.can_encode("libx264")
    assert not families.can_encode("no_such_codec")


def test_documentation_lists_every_level():
    text = (REPOSITORY / "docs" / "ROBUSTNESS.md").read_text(encoding="utf-8")
    for family in FAMILIES.values():
        levels = " / ".join(format_level(level) for level in family.levels) or "-"
        assert f"| `{family.name}` | {family.kind} | {family.parameter} | {levels} |" in text
