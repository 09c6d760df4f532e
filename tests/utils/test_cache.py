"""The content-keyed cache: keys, damaged entries, interrupted runs, and failures."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.in_process import in_process, no_work
from utils.cache import MISSING_FILE, compute_missing, content_key, entry_key, is_intact_archive


@dataclass(frozen=True)
class Entry:
    name: str
    folder: Path

    @property
    def cache_path(self) -> Path:
        return self.folder / f"{entry_key(self.name)}.npz"


def compute(entry: Entry) -> str:
    if entry.name.startswith("bad"):
        return "unreadable"
    if entry.name == "interrupt":
        raise KeyboardInterrupt
    np.savez(entry.cache_path, values=np.arange(1000), name=entry.name)
    return ""


def entries(folder: Path, *names: str) -> list[Entry]:
    return [Entry(name, folder / "cache") for name in names]


def test_key_depends_only_on_the_content(tmp_path):
    first, second, third = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    first.write_bytes(b"one clip")
    second.write_bytes(b"one clip")
    third.write_bytes(b"two clip")
    for path in (first, second, third):
        os.utime(path, (1, 1))
    assert content_key(first) == content_key(second) != content_key(third)


def test_a_changed_file_gets_another_key_in_the_same_process(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one clip")
    before = content_key(path)
    path.write_bytes(b"two clip")
    os.utime(path, ns=(0, 12345))
    assert content_key(path) != before


def test_missing_file_has_a_special_key(tmp_path):
    assert content_key(tmp_path / "absent.mp4") == content_key(tmp_path) == MISSING_FILE


def test_key_depends_on_every_part_of_the_recipe():
    recipes = [("a", 1), ("a", 2), ("b", 1), ("a", 1, None), ("a", [1]), ({"a": 1},)]
    assert len({entry_key(*recipe) for recipe in recipes}) == len(recipes)
    assert entry_key({"a": 1, "b": 2}) == entry_key({"b": 2, "a": 1})


def test_only_missing_entries_are_computed_and_each_once(tmp_path):
    assert compute_missing(entries(tmp_path, "a", "b", "a"), compute, in_process, step="test") == {}
    assert compute_missing(entries(tmp_path, "a", "b"), compute, no_work, step="test") == {}
    computed = []

    def run(function, tasks):
        computed.extend(task.name for task in tasks)
        return in_process(function, tasks)

    compute_missing(entries(tmp_path, "a", "c", "c", "b"), compute, run, step="test")
    assert computed == ["c"]


@pytest.mark.parametrize("damage", ["truncated", "one byte", "empty", "text"])
def test_damaged_entries_are_computed_again(tmp_path, damage):
    (entry,) = entries(tmp_path, "a")
    compute_missing([entry], compute, in_process, step="test")
    whole = entry.cache_path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    damaged = {"truncated": whole[:-30], "one byte": bytes(changed), "empty": b"", "text": b"no archive"}
    entry.cache_path.write_bytes(damaged[damage])
    assert not is_intact_archive(entry.cache_path)
    compute_missing([entry], compute, in_process, step="test")
    assert is_intact_archive(entry.cache_path)


def test_failures_are_returned_and_logged_and_the_others_are_computed(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    tasks = entries(tmp_path, "bad", "a")
    failures = compute_missing(tasks, compute, in_process, step="features")
    assert failures == {tasks[0].cache_path: "unreadable"} and is_intact_archive(tasks[1].cache_path)
    assert "features: bad failed: unreadable" in caplog.text and "features: 2 of 2" in caplog.text


def test_a_crashed_worker_is_a_failure(tmp_path):
    (entry,) = entries(tmp_path, "a")
    failures = compute_missing([entry], compute, lambda _, tasks: [(tasks[0], None, "timeout")], step="test")
    assert failures == {entry.cache_path: "timeout"}


def test_an_interrupted_run_keeps_its_finished_entries(tmp_path):
    tasks = entries(tmp_path, "a", "b", "interrupt", "c")
    with pytest.raises(KeyboardInterrupt):
        compute_missing(tasks, compute, in_process, step="test")
    assert [task.cache_path.exists() for task in tasks] == [True, True, False, False]
