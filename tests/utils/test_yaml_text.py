"""YAML text: values that expand, nest or cannot be converted are refused with one sentence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.config import load_run_config
from utils.errors import UsageError
from utils.yaml_text import parse_yaml

LISTS = "a0: &a0 [x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 40))
REFUSED = {
    "list aliases": (LISTS + "seed: *a9\n", "expand to more than"),
    "merge aliases": (MERGES, "expand to more than"),
    "nested lists": ("seed: " + "[" * 5000, "nested too deeply"),
    "nested mappings": ("a: {" * 3000, "nested too deeply"),
    "recursive alias": ("seed: &a [*a]\n", "contains it"),
    "date": ("seed: 2020-02-30\n", "day is out of range"),
    "number of many digits": ("seed: " + "9" * 5000 + "\n", "digits"),
    "object": ("seed: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    "unhashable key": ("? [a]\n: b\n", "unhashable key"),
    "unknown alias": ("seed: *b\n", "undefined alias"),
    "repeated key": ("seed: 1\nname: a\nseed: 2\n", "the key 'seed' occurs twice"),
    "control character": ("seed: \x00\n", "special characters"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_hostile_yaml_is_refused_with_one_sentence(tmp_path: Path, kind: str) -> None:
    text, message = REFUSED[kind]
    path = tmp_path / "a.yml"
    path.write_text(text, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(UsageError, match=message) as caught:
        load_run_config(path)
    assert time.process_time() - started < 5
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 5000


def test_aliases_of_ordinary_size_are_expanded() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]\n") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    assert parse_yaml("") is None
