"""AV-Deepfake1M and AV-Deepfake1M++: `train_metadata.json` and `val_metadata.json`.

Seen: the fields in the official README ("Metadata Structure") and in the official reader, github.com/ControlNet/AV-Deepfake1M,
`README.md` and `python/avdeepfake1m/loader.py`; the folders of the first set in issue 7 of that repository; `video_model` and
the folders `vox_celeb_2`, `lrs3` and `silent_videos` of the second in github.com/dfwb-research/deepfake-workbench,
`src/dfwb/preprocess/inventory/builders/avdeepfake1mpp.py`.

Traps:
- The official reader compares `modify_type` with `both-modified`, the files say `both_modified`: both are read.
- `audio_frames` differs from the decoded length for forged audio alone (issue 7), so it would give every such fake away; no
  length is taken over. No frame rate is given either (the reader assumes 25): spans are in seconds already.
- 6,160 entries repeat their last forged part in the list of the stream that was *not* forged
  (github.com/UTAustin-SwarmLab/modal-fidelity, `modalfidelity/data/avdeepfake1m.py`): `spans` is `fake_segments`, the union,
  which is right, and `modality` comes from `modify_type` alone.
- File names repeat (`real.mp4`) in every folder: only the whole path is a name.
- The test split has no labels (`test_files.txt`): score it with `inference.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

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

STREAMS = {
    "real": (False, False),
    "visual_modified": (True, False),
    "audio_modified": (False, True),
    "both_modified": (True, True),
}
SPEAKER = re.compile(r"id\d{4,5}")
SUBJECT = re.compile(r"(subject_\d+)_")


def read(path: Path) -> Imported:
    """Read the metadata of one split.

    Returns:
        Names as the file has them, below the split's folder. The four versions of an utterance lie in one folder, which is
        their `source`.

    Raises:
        UsageError: not such a file; an unknown `modify_type`.
    """
    clips = []
    for index, entry in enumerate(read_entries(path, "AV-Deepfake1M's train_metadata.json or val_metadata.json")):
        where = f"{path}, entry {index}"
        name = clean_name(text_of(entry, "file", where), where)
        kind = text_of(entry, "modify_type", where).lower().replace("-", "_")
        if kind not in STREAMS:
            raise UsageError(f"{where}: the modify_type {kind!r} is none of {', '.join(STREAMS)}")
        video, audio = STREAMS[kind]
        programs = [
            optional_text(entry, "video_model") if video else "",
            optional_text(entry, "audio_model") if audio else "",
        ]
        generator = "+".join(filter(None, programs))
        clips.append(
            ImportedClip(
                name,
                int(video or audio),
                type=f"{kind}:{generator}" if generator else kind,
                source=name.rpartition("/")[0],
                identity=identity_of(name),
                spans=spans_of(entry.get("fake_segments"), f"{where}, fake_segments"),
                modality=modality_of(video=video, audio=audio),
                generator=generator,
                split=split_of(optional_text(entry, "split")),
            )
        )
    fakes_without = sum(clip.target == 1 and not clip.spans for clip in clips)
    return Imported(clips, span_notes(fakes_without, sum(clip.target == 0 and bool(clip.spans) for clip in clips)))


def identity_of(name: str) -> str:
    """Return the person in a path (VoxCeleb2 speaker, LRS3 talk or silent-video subject), else an empty string."""
    corpus, _, below = name.partition("/")
    if SPEAKER.fullmatch(corpus):
        return corpus
    folder = below.partition("/")[0]
    if corpus == "vox_celeb_2" and SPEAKER.fullmatch(folder):
        return folder
    if corpus == "lrs3" and folder:
        return f"lrs3:{folder}"
    if corpus == "silent_videos" and (subject := SUBJECT.match(folder)):
        return f"silent:{subject[1]}"
    return ""
