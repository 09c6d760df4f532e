"""The labelled clips of a fit: their folds, their groups, and which of them have no video."""

from __future__ import annotations

import contextlib
import logging

import numpy as np
import pandas as pd

from dataset.clips import ClipTable, VideoFeatures
from dataset.folds import RECORDING_COLUMNS, assign_groups, check_recordings, column_values, related_groups
from dataset.labels import read_labels
from engine.config import RunConfig
from engine.cross_validation import GROUPING_COLUMNS, divide
from engine.fitting.base import LabelledClips
from engine.run import split_of
from utils.errors import UsageError
from utils.media.errors import MediaError
from utils.media.streams import has_video

log = logging.getLogger(__name__)

FOLDS = 5
GROUP = "group"


def labelled_clips(config: RunConfig) -> LabelledClips:
    """Read the training labels with their folds and groups.

    Raises:
        UsageError: the labels cannot be read, have no real clip, or have clips of one recording in several folds.
    """
    split = split_of(config, "trainset", config.features)
    labels = read_labels(split.labels, need_targets=True)
    if not (labels["target"] == 0).any():
        raise UsageError(f"{split.labels} has no real clip (target 0) to make pseudo-fakes from")
    groups = group_names(labels)
    folds = fold_numbers(labels, groups, config)
    if len(np.unique(folds[labels["target"].to_numpy(float) == 0])) < 2:
        raise UsageError(
            f"{split.labels}: all real clips are in one fold (by the columns fold, else {', '.join(GROUPING_COLUMNS)}); "
            "scoring a fold needs real clips outside it"
        )
    check_recordings(labels, folds, split.labels)
    table = ClipTable(split, labels, VideoFeatures(split, config.extraction.max_frames))
    return LabelledClips(table, folds, groups, audio_only_clips(table))


def audio_only_clips(table: ClipTable) -> np.ndarray:
    """Return a mask (n,) bool of the clips without video.

    A clip that cannot be opened counts as one only if no other clip has video. Otherwise a missing file in a set of audio files
    would be the only clip that calibration and threshold are fitted on.
    """
    mask = np.zeros(len(table.labels), bool)
    opened = np.zeros(len(mask), bool)
    for number, name in enumerate(table.names):
        with contextlib.suppress(MediaError):
            mask[number] = not has_video(table.split.video_path(name))
            opened[number] = True
    if opened.any() and mask[opened].all():
        mask[:] = True
    if mask.any():
        log.info("%d of %d clips have no video and are scored by their audio alone", mask.sum(), len(mask))
    return mask


def group_names(labels: pd.DataFrame) -> np.ndarray:
    """Return the group of each clip: the first of the label columns `GROUPING_COLUMNS` that exists, else the clip's name."""
    for column in GROUPING_COLUMNS:
        if column in labels:
            values, names = column_values(labels, column), labels["video_name"].to_numpy(object)
            return np.where(values == "", names, values).astype(str)
    return labels["video_name"].to_numpy(str)


def fold_numbers(labels: pd.DataFrame, groups: np.ndarray, config: RunConfig) -> np.ndarray:
    """Return the fold of each clip: from `split.folds`, else the column `fold`, else `FOLDS` folds of whole groups."""
    if config.split.folds is not None:
        return pd.factorize(divide(labels, config).fold)[0]
    if "fold" in labels:
        return pd.factorize(column_values(labels, "fold"))[0]
    related = [column for column in RECORDING_COLUMNS if column in labels]
    numbers = related_groups(labels.assign(**{GROUP: groups}), [GROUP, *related])
    count = min(FOLDS, numbers.max() + 1)
    return assign_groups(labels, numbers, [1 / count] * count)
