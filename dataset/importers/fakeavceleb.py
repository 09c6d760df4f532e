"""FakeAVCeleb v1.2: `meta_data.csv`.

Seen: a whole copy in github.com/arnabk001/lipinc-pytorch, `FakeAVCeleb_v1.2/meta_data.csv`, whose last two columns were given
the names `filename,path` there; and the official header, `source,target1,target2,method,category,type,race,gender,path,` (the
file's name is under `path`, its folder under a column without a name), as github.com/SCLBD/DeepfakeBench-MM reads it,
`preprocess/fakeavceleb_preprocessor.py`.

Traps:
- The folder begins with the archive's own name (`FakeAVCeleb/...` or `FakeAVCeleb_v1.2/...`), which is not on disk.
- 22 files are listed twice, once as `faceswap-wav2lip` and once as `wav2lip`: one row here, with both types.
- There is no official split (github.com/DASH-Lab/FakeAVCeleb, issue 10), and 500 reals stand against some 20,000 fakes, so
  that accuracy says nothing. The swaps link nearly all persons with each other: only `identity`, the person of the
  underlying clip, can be kept apart, not `donor` too.
"""

from __future__ import annotations

import re
from pathlib import Path

from dataset.importers.imported_clip import Imported, ImportedClip, modality_of
from dataset.importers.reading import clean_name, read_rows
from utils.errors import UsageError

OFFICIAL = ["source", "target1", "target2", "method", "category", "type", "race", "gender", "path", ""]
RENAMED = [*OFFICIAL[:8], "filename", "path"]
STREAMS = {
    "RealVideo-RealAudio": (False, False),
    "RealVideo-FakeAudio": (False, True),
    "FakeVideo-RealAudio": (True, False),
    "FakeVideo-FakeAudio": (True, True),
}
PERSON = re.compile(r"id\d+")


def read(path: Path) -> Imported:
    """Read `meta_data.csv`.

    Returns:
        Names below the archive's folder (`RealVideo-RealAudio/African/men/id00076/00109.mp4`). Every person has one real clip,
        from which the fakes of that person were made: `source` is the person too.

    Raises:
        UsageError: another header, a row with too few cells, an unknown kind.
    """
    header, rows = read_rows(path)
    if header not in (OFFICIAL, RENAMED):
        raise UsageError(
            f"{path}: not FakeAVCeleb's meta_data.csv; expected {','.join(OFFICIAL)!r}, it has {','.join(header)!r}"
        )
    clips = []
    for number, row in enumerate(rows, start=2):
        where = f"{path}, row {number}"
        if len(row) < len(OFFICIAL):
            raise UsageError(f"{where}: {len(row)} cells instead of {len(OFFICIAL)}")
        person, donor, _, method, _, kind, _, _, file, folder = row[: len(OFFICIAL)]
        if kind not in STREAMS:
            raise UsageError(f"{where}: the type {kind!r} is none of {', '.join(STREAMS)}")
        video, audio = STREAMS[kind]
        below = clean_name(f"{folder}/{file}", where).split("/")
        # What precedes the folder of the kind is the archive's own name, however it is called.
        below = below[below.index(kind) :] if kind in below else below
        clips.append(
            ImportedClip(
                "/".join(below),
                int(video or audio),
                type=method if video or audio else "real",
                source=person,
                identity=person,
                modality=modality_of(video=video, audio=audio),
                generator=method if video or audio else "",
                donor=donor if PERSON.fullmatch(donor) and donor != person else "",
            )
        )
    return Imported(clips, ["FakeAVCeleb has no official split: utils/make_splits.py --by identity makes one"])
