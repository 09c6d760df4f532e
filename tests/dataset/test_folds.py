"""Groups are connected components. Folds keep groups together and are balanced and repeatable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dataset.folds import (
    GroupFacts,
    assign_groups,
    check_recordings,
    hold_out,
    leave_one_out,
    related_groups,
    training_rows,
)
from dataset.split_files import balance_table, read_folds, write_splits
from utils.errors import UsageError


def table(count, **columns):
    names = [f"{index:04d}.mp4" for index in range(count)]
    return pd.DataFrame({"video_name": names, "target": np.arange(count) % 2 * 1.0, **columns})


def random_set(seed=0, groups=60):
    """Return groups of one to nine clips, each with one real clip and fakes of four types."""
    rng = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        kinds = ["real", *rng.choice(["swap", "lips", "voice", "splice"], rng.integers(0, 9))]
        rows += [(f"g{group}", kind, float(kind != "real")) for kind in kinds]
    frame = pd.DataFrame(rows, columns=["group", "type", "target"])
    return frame.assign(video_name=[f"{index:04d}.mp4" for index in range(len(frame))])


def test_relations_by_columns_and_pairs_are_transitive():
    labels = table(7, identity=["p", "q", "p", "", "", "r", "s"], source=["u", "v", "w", "v", "", "x", "y"])
    assert related_groups(labels, ["identity"]).tolist() == [0, 1, 0, 2, 3, 4, 5]
    assert related_groups(labels, ["identity", "source"]).tolist() == [0, 1, 0, 1, 2, 3, 4]
    assert related_groups(labels, ["identity", "source"], [(2, 3), (5, 6)]).tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert related_groups(labels).tolist() == list(range(7))


@pytest.mark.parametrize("column", ["pair", "content_group"])
def test_a_recording_in_several_folds_is_refused(column):
    labels = table(5, **{column: ["a", "a", "b", "", ""]})
    check_recordings(labels, np.array([0, 0, 1, 1, 2]), "x.csv")
    with pytest.raises(UsageError, match=f"x.csv: the clips with {column}=a are in 2 folds"):
        check_recordings(labels, np.array([0, 1, 1, 1, 2]), "x.csv")


def test_equal_values_in_different_columns_are_unrelated():
    labels = table(2, identity=["a", "b"], source=["b", "c"])
    assert related_groups(labels, ["identity", "source"]).tolist() == [0, 1]


def test_unknown_column_is_reported_by_name():
    with pytest.raises(UsageError, match="no column 'person'"):
        related_groups(table(2), ["person"])


@pytest.mark.parametrize("shares", [[1] * 5, [0.7, 0.15, 0.15], [0.5, 0.5]])
def test_parts_share_no_group_and_are_balanced_in_every_stratum(shares):
    labels = random_set()
    groups = related_groups(labels, ["group"])
    parts = assign_groups(labels, groups, shares, seed=1)
    for group in np.unique(groups):
        assert len(set(parts[groups == group])) == 1
    for stratum in (
        labels["target"] >= 0,
        labels["target"] == 0,
        *(labels["type"] == kind for kind in set(labels["type"])),
    ):
        share = np.bincount(parts[stratum], minlength=len(shares)) / stratum.sum()
        np.testing.assert_allclose(share, np.array(shares) / np.sum(shares), atol=0.06)


def test_assignment_is_repeatable_and_depends_on_the_seed():
    labels = random_set()
    groups = related_groups(labels, ["group"])
    first = assign_groups(labels, groups, [1] * 4, seed=3)
    np.testing.assert_array_equal(first, assign_groups(labels, groups, [1] * 4, seed=3))
    assert (first != assign_groups(labels, groups, [1] * 4, seed=4)).any()


def test_no_part_is_empty_despite_a_giant_group():
    labels = table(20, source=["big"] * 17 + ["a", "b", "c"])
    parts = assign_groups(labels, related_groups(labels, ["source"]), [0.8, 0.1, 0.05, 0.05])
    assert set(parts) == {0, 1, 2, 3}
    with pytest.raises(UsageError, match="4 group"):
        assign_groups(labels, related_groups(labels, ["source"]), [1] * 5)
    assert "cannot be divided" in GroupFacts.of(related_groups(labels, ["source"])).sentence()


def test_leave_one_out_excludes_a_generator_and_its_originals():
    labels = table(
        10,
        generator=["A", "A", "", "B", "B", "", "C", "", "", ""],
        source=["s1", "s1", "s1", "s2", "s2", "s2", "s2", "", "", ""],
    )
    groups = related_groups(labels, ["source"])
    fold = leave_one_out(labels, groups, "generator")
    assert fold[:7].tolist() == ["A", "A", "A", "B", "B", "B", "C"]
    assert set(fold[7:]) <= {"A", "B", "C"}
    for held in "ABC":
        train = training_rows(fold, groups, held)
        assert not (train & (fold == held)).any()
        assert not np.isin(groups[train], groups[fold == held]).any()
    assert training_rows(fold, groups, "C")[:3].all() and not training_rows(fold, groups, "C")[3:7].any()
    with pytest.raises(UsageError, match="at least two values"):
        leave_one_out(labels.assign(generator="A"), groups, "generator")


def test_hold_out_selects_whole_groups():
    labels = random_set().assign(cluster=lambda frame: frame["group"])
    groups = related_groups(labels, ["group"])
    part = hold_out(labels, groups, "cluster", "g7", (0.85, 0.15))
    assert set(labels["group"][part == 2]) == {"g7"} and set(part) == {0, 1, 2}
    part = hold_out(labels, groups, "type", "voice", (0.85, 0.15))
    with_voice = set(labels.loc[labels["type"] == "voice", "group"])
    assert set(labels["group"][part == 2]) == with_voice
    for column, value, words in (("type", "nothing", "no clip has"), ("type", "real", "no clip is left")):
        with pytest.raises(UsageError, match=words):
            hold_out(labels, groups, column, value, (0.85, 0.15))


def test_written_splits_have_a_hash_and_can_be_read(tmp_path):
    labels = random_set(groups=12).assign(fold="old")
    groups = related_groups(labels, ["group"])
    parts = assign_groups(labels, groups, [1] * 3)
    output = tmp_path / "folds.csv"
    digest = write_splits(output, labels, groups, "fold", parts)
    assert (tmp_path / "folds.csv.sha256").read_text() == f"{digest}  folds.csv\n"
    assert write_splits(tmp_path / "again.csv", labels, groups, "fold", parts) == digest
    back = read_folds(output)
    assert back.index.tolist() == labels["video_name"].tolist()
    assert back["fold"].astype(int).tolist() == parts.tolist()
    assert related_groups(back, ["group"]).tolist() == groups.tolist()
    assert set(back["target"]) == {"0", "1"}
    assert "purged" in balance_table(labels, groups, "fold", parts)
    output.write_text(output.read_text() + "more.mp4,1,real,0,g000001\n")
    with pytest.raises(UsageError, match="does not match its hash"):
        read_folds(output)
    with pytest.raises(UsageError, match="no column 'part'"):
        read_folds(tmp_path / "again.csv", "part")


def test_splitting_250_000_clips_takes_seconds():
    rng = np.random.default_rng(0)
    count = 240_000
    labels = pd.DataFrame({"target": rng.integers(0, 2, count) * 1.0, "type": rng.choice(list("abcd"), count)})
    groups = related_groups(labels, pairs=rng.integers(0, count, (100_000, 2)))
    parts = assign_groups(labels, groups, [1] * 5)
    assert np.ptp(np.bincount(parts)) < 5
