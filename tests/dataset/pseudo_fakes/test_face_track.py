"""Tracking of a face over a whole clip, and pasting of forged crops back into the frames."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes.face import track as face_track
from dataset.pseudo_fakes.face.track import (
    edge_window,
    paste_back,
    track_crops,
    track_face,
    upright_frames,
)
from tests.support import head_frames, write_head, write_video
from utils.features.face.crops import TEMPLATE
from utils.media.decode import ClipStream


def test_face_is_tracked_to_the_last_frame(tmp_path):
    path = write_head(tmp_path / "head.mp4", frames=33)
    track = track_face(path)
    assert (track.first, track.end, track.n_frames) == (0, 33, 33)
    crops = track_crops(path, track)
    assert crops.shape == (33, 224, 224, 3)
    assert track_face(write_video(tmp_path / "noise.mp4", 0)) is None


def test_long_track_is_trimmed_to_its_middle(tmp_path, monkeypatch):
    monkeypatch.setattr(face_track, "LONGEST_TRACK", 20)
    track = track_face(write_head(tmp_path / "head.mp4", frames=40))
    assert (track.first, track.end) == (10, 30)


def test_track_ends_when_the_face_disappears(tmp_path):
    heads = head_frames(0, 40)
    pictures = np.concatenate([heads[:26], np.zeros_like(heads[:30])])
    track = track_face(write_head(tmp_path / "goes.mp4", pictures=pictures))
    assert track.first == 0 and track.end == 26


@pytest.mark.parametrize("scale", [0.35, 0.8, 2.0])
def test_crop_is_pasted_at_its_original_position(scale):
    rng = np.random.default_rng(0)
    side = round(260 * scale)
    frame = np.full((side, side, 3), 60, np.uint8)
    turn = 0.2
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    landmarks = ((TEMPLATE - 112) @ rotation.T + side / 2).astype(np.float32)
    crop = np.full((224, 224, 3), 60, np.uint8)
    crop[140:180, 90:134] = 220
    mask = np.zeros((224, 224, 1), np.float32)
    mask[130:190, 80:144] = 1
    pasted = paste_back(frame, crop, mask, landmarks)
    middle = (np.array([111.5, 159.5]) - 112) @ rotation.T + side / 2
    column, row = middle.round().astype(int)
    assert pasted[row, column, 0] > 190
    brow = (np.array([112, 60]) - 112) @ rotation.T + side / 2
    assert (pasted[brow[1].round().astype(int), brow[0].round().astype(int)] == 60).all()
    bright = pasted[..., 0] > 140
    rows, columns = np.nonzero(bright)
    np.testing.assert_allclose([columns.mean(), rows.mean()], middle, atol=1.0)
    assert bright.sum() == pytest.approx(40 * 44 * scale**2, rel=0.15)
    noisy = rng.integers(0, 255, frame.shape, dtype=np.uint8)
    np.testing.assert_array_equal(paste_back(noisy, crop, 0 * mask, landmarks), noisy)


def test_pasting_an_unchanged_crop_hardly_changes_the_frame(tmp_path):
    path = write_head(tmp_path / "head.mp4", frames=12)
    track = track_face(path)
    crops = track_crops(path, track)
    whole = np.ones((224, 224, 1), np.float32)
    for number, frame in enumerate(upright_frames(ClipStream(path, audio=False))):
        pasted = paste_back(frame, crops[number], whole, track.landmarks[number])
        assert np.abs(pasted.astype(int) - frame).mean() < 1.0


def test_edge_window_falls_to_zero():
    window = edge_window()
    assert window[0].max() == 0 and window[:, -1].max() == 0 and window[112, 112] == 1


def test_frames_are_rotated_upright_and_have_even_sides(tmp_path):
    pictures = head_frames(0, 6)[:, :, :101]
    path = write_head(tmp_path / "odd.mkv", pictures=pictures, pix_fmt="yuv444p")
    assert {frame.shape for frame in upright_frames(ClipStream(path, audio=False))} == {(128, 100, 3)}
    turned = write_head(tmp_path / "turned.mp4", pictures=head_frames(0, 6)[:, :96], rotation_deg=90)
    assert {frame.shape for frame in upright_frames(ClipStream(turned, audio=False))} == {(128, 96, 3)}
