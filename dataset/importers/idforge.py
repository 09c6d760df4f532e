"""IDForge v1: `train.csv`, `val.csv` and `test.csv`, lists of paths without a header.

Sources: github.com/xyyandxyy/IDForge, `IDForge_v1/val.csv` (a line is `<forgery>/<person>/<recording>/<file>.mp4`) and
`README.md` (folders and the table of forgeries).

Pitfalls:
- A file name can occur in several forgery folders, so only the full path identifies a clip.
- `..._audiomismatch_...` is dubbed with genuine audio of another person, so its modality is FVRA.
- v2 (frames as .npy, audio as .mp3) contains no video files and is not supported.
"""

from __future__ import annotations

from pathlib import Path

from dataset.importers.imported_clip import Imported, ImportedClip, modality_of
from dataset.importers.reading import clean_name, read_rows
from utils.errors import UsageError

FORGERIES = (
    "face_audiomismatch_textmismatch",
    "face_rvc_textmismatch",
    "face_tts",
    "face_tts_textgen",
    "lip_audiomismatch_textmismatch",
    "lip_rvc_textmismatch",
    "lip_tts_textgen",
    "pristine",
    "rvc_textmismatch",
    "tts_textgen",
    "tts_textmismatch",
)
SWAPPERS = ("infoswap", "roop", "simswap")
PROGRAMS = {"face": "Wav2Lip", "lip": "Wav2Lip", "rvc": "RVC", "tts": "TorToiSe"}


def read(path: Path) -> Imported:
    """Read one of the three lists. The file name gives the split.

    Returns:
        Clips with names as in the list, relative to `main`. `source` is the recording that a clip was cut from.

    Raises:
        UsageError: a line is not a path of IDForge v1.
    """
    first, rows = read_rows(path)
    split = path.stem.lower() if path.stem.lower() in ("train", "val", "test") else ""
    return Imported([clip_of(row, f"{path}, line {line}", split) for line, row in enumerate([first, *rows], start=1)])


def clip_of(row: list[str], where: str, split: str) -> ImportedClip:
    """Convert one line to a clip."""
    name = clean_name(row[0], where)
    parts = name.split("/")
    if len(row) != 1 or len(parts) != 4 or parts[0] not in FORGERIES:
        raise UsageError(f"{where}: {','.join(row)!r} is not <forgery>/<person>/<recording>/<file> of IDForge v1")
    forgery, person, recording, file = parts
    words = forgery.split("_")
    video, audio = bool({"face", "lip"} & set(words)), bool({"rvc", "tts"} & set(words))
    swapper = file.rpartition(".")[0].rpartition("_")[2]
    programs = [swapper] if "face" in words and swapper in SWAPPERS else []
    programs += [PROGRAMS[word] for word in words if word in PROGRAMS]
    return ImportedClip(
        name,
        int(video or audio),
        type="real" if forgery == "pristine" else forgery,
        source=recording,
        identity=person,
        modality=modality_of(video=video, audio=audio),
        generator="+".join(programs),
        split=split,
    )
