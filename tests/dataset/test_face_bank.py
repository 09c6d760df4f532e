"""Rows of pseudo-fakes: what a face gives, kept on disk once."""

from __future__ import annotations

import numpy as np
import pytest

from dataset import face_bank
from dataset.clip_bank import ClipTask, describe_clips
from dataset.face_bank import FaceTask, load_faces, read_rows, train_autoencoders
from dataset.pseudo_fakes.bank import REAL
from dataset.pseudo_fakes.face import AUTOENCODER, FACE_FAKES, face_families
from dataset.pseudo_fakes.face_rows import FaceBankConfig, face_rows
from tests.support import WITH_FACE, write_head, write_video
from utils.features.face.window import clip_faces

SMALL = FaceBankConfig(rounds=2, fakes_per_round=2, families=("moved", "frozen_mouth", "low_resolution"))


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return [write_head(folder / f"{number}.mp4", number, frames=30) for number in range(2)]


def task(path, folder, **changes) -> FaceTask:
    fields = {"max_frames": None, "bank": SMALL, "autoencoders": None, "seed": 0, "folder": folder}
    return FaceTask(path.name, path, **{**fields, **changes})


def test_each_round_has_its_real_sequence_and_families_are_dealt_out(heads):
    crops = clip_faces(heads[0]).crops
    config = FaceBankConfig(rounds=3, fakes_per_round=4, families=())
    rows = face_rows(crops, np.random.default_rng(0), FACE_FAKES, config)
    assert rows.turns.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert (rows.families == REAL).tolist() == [True, False, False, False, False] * 3
    assert len(set(rows.families[rows.families != REAL])) == min(12, len(FACE_FAKES))
    assert rows.pairs.shape == (15, 6, 2, 112, 112, 3) and rows.pairs.dtype == np.uint8
    assert rows.masks.shape == (15, 28, 28)
    covered = rows.masks.sum(axis=(1, 2))
    assert (covered[rows.families == REAL] == 0).all() and (covered[rows.families != REAL] > 0).all()


def test_a_row_is_forged_where_its_mask_says_so(heads):
    crops = clip_faces(heads[0]).crops
    config = FaceBankConfig(rounds=4, fakes_per_round=1, families=("low_resolution",))
    rows = face_rows(crops, np.random.default_rng(1), FACE_FAKES, config)
    for turn in range(4):
        real, fake = np.flatnonzero(rows.turns == turn)
        change = np.abs(rows.pairs[fake].astype(int) - rows.pairs[real]).mean(axis=(0, 1, 4))
        cells = change.reshape(28, 4, 28, 4).mean(axis=(1, 3))
        mask = rows.masks[fake]
        if mask.min() == 0:
            assert cells[mask > 0.9].mean() > cells[mask == 0].mean()


def test_a_face_of_a_moment_gives_no_rows(heads):
    rows = face_rows(clip_faces(heads[0]).crops[:3], np.random.default_rng(0), FACE_FAKES, SMALL)
    assert len(rows.families) == len(rows.turns) == len(rows.masks) == len(rows.pairs) == 0


def test_kept_rows_are_not_made_again(heads, tmp_path, monkeypatch):
    tasks = [task(heads[0], tmp_path), task(tmp_path / "absent.mp4", tmp_path)]
    first, absent = load_faces(tasks, workers=1, timeout_s=60)
    rows = read_rows(first)
    assert absent is None and len(rows.families) == 6 and isinstance(rows.pairs, np.memmap)
    monkeypatch.setattr(face_bank, "run_in_workers", lambda *_, **__: pytest.fail("made again"))
    assert load_faces(tasks[:1], workers=1, timeout_s=60) == [first]
    others = [
        task(heads[0], tmp_path, **change) for change in ({"seed": 1}, {"max_frames": 9}, {"bank": FaceBankConfig()})
    ]
    assert len({one.kept for one in [*tasks, *others]}) == 5


def test_rows_depend_on_name_and_seed_alone(heads, tmp_path):
    kept = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        one = task(heads[1], tmp_path / folder)
        assert face_bank.make_rows(one) == ""
        kept.append(read_rows(one.kept))
    np.testing.assert_array_equal(kept[0].pairs, kept[1].pairs)
    np.testing.assert_array_equal(kept[0].masks, kept[1].masks)


def test_a_clip_without_a_face_gives_no_rows(tmp_path):
    one = task(write_video(tmp_path / "noise.mp4", 0), tmp_path)
    assert face_bank.make_rows(one) == "" and len(read_rows(one.kept).families) == 0


def test_autoencoders_are_trained_once_on_the_faces_at_hand(heads, tmp_path, monkeypatch):
    clips = describe_clips(
        [ClipTask(path.name, path, WITH_FACE, None, tmp_path) for path in heads], workers=1, timeout_s=60
    )
    assert all(clip.face_pairs().shape == (16, 2, 112, 112, 3) for clip in clips)
    kept = train_autoencoders(clips, tmp_path, seed=0, steps=1)
    one = task(heads[0], tmp_path, autoencoders=kept, bank=FaceBankConfig(1, 1, (AUTOENCODER,)))
    assert face_bank.make_rows(one) == ""
    assert read_rows(one.kept).families.tolist() == [REAL, AUTOENCODER]
    monkeypatch.setattr(face_bank, "run_in_workers", lambda *_, **__: pytest.fail("trained again"))
    assert train_autoencoders(clips, tmp_path, seed=0, steps=1) == kept
    assert train_autoencoders(clips, tmp_path, seed=0, steps=0) is None
    assert AUTOENCODER not in face_families(None)
