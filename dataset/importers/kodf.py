"""KoDF as distributed by AI-Hub: one CSV of original clips and one of forged clips, with Korean headers.

The files are available on request only and were not inspected. Two independent readers agree on the columns:
github.com/LH-GWAN/deepfake-found, `scripts/evaluate_korean_faces.py` (name, person, target, source and program) and
github.com/HanMoonSub/DeepGuard, `preprocess/kodf/split_data.py` (name, original clip and program, and the names of the files).

Pitfalls:
- There is no label column; the header distinguishes real from fake clips. Read the folder that contains both files.
- Names have no folder, but the archive of each forgery method has its own folders. `--video_dir` finds the clips in
  sub-folders.
- The metadata does not state which stream is forged, so `modality` is empty.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from dataset.importers.imported_clip import Imported, ImportedClip
from dataset.importers.reading import clean_name, read_rows, split_of
from utils.errors import UsageError

NAME, PERSON = "영상ID", "UUID"
ORIGINAL, SEEN_PERSON, DONOR, PROGRAM = "타겟영상", "타겟UUID", "소스UUID", "변조모델"
REAL_COLUMNS, FAKE_COLUMNS = {NAME, PERSON}, {NAME, ORIGINAL, SEEN_PERSON, DONOR, PROGRAM}


def read(path: Path) -> Imported:
    """Read one CSV, or all CSV files of a folder.

    Returns:
        Clips; `source` is the original clip, `identity` the person in it, `type` the forgery method.

    Raises:
        UsageError: the folder has no CSV, or a CSV has other columns.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path}: no CSV in this folder")
    clips = [clip for file in files for clip in file_clips(file)]
    targets = {clip.target for clip in clips}
    notes = (
        [] if len(targets) == 2 else ["only one class: pass the folder that also contains the CSV of the other class"]
    )
    return Imported(clips, notes)


def file_clips(path: Path) -> list[ImportedClip]:
    """Read the clips of one CSV. Its header determines whether they are real or fake."""
    header, rows = read_rows(path)
    forged = set(header) >= FAKE_COLUMNS
    if not forged and not set(header) >= REAL_COLUMNS:
        raise UsageError(
            f"{path}: not a KoDF metadata file; expected the columns {','.join(sorted(REAL_COLUMNS))} or "
            f"{','.join(sorted(FAKE_COLUMNS))}, found {','.join(header)!r}"
        )
    split = split_of(next((word for word in path.stem.split("_") if split_of(word) in ("train", "val", "test")), ""))
    clips = []
    for number, row in enumerate(rows, start=2):
        where = f"{path}, row {number}"
        if len(row) < len(header):
            raise UsageError(f"{where}: {len(row)} cells instead of {len(header)}")
        cells = dict(zip(header, row, strict=False))
        name = clean_name(cells[NAME], where)
        clips.append(fake_clip(name, cells, split) if forged else real_clip(name, cells, split))
    return clips


def real_clip(name: str, cells: dict[str, str], split: str) -> ImportedClip:
    """Convert a row of the CSV of original clips."""
    return ImportedClip(name, 0, type="real", source=stem(name), identity=cells[PERSON], split=split)


def fake_clip(name: str, cells: dict[str, str], split: str) -> ImportedClip:
    """Convert a row of the CSV of forged clips."""
    person, donor = cells[SEEN_PERSON], cells[DONOR]
    return ImportedClip(
        name,
        1,
        type=cells[PROGRAM] or "fake",
        source=stem(cells[ORIGINAL]),
        identity=person,
        generator=cells[PROGRAM],
        donor=donor if donor != person else "",
        split=split,
    )


def stem(name: str) -> str:
    """Return a file name without folder and suffix."""
    return PurePosixPath(name.replace("\\", "/")).stem
