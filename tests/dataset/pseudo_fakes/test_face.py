"""Face pseudo-fakes: seeded, confined to their mask and span, and changed as documented."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset.pseudo_fakes.face.appearance import moved
from dataset.pseudo_fakes.face.autoencoder import UPSAMPLINGS, FaceAutoencoders, chosen_clips, chosen_frames
from dataset.pseudo_fakes.face.families import AUTOENCODER, FACE_FAKES, TEMPORAL_SPLICE, face_families, forge_face
from dataset.pseudo_fakes.face.masks import FACE_MASKS
from dataset.pseudo_fakes.face.motion import SPLICE_SHARE, splice_order
from dataset.pseudo_fakes.face.post_process import FacePostProcess, recode_frames
from tests.support import write_head
from utils.features.face.features import halved
from utils.features.face.window import clip_faces

FRAMES = 20


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> np.ndarray:
    """Return aligned crops of a rendered talking head."""
    face = clip_faces(write_head(tmp_path_factory.mktemp("head") / "head.mp4", frames=FRAMES))
    return face.crops


@pytest.fixture(scope="module")
def families(crops):
    """Return all families, with autoencoders trained for a few steps."""
    faces = np.stack([halved(crop) for crop in crops])
    return face_families(FaceAutoencoders.fit(faces, seed=1, steps=2))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def detail(crops: np.ndarray) -> float:
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
    return float(np.mean([cv2.Laplacian(one, cv2.CV_32F).var() for one in grey]))


@pytest.mark.parametrize("family", [*FACE_FAKES, AUTOENCODER])
def test_family_changes_the_masked_region_and_depends_on_its_seed_only(family, crops, families):
    before = crops.copy()
    first = forge_face(crops, rng(3), family, families=families)
    assert first.crops.shape == crops.shape and first.crops.dtype == np.uint8
    assert first.mask.shape == (224, 224, 1) and first.mask.min() >= 0 and first.mask.max() <= 1
    assert first.span == (0, len(crops))
    np.testing.assert_array_equal(crops, before)
    again = forge_face(crops, rng(3), family, families=families)
    np.testing.assert_array_equal(again.crops, first.crops)
    assert not np.array_equal(forge_face(crops, rng(4), family, families=families).crops, first.crops)
    change = np.abs(first.crops.astype(int) - crops)
    assert change.sum() > 0
    assert (change[:, first.mask[..., 0] == 0] == 0).all()


@pytest.mark.parametrize("family", ["low_resolution", "frozen_mouth", "self_blended"])
def test_only_the_span_is_forged(family, crops):
    forged = forge_face(crops, rng(), family, span=(5, 15))
    changed = np.abs(forged.crops.astype(int) - crops).sum(axis=(1, 2, 3)) > 0
    assert forged.span == (5, 15)
    assert not changed[:5].any() and not changed[15:].any() and changed[5:15].sum() >= 8


@pytest.mark.parametrize("family", ["low_resolution", "denoised", "moved", "self_blended", "mouth_stretched"])
def test_lower_strength_changes_less(family, crops):
    def change(strength: float) -> float:
        forged = [forge_face(crops, rng(seed), family, strength=strength).crops for seed in range(3)]
        return float(np.mean([np.abs(one.astype(int) - crops).mean() for one in forged]))

    assert change(0.2) < change(1.0)


def test_families_have_their_documented_effects(crops):
    render = {name: family.render for name, family in FACE_FAKES.items()}
    assert detail(render["low_resolution"](crops, rng())) < detail(crops)
    assert detail(render["denoised"](crops, rng(1))) < detail(crops)
    frozen = render["frozen_mouth"](crops, rng())
    assert (frozen == frozen[0]).all() and any((frozen[0] == crop).all() for crop in crops)
    steadiness = np.abs(np.diff(render["time_smoothed"](crops, rng()).astype(int), axis=0)).mean()
    assert steadiness < np.abs(np.diff(crops.astype(int), axis=0)).mean()
    colours = np.abs(render["self_blended"](crops, rng()).mean(axis=(0, 1, 2)) - crops.mean(axis=(0, 1, 2)))
    assert colours.max() > 1
    aside = moved(crops, rng())
    assert not np.array_equal(aside[0], crops[0])


def test_displaced_mouth_is_taken_from_another_time():
    numbered = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None, None], (24, 224, 224, 3)).copy()
    for seed in range(5):
        taken = FACE_FAKES["mouth_from_elsewhere"].render(numbered, rng(seed))[:, 112, 112, 0].astype(int)
        away = np.abs(taken - np.arange(24))
        assert (np.minimum(away, 24 - away) >= 4).mean() > 0.7


def test_splice_shows_genuine_frames_of_another_time_in_its_span(crops):
    for seed in range(10):
        order, (start, end) = splice_order(40, rng(seed))
        inside = np.zeros(40, bool)
        inside[start:end] = True
        assert (order[~inside] == np.arange(40)[~inside]).all() and (order[inside] != np.arange(40)[inside]).all()
        assert (np.diff(order[inside]) == 1).all() and order.min() >= 0 and order.max() < 40
        assert SPLICE_SHARE[0] * 40 - 1 <= end - start <= SPLICE_SHARE[1] * 40
    spliced = forge_face(crops, rng(), TEMPORAL_SPLICE)
    start, end = spliced.span
    np.testing.assert_array_equal(spliced.crops[:start], crops[:start])
    assert all(any((frame == crop).all() for crop in crops) for frame in spliced.crops[start:end])
    assert not np.array_equal(spliced.crops, crops)


def test_too_few_frames_are_rejected(crops):
    with pytest.raises(ValueError, match="4 frames"):
        forge_face(crops[:3], rng(), "moved")
    assert forge_face(crops[:4], rng(), TEMPORAL_SPLICE).crops.shape == (4, 224, 224, 3)


@pytest.mark.parametrize("name", list(FACE_MASKS))
def test_mask_is_soft_and_covers_the_face(name):
    for seed in range(8):
        mask = FACE_MASKS[name](rng(seed))
        assert mask.shape == (224, 224, 1) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1 + 1e-6 and mask.sum() > 400
        np.testing.assert_array_equal(FACE_MASKS[name](rng(seed)), mask)
    if name in ("mouth", "face", "outline"):
        assert mask[150, 112] > 0.2 and mask[0].max() == 0


def test_same_draw_gives_the_same_post_processing(crops):
    draws = [FacePostProcess.draw(rng(seed)) for seed in range(30)]
    assert {draw.mirrored for draw in draws} == {True, False}
    for draw in draws[:6]:
        processed = draw.crops(crops)
        assert processed.shape == crops.shape and processed.dtype == np.uint8
        np.testing.assert_array_equal(draw.crops(crops), processed)
        turned = crops[:, :, ::-1] if draw.mirrored else crops
        assert np.corrcoef(processed[10].ravel(), turned[10].ravel())[0, 1] > 0.9
    mask = FACE_MASKS["blob"](rng())
    mirrored = next(draw for draw in draws if draw.mirrored)
    np.testing.assert_array_equal(mirrored.mask(mask), mask[:, ::-1])


def test_encoding_loses_more_at_a_higher_crf(crops):
    fine, coarse = (np.abs(recode_frames(crops, crf).astype(int) - crops).mean() for crf in (10, 40))
    assert fine < coarse < 20


def test_saved_autoencoders_give_the_same_output(crops, families, tmp_path):
    faces = np.stack([halved(crop) for crop in crops])
    first = FaceAutoencoders.fit(faces, seed=1, steps=2)
    first.save(tmp_path / "ae.pt")
    loaded = FaceAutoencoders.load(tmp_path / "ae.pt")
    np.testing.assert_array_equal(loaded(crops[:4], rng()), families[AUTOENCODER].render(crops[:4], rng()))
    assert len(loaded.nets) == len(UPSAMPLINGS)


def test_training_faces_are_sampled_across_clips_and_frames():
    assert len(chosen_clips(range(1200))) <= 500 and chosen_clips(range(3)) == range(3)
    assert chosen_frames(16).tolist() == [0, 5, 10, 15]


def test_training_reduces_the_autoencoder_loss():
    faces = np.full((8, 112, 112, 3), 200, np.uint8)
    early, late = (FaceAutoencoders.fit(faces, seed=0, steps=steps) for steps in (1, 15))
    large = np.full((4, 224, 224, 3), 200, np.uint8)
    errors = [np.abs(one(large, rng()).astype(int) - large).mean() for one in (early, late)]
    assert errors[1] < 0.8 * errors[0]
