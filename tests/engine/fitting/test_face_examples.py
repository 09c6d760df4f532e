"""Face training examples and their cache."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes.common import REAL
from dataset.pseudo_fakes.face.families import AUTOENCODER, FACE_FAKES, face_families
from engine.fitting.clip_features import CachedClip, FeatureTask, store_features
from engine.fitting.face_examples import (
    FaceExampleCounts,
    FaceTask,
    face_examples,
    load_faces,
    read_examples,
    store_examples,
    train_autoencoders,
)
from tests.in_process import in_process, no_work
from tests.support import WITH_FACE, write_head, write_video
from utils.cache import content_key
from utils.features.face.window import clip_faces

SMALL = FaceExampleCounts(rounds=2, fakes_per_round=2, families=("moved", "frozen_mouth", "low_resolution"))


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return [write_head(folder / f"{number}.mp4", number, frames=30) for number in range(2)]


def task(path, folder, **changes) -> FaceTask:
    fields = {"max_frames": None, "counts": SMALL, "autoencoders": None, "seed": 0, "folder": folder}
    return FaceTask(path.name, path, content_key(path), **{**fields, **changes})


def test_each_round_has_a_real_sequence_and_no_family_repeats_until_all_are_used(heads):
    crops = clip_faces(heads[0]).crops
    config = FaceExampleCounts(rounds=3, fakes_per_round=4, families=())
    examples = face_examples(crops, np.random.default_rng(0), FACE_FAKES, config)
    assert examples.rounds.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert (examples.families == REAL).tolist() == [True, False, False, False, False] * 3
    assert len(set(examples.families[examples.families != REAL])) == min(12, len(FACE_FAKES))
    assert examples.pairs.shape == (15, 6, 2, 112, 112, 3) and examples.pairs.dtype == np.uint8
    assert examples.masks.shape == (15, 28, 28)
    covered = examples.masks.sum(axis=(1, 2))
    assert (covered[examples.families == REAL] == 0).all() and (covered[examples.families != REAL] > 0).all()


def test_example_is_forged_within_its_mask(heads):
    crops = clip_faces(heads[0]).crops
    config = FaceExampleCounts(rounds=4, fakes_per_round=1, families=("low_resolution",))
    examples = face_examples(crops, np.random.default_rng(1), FACE_FAKES, config)
    for round_index in range(4):
        real, fake = np.flatnonzero(examples.rounds == round_index)
        change = np.abs(examples.pairs[fake].astype(int) - examples.pairs[real]).mean(axis=(0, 1, 4))
        cells = change.reshape(28, 4, 28, 4).mean(axis=(1, 3))
        mask = examples.masks[fake]
        if mask.min() == 0:
            assert cells[mask > 0.9].mean() > cells[mask == 0].mean()


def test_short_face_track_gives_no_examples(heads):
    examples = face_examples(clip_faces(heads[0]).crops[:3], np.random.default_rng(0), FACE_FAKES, SMALL)
    assert len(examples.families) == len(examples.rounds) == len(examples.masks) == len(examples.pairs) == 0


def test_cached_examples_are_reused(heads, tmp_path):
    tasks = [task(heads[0], tmp_path), task(tmp_path / "absent.mp4", tmp_path)]
    first, absent = load_faces(tasks, in_process)
    examples = read_examples(first)
    assert absent is None and len(examples.families) == 6 and isinstance(examples.pairs, np.memmap)
    assert load_faces(tasks[:1], no_work) == [first]
    others = [
        task(heads[0], tmp_path, **change)
        for change in ({"seed": 1}, {"max_frames": 9}, {"counts": FaceExampleCounts()})
    ]
    assert len({one.cache_path for one in [*tasks, *others]}) == 5


def test_examples_depend_on_name_and_seed_only(heads, tmp_path):
    made = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        one = task(heads[1], tmp_path / folder)
        assert store_examples(one) == ""
        made.append(read_examples(one.cache_path))
    np.testing.assert_array_equal(made[0].pairs, made[1].pairs)
    np.testing.assert_array_equal(made[0].masks, made[1].masks)


def test_clip_without_a_face_gives_no_examples(tmp_path):
    one = task(write_video(tmp_path / "noise.mp4", 0), tmp_path)
    assert store_examples(one) == "" and len(read_examples(one.cache_path).families) == 0


def test_autoencoders_are_trained_once(heads, tmp_path):
    clips = []
    for path in heads:
        feature_task = FeatureTask(path.name, path, content_key(path), WITH_FACE, None, tmp_path)
        assert store_features(feature_task) == ""
        clips.append(CachedClip(feature_task.cache_path))
    trained = train_autoencoders(clips, tmp_path, in_process, seed=0, steps=1)
    one = task(heads[0], tmp_path, autoencoders=trained, counts=FaceExampleCounts(1, 1, (AUTOENCODER,)))
    assert store_examples(one) == ""
    assert read_examples(one.cache_path).families.tolist() == [REAL, AUTOENCODER]
    assert train_autoencoders(clips, tmp_path, no_work, seed=0, steps=1) == trained
    assert train_autoencoders(clips, tmp_path, no_work, seed=0, steps=0) is None
    assert AUTOENCODER not in face_families(None)
