"""The folder of a set of pseudo-fakes: settings, labels and finished copies."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.pseudo_fakes.common import REAL
from dataset.pseudo_fakes.copies import LabelRow, Modality
from dataset.pseudo_fakes.face.video import FACE_TYPES
from dataset.pseudo_fakes.voice.soundtrack import AUDIO_TYPES
from utils.errors import UsageError
from utils.files import UNFINISHED_PREFIX, write_text_atomic

CLIPS, LABELS, STATE, WORK = "trainset", "trainset_label.txt", "pseudo_fakes.json", ".pseudo_fakes"
COLUMNS = ("video_name", "target", "type", "start_s", "end_s", "group")


@dataclass(frozen=True)
class SetSettings:
    """Everything that determines a set, apart from the clips.

    Attributes:
        seed: seed of all random choices.
        fakes_per_clip: number of forged copies of each clip.
        modality: forge the audio, the face, or the two in alternation. With `both`, the audio of every copy, including the
            real one, is post-processed, and its frames are re-encoded.
    """

    seed: int = 0
    fakes_per_clip: int = 1
    modality: Modality = "audio"

    def types(self) -> tuple[str, ...]:
        """Return the types of forgery in the order in which they are assigned to clips."""
        if self.modality == "audio":
            return AUDIO_TYPES
        if self.modality == "video":
            return FACE_TYPES
        both = itertools.zip_longest(AUDIO_TYPES, FACE_TYPES)
        return tuple(kind for pair in both for kind in pair if kind is not None)

    def kinds(self, number: int) -> tuple[str, ...]:
        """Return the kinds of the copies of a clip: `real`, then types of forgery."""
        types, first = self.types(), number * self.fakes_per_clip
        return (REAL, *(types[(first + step) % len(types)] for step in range(self.fakes_per_clip)))


@dataclass
class SetFolder:
    """The folder of a finished or unfinished set.

    The label file lists exactly the copies that are complete. The state file stores the settings and the usable clips; a
    later run compares them to decide whether it can resume.

    Attributes:
        root: the folder.
        rows: label rows of each clip's copies, by clip index.
        usable: indices of the usable clips; `None` until they are known.
    """

    root: Path
    rows: dict[int, list[LabelRow]]
    usable: list[int] | None = None

    @classmethod
    def open(cls, root: Path, record: dict[str, Any], settings: SetSettings) -> SetFolder:
        """Open a folder and read its finished copies.

        Raises:
            UsageError: it contains a set of other clips or settings, or one that cannot be resumed.
        """
        labels, state = root / LABELS, root / STATE
        if not state.exists():
            if labels.exists():
                raise UsageError(f"--output {root} already contains a {LABELS}")
            return cls(root, {})
        try:
            stored = json.loads(state.read_text(encoding="utf-8"))
            found, usable = stored["settings"], [int(index) for index in stored["usable"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(f"--output {root}: {STATE} is damaged; choose another folder") from None
        if found != record:
            changed = ", ".join(key for key in record if found.get(key) != record[key])
            raise UsageError(f"--output {root} contains a set made with another {changed}; choose another folder")
        folder = cls(root, {}, usable)
        for number, rows in read_rows(labels).items():
            complete = len(rows) == len(settings.kinds(number))
            if complete and all((root / CLIPS / row[0]).is_file() for row in rows):
                folder.rows[number] = rows
        return folder

    def start(self, record: dict[str, Any], usable: list[int]) -> None:
        """Store the settings and the usable clips, list the complete copies, and remove unfinished files."""
        self.usable = usable
        write_text_atomic(self.root / STATE, json.dumps({"settings": record, "usable": usable}) + "\n")
        self.write_labels()
        for path in (self.root / CLIPS).glob(f"{UNFINISHED_PREFIX}*"):
            path.unlink(missing_ok=True)

    def add(self, number: int, rows: list[LabelRow]) -> None:
        """Append the rows of one clip's copies in a single write, so that a kill leaves complete lines."""
        self.rows[number] = rows
        with open(self.root / LABELS, "ab", buffering=0) as file:
            file.write(table_of(rows).to_csv(index=False, header=False).encode("utf-8", errors="backslashreplace"))

    def write_labels(self) -> pd.DataFrame:
        """Write the labels in clip order and return them."""
        table = table_of([row for number in sorted(self.rows) for row in self.rows[number]])
        write_text_atomic(self.root / LABELS, table.to_csv(index=False))
        return table


def table_of(rows: list[LabelRow]) -> pd.DataFrame:
    """Return label rows as a table."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_rows(labels: Path) -> dict[int, list[LabelRow]]:
    """Read the rows of an unfinished label file by clip index; incomplete lines are skipped."""
    if not labels.exists():
        return {}
    table = pd.read_csv(labels, dtype=str, keep_default_na=False, on_bad_lines="skip")
    rows: dict[int, list[LabelRow]] = {}
    for name, target, kind, start, end, group in table.itertuples(index=False):
        number = str(group).partition("_")[0]
        if number.isdigit() and str(name).startswith(f"{group}__"):
            span: tuple[float | str, float | str] = (float(start), float(end)) if start else ("", "")
            rows.setdefault(int(number), []).append((name, int(target), kind, *span, group))
    return rows
