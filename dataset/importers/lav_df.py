"""LAV-DF: `metadata.json`, or `metadata.min.json`, the same without transcripts.

Sources: the official reader, github.com/ControlNet/LAV-DF, `dataset/lavdf.py` (fields file, n_fakes, fake_periods, duration,
original, modify_video, modify_audio, split, video_frames, audio_channels, audio_frames), and an example entry in issue 22 of
that repository.

Pitfalls:
- `split` uses `dev` for the validation split.
- Lengths (duration, video_frames, audio_frames) have no frame rate; the official reader assumes 25. Lengths are not
  imported, because they depend on how a clip was made and could reveal fakes.
- The `original` of a clip may have an `original` as well; `source` is the end of this chain.
- No field identifies the person.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from dataset.importers.imported_clip import Imported, ImportedClip, modality_of
from dataset.importers.reading import (
    clean_name,
    optional_text,
    read_entries,
    span_notes,
    spans_of,
    split_of,
    text_of,
)
from utils.errors import UsageError

FLAGS = ("modify_video", "modify_audio")


def read(path: Path) -> Imported:
    """Read the metadata of all splits.

    Returns:
        Clips with names as in the file (`train/000001.mp4`). `source` is the number of the original clip.

    Raises:
        UsageError: the file has another format, or an entry lacks its flags.
    """
    entries = read_entries(path, "LAV-DF's metadata.json")
    original_of: dict[str, str] = {}
    for index, entry in enumerate(entries):
        number = number_of(text_of(entry, "file", f"{path}, entry {index}"))
        original_of[number] = number_of(optional_text(entry, "original"))
    clips = []
    for index, entry in enumerate(entries):
        where = f"{path}, entry {index}"
        video, audio = (flag_of(entry, name, where) for name in FLAGS)
        name = clean_name(entry["file"], where)
        modality = modality_of(video=video, audio=audio)
        clips.append(
            ImportedClip(
                name,
                int(video or audio),
                type=modality if video or audio else "real",
                source=first_original(number_of(name), original_of),
                spans=spans_of(entry.get("fake_periods"), f"{where}, fake_periods"),
                modality=modality,
                split=split_of(optional_text(entry, "split")),
            )
        )
    fakes_without = sum(clip.target == 1 and not clip.spans for clip in clips)
    return Imported(clips, span_notes(fakes_without, sum(clip.target == 0 and bool(clip.spans) for clip in clips)))


def number_of(name: str) -> str:
    """Return the clip number, unique over all splits: `train/000001.mp4` -> `000001`."""
    return PurePosixPath(name.replace("\\", "/")).stem


def first_original(number: str, original_of: dict[str, str]) -> str:
    """Follow the chain of originals to its end. A real clip is its own original."""
    seen = {number}
    while (original := original_of.get(number, "")) and original not in seen:
        seen.add(original)
        number = original
    return number


def flag_of(entry: dict, name: str, where: str) -> bool:
    """Return a modification flag. A missing flag is an error, because the label would be a guess."""
    value = entry.get(name)
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {name!r} must be true or false, found {value!r}")
    return value
