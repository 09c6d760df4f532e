"""Face tracking: position of the window, choice of the face, gaps, rotation and memory."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import head_frames, write_head
from utils.features.face import tracker
from utils.features.face import window as window_module
from utils.features.face.crops import FaceCrops
from utils.features.face.detector import Detections, shared_detector
from utils.features.face.tracker import LEAST_OTHER_SIDE, side_of
from utils.features.face.window import FaceWindow, clip_faces
from utils.media.decode import StreamFacts
from utils.media.display import DisplayGeometry
from utils.media.writer import write_clip


def fed(
    frames, *, fps: float = 25.0, declared: int = 0, display: DisplayGeometry | None = None, times_s=None, **options
) -> FaceWindow:
    """Return a window to which these frames were added as in a decoding pass."""
    facts = StreamFacts(fps=fps, declared_frames=declared, display=display or DisplayGeometry())
    window = FaceWindow(facts, **options)
    for number, frame in enumerate(frames):
        facts.n_frames = number + 1
        facts.frame_s = number / fps if times_s is None else times_s[number]
        window.add(frame)
    return window


def followed(frames, **options) -> FaceCrops:
    crops = fed(frames, **options).crops()
    assert crops is not None
    return crops


def empty(count: int, size: int = 128) -> np.ndarray:
    return np.full((count, size, size, 3), 90, np.uint8)


def test_a_face_is_tracked_in_every_frame() -> None:
    face = followed(head_frames(0, 23))
    assert face.crops.shape == (23, 224, 224, 3) and face.crops.dtype == np.uint8
    np.testing.assert_allclose(face.times_s, np.arange(23) / 25)
    assert face.found == 1.0 and 15 < face.eye_px < 40
    assert np.abs(np.diff(face.crops.astype(int), axis=0)).mean() > 0.3


def test_the_crops_do_not_keep_the_frames_in_memory() -> None:
    frames = head_frames(0, 12).copy()
    shared = np.empty_like(frames[0])

    def overwritten():
        for frame in frames:
            shared[:] = frame
            yield shared

    np.testing.assert_array_equal(followed(overwritten()).crops, followed(frames).crops)


def test_crops_of_a_large_and_a_small_face_are_alike() -> None:
    frames = head_frames(1, 11)
    large = followed(frames.repeat(5, axis=1).repeat(5, axis=2))
    small = followed(frames)
    assert large.eye_px == pytest.approx(5 * small.eye_px, rel=0.1)
    assert np.abs(large.crops.astype(int) - small.crops).mean() < 12


def test_the_window_is_the_middle_of_the_declared_duration(monkeypatch) -> None:
    monkeypatch.setattr(window_module, "WINDOW_FRAMES", 10)
    frames = head_frames(0, 40)
    times = {"middle": followed(frames, declared=40).times_s, "unknown": followed(frames).times_s}
    times["capped"] = followed(frames, declared=40, max_frames=20).times_s
    times["true"] = followed(frames, declared=40, n_frames=30).times_s
    starts = {name: round(found[0] * 25) for name, found in times.items()}
    assert starts == {"middle": 15, "unknown": 0, "capped": 5, "true": 10}
    assert all(len(found) == 10 for found in times.values())


def test_the_window_of_an_endless_clip_is_near_its_start(monkeypatch) -> None:
    monkeypatch.setattr(window_module, "WINDOW_FRAMES", 10)
    monkeypatch.setattr(window_module, "LONGEST_S", 1)
    assert followed(head_frames(0, 40), declared=40).times_s[0] == pytest.approx(7 / 25)


@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
def test_a_rotated_clip_is_made_upright(rotation_deg: int) -> None:
    frames = head_frames(0, 12)
    turned = np.rot90(frames, -rotation_deg // 90, axes=(1, 2))
    np.testing.assert_array_equal(
        followed(turned, display=DisplayGeometry(rotation_deg=rotation_deg)).crops, followed(frames).crops
    )


def test_the_larger_of_two_faces_is_tracked() -> None:
    one, other = head_frames(0, 11), head_frames(1, 11)
    scene = np.full((11, 256, 384, 3), 90, np.uint8)
    scene[:, :128, :128] = one
    scene[:, :, 128:] = other.repeat(2, axis=1).repeat(2, axis=2)
    face = followed(scene)
    alone = followed(other.repeat(2, axis=1).repeat(2, axis=2))
    assert face.eye_px == pytest.approx(alone.eye_px, rel=0.15)
    assert np.abs(face.crops.astype(int) - alone.crops).mean() < 10


def in_scene(head: np.ndarray) -> np.ndarray:
    scene = np.full((len(head), 256, 400, 3), 90, np.uint8)
    scene[:, 64:192, 136:264] = head
    return scene


def test_intermittent_face_is_tracked_while_visible() -> None:
    frames = in_scene(np.concatenate([head_frames(0, 11), empty(20), head_frames(1, 31), empty(16)]))
    face = followed(frames)
    assert face.times_s[0] == pytest.approx(35 / 25) and face.times_s[-1] == pytest.approx(60 / 25)
    assert face.found < 0.75


def test_a_track_ends_at_a_cut() -> None:
    other = 255 - head_frames(1, 20)[:, :, ::-1]
    window = fed(np.concatenate([head_frames(0, 33), head_frames(1, 20) // 3, other]), others=True)
    face = window.crops()
    assert face is not None and len(face.crops) == 33 and face.times_s[0] == 0


def test_a_second_persistent_face_is_tracked_beside_the_first() -> None:
    scene = np.full((40, 256, 400, 3), 90, np.uint8)
    scene[:, 64:192, 8:136], scene[:, 64:192, 264:392] = head_frames(0, 40), head_frames(1, 40)
    window = fed(scene, others=True)
    (other,) = window.other_tracks()
    best = window.track()
    assert best is not None and len(best.cut_outs) == len(other.cut_outs) == 40
    assert {round(float(track.boxes[0].mean()) / 100) for track in (best, other)} == {1, 2}
    assert not fed(in_scene(head_frames(0, 40)), others=True).other_tracks()


def test_other_faces_do_not_change_the_first() -> None:
    scene = np.full((40, 256, 400, 3), 90, np.uint8)
    scene[:, 64:192, 8:136], scene[:, 64:192, 264:392] = head_frames(0, 40), head_frames(1, 40)
    with_others = fed(scene, others=True).crops()
    assert with_others is not None
    np.testing.assert_array_equal(with_others.crops, followed(scene).crops)


def test_a_short_absence_does_not_end_the_track() -> None:
    head = head_frames(0, 40)
    frames = in_scene(np.concatenate([head[:14], empty(8), head[22:]]))
    face = followed(frames)
    assert len(face.crops) == 40 and face.found == pytest.approx(6 / 8)


def test_a_face_that_jumps_away_is_another_span() -> None:
    left, right = np.full((31, 160, 400, 3), 90, np.uint8), np.full((46, 160, 400, 3), 90, np.uint8)
    left[:, 16:144, :128] = head_frames(0, 31)
    right[:, 16:144, 272:] = head_frames(1, 46)
    face = followed(np.concatenate([left, right]))
    assert face.times_s[-1] == pytest.approx(76 / 25) and 30 <= len(face.crops) <= 46


def test_a_small_face_is_found_after_a_large_one_has_left() -> None:
    large, small = np.full((21, 256, 256, 3), 90, np.uint8), np.full((60, 256, 256, 3), 90, np.uint8)
    large[:] = head_frames(0, 21).repeat(2, axis=1).repeat(2, axis=2)
    small[:, 170:234, 180:244] = head_frames(1, 60)[:, ::2, ::2]
    face = followed(np.concatenate([large, small]))
    assert face.eye_px < 12 and len(face.crops) > 40


def test_the_finest_grid_is_needed_only_while_no_large_face_is_in_view(monkeypatch) -> None:
    sizes: list[float] = []
    detect = shared_detector()

    def spy(frame: np.ndarray, *, least_side_px: float) -> Detections:
        sizes.append(least_side_px)
        return detect(frame, least_side_px=least_side_px)

    monkeypatch.setattr(tracker, "shared_detector", lambda: spy)
    head = head_frames(0, 40)
    track = fed(in_scene(np.concatenate([head[:14], empty(8), head[22:]]))).track()
    assert track is not None
    sides = [LEAST_OTHER_SIDE * side_of(box) for box in track.boxes]
    # One entry per detection, every five frames: the third is the last before the face is missed in two frames.
    np.testing.assert_allclose(sizes, [0.0, *sides[:3], 0.0, 0.0, *sides[3:-1]], rtol=1e-6)


@pytest.mark.parametrize("frames", [empty(12), empty(12, 1), np.zeros((3, 2, 700, 3), np.uint8), head_frames(0, 2)[:1]])
def test_no_face_gives_none(frames: np.ndarray) -> None:
    assert fed(frames).crops() is None


def test_no_frames_give_none() -> None:
    window = fed([])
    assert window.crops() is None and not window.misplaced


@pytest.mark.parametrize("times_s", [[None] * 12, [0.0] * 12, [0.0, 0.04, 0.02, *np.arange(3, 12) / 25]])
def test_absent_or_decreasing_times_become_regular(times_s: list) -> None:
    found = followed(head_frames(0, 12), times_s=times_s).times_s
    assert (np.diff(found) > 0).all() and found[-1] == pytest.approx(11 / 25)
    without_rate = fed(head_frames(0, 12), times_s=times_s)
    assert without_rate.crops() is not None


def test_a_clip_is_decoded_only_as_far_as_needed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(window_module, "WINDOW_FRAMES", 10)
    path = write_head(tmp_path / "a.mp4")
    face = clip_faces(path)
    assert face is not None and len(face.crops) == 10 and face.times_s[0] == pytest.approx(15 / 25)
    capped = clip_faces(path, max_frames=12)
    assert capped is not None and capped.times_s[0] == pytest.approx(1 / 25)


def test_odd_and_rotated_clips_are_tracked(tmp_path: Path) -> None:
    odd = np.ascontiguousarray(head_frames(0, 8)[:, :127, :125])
    face = clip_faces(write_head(tmp_path / "odd.mkv", pictures=odd, frames=8, pix_fmt="yuv444p"))
    assert face is not None and len(face.crops) == 8
    lying = np.ascontiguousarray(np.rot90(head_frames(0, 8), -1, axes=(1, 2)))
    upright = clip_faces(write_head(tmp_path / "lying.mp4", pictures=lying, frames=8, rotation_deg=90))
    plain = clip_faces(write_head(tmp_path / "plain.mp4", frames=8))
    assert upright is not None and plain is not None
    assert np.abs(upright.crops.astype(int) - plain.crops).mean() < 6


def test_an_overstated_duration_triggers_a_second_pass(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(window_module, "WINDOW_FRAMES", 10)
    path = tmp_path / "cut.avi"
    write_clip(path, head_frames(0, 40), 25, None, video_codec="mpeg4", video_options={"g": "1"})
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    path.write_bytes(path.read_bytes()[: positions[13]])
    face = clip_faces(path)
    assert face is not None and len(face.crops) == 10 and face.times_s[0] < 10 / 25
