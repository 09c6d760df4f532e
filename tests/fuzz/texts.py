"""Mutations of text files: configs, label files and tables of predictions."""

from __future__ import annotations

import numpy as np

from tests.fuzz.mutations import MUTATIONS

VALUES = (
    "",
    "null",
    "-1",
    "1e400",
    "-.inf",
    ".nan",
    "9" * 400,
    "0x7fffffffffffffff",
    "1:30:00",
    "2020-02-30",
    "true",
    "{}",
    "[[1, 2], {a: b}]",
    "../../../etc/passwd",
    "/etc/hostname",
    "a\u202eb\u2066c",
    "\x1b[2J\x1b]0;title\x07",
    "=1+1",
    "<script>alert(1)</script>",
    '"unclosed',
    "!!python/object/apply:os.getcwd []",
    "!!binary AAAA",
    "&anchor [*anchor]",
    "*unknown",
    "<<: *unknown",
    "%s%n{0}",
    "\x00",
    "\ud7ff\ufffe",
    "x" * 200_000,
)
ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
MERGE_BOMB = "m0: &m0 {k: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 26))
NESTED = "a: " + "[" * 5000
WHOLE_FILES = (
    ALIAS_BOMB,
    MERGE_BOMB,
    NESTED,
    "a: {" * 3000,
    "- " * 3000 + "x",
    "\n" * 100_000,
    "? " * 2000,
    "'" * 50_001,
    "a,b\n" * 50_000,
    "x" * 1_000_000,
    "name: " + "&a " * 5,
    "[" + "1," * 300_000 + "1]",
)
"""Texts that expand, nest or repeat far more than a person writes."""

ENCODINGS = ("utf-16", "utf-32", "latin-1", "utf-7", "cp037", "utf-8-sig")


def mutate_text(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Return the name of a mutation and the bytes of a mutated text file."""
    kind = ("value", "value", "value", "lines", "bytes", "bytes", "encoding", "whole")[rng.integers(8)]
    if kind == "bytes":
        name = str(rng.choice(["flip_bits", "truncate", "overwrite", "insert_or_remove", "splice"]))
        return name, MUTATIONS[name](rng, data, other)
    text = data.decode("utf-8")
    if kind == "value":
        for _ in range(int(rng.integers(1, 4))):
            text = change_value(rng, text)
    elif kind == "lines":
        text = change_lines(rng, text)
    elif kind == "whole":
        whole = WHOLE_FILES[rng.integers(len(WHOLE_FILES))]
        text = (whole, text + "\n" + whole, whole + "\n" + text)[rng.integers(3)]
    else:
        return kind, text.encode(str(rng.choice(ENCODINGS)), errors="replace")
    return kind, text.encode("utf-8", errors="replace")


def change_value(rng: np.random.Generator, text: str) -> str:
    """Replace the value of a `key: value` line, or one cell of a table, with a hostile one."""
    lines = text.split("\n")
    at = int(rng.integers(len(lines)))
    value = VALUES[rng.integers(len(VALUES))]
    separator = ": " if ": " in lines[at] else ","
    cells = lines[at].split(separator)
    cells[int(rng.integers(len(cells)))] = value
    lines[at] = separator.join(cells)
    return "\n".join(lines)


def change_lines(rng: np.random.Generator, text: str) -> str:
    """Remove, repeat, exchange or indent lines."""
    lines = text.split("\n")
    one, two = (int(index) for index in rng.integers(0, len(lines), 2))
    kind = rng.integers(5)
    if kind == 0:
        del lines[one]
    elif kind == 1:
        lines[one:one] = [lines[two]] * int(rng.choice([1, 3, 5000]))
    elif kind == 2:
        lines[one], lines[two] = lines[two], lines[one]
    elif kind == 3:
        lines[one] = " " * int(rng.integers(1, 5)) + lines[one]
    else:
        lines[one] = lines[one] + "," + lines[two]
    return "\n".join(lines)
