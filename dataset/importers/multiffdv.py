"""MultiFFDV, the data of the Inclusion 2024 audio-video deepfake challenge. Its label files already have our format.

Source: `trainset_label.txt` and `valset_label.txt` of the released data, with `video_name,target`, 1 = fake. They contain
no type, person or source (names are hashes). `utils/make_splits.py --near_duplicates` finds related clips.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset.importers.imported_clip import Imported, ImportedClip
from dataset.importers.reading import clean_name
from dataset.labels import read_labels


def read(path: Path) -> Imported:
    """Read a label file. Placeholder targets become None.

    Raises:
        UsageError: see `read_labels`.
    """
    labels = read_labels(path)
    return Imported(
        [
            ImportedClip(clean_name(name, str(path)), None if np.isnan(target) else int(target))
            for name, target in zip(labels["video_name"], labels["target"], strict=True)
        ]
    )
