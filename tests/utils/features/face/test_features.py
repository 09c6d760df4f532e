"""The face features and their stored form."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.features.face.crops import FaceCrops
from utils.features.face.features import (
    MAX_MOUTH_FRAMES,
    PAIRS,
    FaceFeatures,
    face_features,
    halved,
    mouth_series,
    read_face,
    write_face,
)
from utils.features.face.motion import MOTION_CHANNELS


def crops_of(levels: np.ndarray) -> np.ndarray:
    """Return crops (T, 224, 224, 3), each with one grey level."""
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 224, 224, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def face() -> FaceFeatures:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (30, 224, 224, 3), dtype=np.uint8)
    return face_features(FaceCrops(crops, 2.0 + np.arange(30) / 25, 40.0, 1.0))


def test_pairs_are_consecutive_and_spread_over_the_whole_time() -> None:
    pairs = face_features(FaceCrops(crops_of(np.arange(100)), np.arange(100) / 25, 40.0, 1.0)).pairs
    assert pairs.shape == (PAIRS, 2, 112, 112, 3) and pairs.dtype == np.uint8
    first, second = pairs[:, :, 0, 0, 0].T.astype(int)
    np.testing.assert_array_equal(second - first, 1)
    assert first[0] == 0 and second[-1] == 99 and set(np.diff(first)) <= {6, 7}


def test_two_frames_are_enough() -> None:
    face = face_features(FaceCrops(crops_of(np.array([10, 90])), np.array([1.0, 1.04]), 40.0, 1.0))
    assert (face.pairs[:, 0] == 10).all() and (face.pairs[:, 1] == 90).all()
    assert face.mouth[:, 0, 0].tolist() == [10, 90] and face.start_s == 1.0


def test_halving_averages_areas() -> None:
    checked = np.indices((224, 224)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * 255
    assert set(np.unique(halved(checked.astype(np.uint8)))) <= {127, 128}


@pytest.mark.parametrize("fps", [12.5, 25, 30, 50])
def test_mouth_is_sampled_at_25_hz_at_any_frame_rate(fps: float) -> None:
    times_s = 3.0 + np.arange(round(2 * fps)) / fps
    mouth = mouth_series(crops_of(50 + 20 * (times_s - 3.0)), times_s)
    assert mouth.dtype == np.uint8 and abs(len(mouth) - 50) <= 2
    np.testing.assert_allclose(mouth[:, 12, 14], 50 + 20 * np.arange(len(mouth)) / 25, atol=1.6)


def test_the_mouth_series_depends_only_on_the_mouth() -> None:
    crops = np.zeros((5, 224, 224, 3), np.uint8)
    crops[:, 116:196, 68:156] = 200
    assert (mouth_series(crops, np.arange(5) / 25) == 200).all()


def test_mouth_series_of_a_slow_clip_is_limited() -> None:
    assert len(mouth_series(crops_of(np.arange(40)), np.arange(40.0))) == MAX_MOUTH_FRAMES
    with pytest.raises(ValueError, match="224"):
        mouth_series(np.zeros((5, 112, 112, 3), np.uint8), np.arange(5.0))


def test_a_face_is_read_back_from_disk(face: FaceFeatures, tmp_path: Path) -> None:
    write_face(tmp_path / "a.npz", face)
    again = read_face(tmp_path / "a.npz")
    assert again is not None and again.start_s == 2.0
    np.testing.assert_array_equal(again.pairs, face.pairs)
    np.testing.assert_array_equal(again.mouth, face.mouth)
    np.testing.assert_array_equal(again.motion, face.motion)
    first = (tmp_path / "a.npz").read_bytes()
    write_face(tmp_path / "a.npz", face)
    assert (tmp_path / "a.npz").read_bytes() == first


def test_a_face_of_two_frames_has_no_motion(tmp_path: Path) -> None:
    face = face_features(FaceCrops(crops_of(np.array([10, 90])), np.array([1.0, 1.04]), 40.0, 1.0))
    assert face.motion.shape == (0, MOTION_CHANNELS)
    write_face(tmp_path / "a.npz", face)
    again = read_face(tmp_path / "a.npz")
    assert again is not None and again.motion.shape == face.motion.shape and len(again.pairs) == PAIRS


def test_an_absent_face_is_stored(tmp_path: Path) -> None:
    write_face(tmp_path / "a.npz", None)
    assert read_face(tmp_path / "a.npz") is None


class Bomb:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def archive(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def damaged(face: FaceFeatures) -> dict[str, bytes]:
    arrays = {"pairs": face.pairs, "mouth": face.mouth, "start_s": np.float64(face.start_s), "motion": face.motion}
    whole = archive(**arrays)
    lone = io.BytesIO()
    np.save(lone, face.mouth)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    broken = face.motion.copy()
    broken[3, 0] = np.nan
    changes = {
        "objects": {"pairs": np.array([Bomb()], object)},
        "fewer pairs": {"pairs": face.pairs[:5]},
        "no mouth": {"mouth": face.mouth[:0]},
        "long mouth": {"mouth": face.mouth.repeat(9, axis=0)},
        "floats": {"pairs": face.pairs.astype(np.float32)},
        "other size": {"pairs": face.pairs[:, :, :56]},
        "no time": {"start_s": np.float64("nan")},
        "long motion": {"motion": face.motion.repeat(9, axis=0)},
        "other channels": {"motion": face.motion[:, :5]},
        "doubles": {"motion": face.motion.astype(np.float64)},
        "motion not finite": {"motion": broken},
    }
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped bit": bytes(flipped),
        "text": b"not an archive",
        "pickle": pickle.dumps(Bomb()),
        "lone array": lone.getvalue(),
        "time missing": archive(pairs=face.pairs, mouth=face.mouth, motion=face.motion),
        "motion missing": archive(pairs=face.pairs, mouth=face.mouth, start_s=arrays["start_s"]),
        **{kind: archive(**{**arrays, **change}) for kind, change in changes.items()},
    }


@pytest.mark.parametrize(
    "kind",
    [
        "empty", "cut", "flipped bit", "text", "pickle", "objects", "lone array", "time missing", "fewer pairs", "no mouth",
        "long mouth", "floats", "other size", "no time", "motion missing", "long motion", "other channels", "doubles",
        "motion not finite",
    ],
)  # fmt: skip
def test_damaged_or_malicious_file_is_rejected(face: FaceFeatures, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(damaged(face)[kind])
    with pytest.raises((ValueError, EOFError)):
        read_face(path)


def test_crops_keep_their_colours() -> None:
    crops = np.zeros((2, 224, 224, 3), np.uint8)
    crops[..., 0] = 200
    face = face_features(FaceCrops(crops, np.array([0.0, 0.04]), 40.0, 1.0))
    assert (face.pairs[..., 0] == 200).all() and not face.pairs[..., 1:].any()
    assert (face.mouth == cv2.cvtColor(crops[0], cv2.COLOR_RGB2GRAY)[0, 0]).all()
