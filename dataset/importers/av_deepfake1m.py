"""AV-Deepfake1M and AV-Deepfake1M++: `train_metadata.json` and `val_metadata.json`.

Sources: the fields in the official README ("Metadata Structure") and in the official reader,
github.com/ControlNet/AV-Deepfake1M, `README.md` and `python/avdeepfake1m/loader.py`; the folders of the first set in issue 7
of that repository; `video_model` and the folders `vox_celeb_2`, `lrs3` and `silent_videos` of the second set in
github.com/dfwb-research/deepfake-workbench, `src/dfwb/preprocess/inventory/builders/avdeepfake1mpp.py`.

Pitfalls:
- The official reader expects `both-modified` in `modify_type`, but the files contain `both_modified`. Both are accepted.
- `audio_frames` differs from the decoded length only for forged audio (issue 7), so it would reveal every such fake. No
  lengths are imported. The metadata has no frame rate (the official reader assumes 25), but spans are in seconds.
- 6,160 entries repeat their last forged span in the list of the stream that is *not* forged
  (github.com/UTAustin-SwarmLab/modal-fidelity, `modalfidelity/data/avdeepfake1m.py`). Therefore `spans` is read from
  `fake_segments`, the correct union, and `modality` from `modify_type` only.
- File names such as `real.mp4` occur in every folder, so only the full path identifies a clip.
- The test split (`test_files.txt`) has no labels. Score it with `inference.py`.
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
        Clips with names as in the file, relative to the split's folder. The four versions of an utterance share a folder,
        which becomes their `source`.

    Raises:
        UsageError: the file has another format, or an unknown `modify_type`.
    """
    clips = []
    for index, entry in enumerate(read_entries(path, "AV-Deepfake1M's train_metadata.json or val_metadata.json")):
        where = f"{path}, entry {index}"
        name = clean_name(text_of(entry, "file", where), where)
        kind = text_of(entry, "modify_type", where).lower().replace("-", "_")
        if kind not in STREAMS:
            raise UsageError(f"{where}: unknown modify_type {kind!r}; expected one of {', '.join(STREAMS)}")
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
    """Return the identity in a path: a VoxCeleb2 speaker, LRS3 talk or silent-video subject; empty if there is none."""
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
