"""FakeAVCeleb v1.2: `meta_data.csv`.

Sources: a full copy in github.com/arnabk001/lipinc-pytorch, `FakeAVCeleb_v1.2/meta_data.csv`, whose last two columns are
renamed to `filename,path`; and the official header, `source,target1,target2,method,category,type,race,gender,path,`, from
the reader in github.com/SCLBD/DeepfakeBench-MM, `preprocess/fakeavceleb_preprocessor.py`. In the official header, `path` is
the file name, and the last column, which has no name, is the folder.

Pitfalls:
- The folder starts with the archive name (`FakeAVCeleb/...` or `FakeAVCeleb_v1.2/...`), which is not part of the path on disk.
- 22 files are listed twice, as `faceswap-wav2lip` and as `wav2lip`. Each becomes one row with both types.
- There is no official split (github.com/DASH-Lab/FakeAVCeleb, issue 10), and there are 500 real clips but about
  20,000 fakes, so accuracy is meaningless. Face swaps link nearly all persons, so splits can be disjoint in `identity`, the
  person of the underlying clip, but not also in `donor`.
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
        Clips with names relative to the archive folder (`RealVideo-RealAudio/African/men/id00076/00109.mp4`). Every person has
        one real clip, from which all fakes of that person were made, so `source` is the person as well.

    Raises:
        UsageError: another header, a row with too few cells, or an unknown type.
    """
    header, rows = read_rows(path)
    if header not in (OFFICIAL, RENAMED):
        raise UsageError(
            f"{path}: not FakeAVCeleb's meta_data.csv; expected the header {','.join(OFFICIAL)!r}, found {','.join(header)!r}"
        )
    clips = []
    for number, row in enumerate(rows, start=2):
        where = f"{path}, row {number}"
        if len(row) < len(OFFICIAL):
            raise UsageError(f"{where}: {len(row)} cells instead of {len(OFFICIAL)}")
        person, donor, _, method, _, kind, _, _, file, folder = row[: len(OFFICIAL)]
        if kind not in STREAMS:
            raise UsageError(f"{where}: unknown type {kind!r}; expected one of {', '.join(STREAMS)}")
        video, audio = STREAMS[kind]
        below = clean_name(f"{folder}/{file}", where).split("/")
        # Everything before the type folder is the archive name, which varies.
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
