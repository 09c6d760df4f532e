"""Windows of long clips: their position, their features, and agreement with the same part as a clip of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import head_frames, head_voice, write_head
from utils.features import windows
from utils.features.config import FeatureConfig
from utils.features.extract import ExtractionOptions, extract_clip
from utils.features.face import window, windowed
from utils.features.windows import CLIP_HOP_S, CLIP_WINDOW_S, MAX_CLIP_WINDOWS, SINGLE_S, window_starts
from utils.media.arrays import ClipArrays

CONFIG = FeatureConfig.model_validate({"voice": True, "face": True})
NAMES = ("voice", "face", "speech")
FPS, RATE_HZ = 25, 16_000


def head(start_s: float = 0.0, end_s: float = 4.0) -> ClipArrays:
    frames, samples = head_frames(0, 100), head_voice(0, 4.0)
    video, audio = (slice(round(start_s * rate), round(end_s * rate)) for rate in (FPS, RATE_HZ))
    return ClipArrays(frames[video], FPS, samples[audio], RATE_HZ, "head")


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide clips of more than 2 s into windows of 2 s, 1 s apart, and track faces over 1.6 s of each."""
    monkeypatch.setattr(windows, "SINGLE_S", 2.0)
    monkeypatch.setattr(windows, "CLIP_HOP_S", 1.0)
    for module in (windows, windowed):
        monkeypatch.setattr(module, "CLIP_WINDOW_S", 2.0)
    for module in (window, windowed):
        monkeypatch.setattr(module, "WINDOW_FRAMES", 40)


@pytest.mark.parametrize("duration_s", [SINGLE_S + 0.1, 31.3, 600.0, 7000.0])
def test_windows_cover_a_long_clip(duration_s: float) -> None:
    starts = window_starts(duration_s)
    assert starts[0] == 0 and starts[-1] + CLIP_WINDOW_S == pytest.approx(duration_s)
    assert len(starts) <= MAX_CLIP_WINDOWS and np.ptp(np.diff(starts)) < 1e-9
    if duration_s <= 600:
        assert np.diff(starts).max() <= CLIP_HOP_S


def test_a_short_clip_has_no_windows() -> None:
    assert len(window_starts(SINGLE_S)) == 0
    found = extract_clip(head(), CONFIG, features=NAMES, options=ExtractionOptions(windows=True))
    whole = extract_clip(head(), CONFIG, features=NAMES)
    assert not found.windows
    np.testing.assert_array_equal(found.values["face"].pairs, whole.values["face"].pairs)
    np.testing.assert_array_equal(found.values["voice"], whole.values["voice"])


def test_a_window_has_the_features_of_its_part_as_a_clip(short_windows: None) -> None:
    found = extract_clip(head(), CONFIG, features=NAMES, options=ExtractionOptions(windows=True))
    assert [one.start_s for one in found.windows] == [0.0, 1.0, 2.0] and not found.values
    for one in found.windows:
        part = extract_clip(head(one.start_s, one.end_s), CONFIG, features=NAMES)
        (own,) = one.faces
        for field in ("pairs", "mouth", "motion"):
            np.testing.assert_allclose(
                getattr(own.values["face"], field), getattr(part.values["face"], field), atol=1e-4
            )
        assert own.values["face"].start_s == pytest.approx(part.values["face"].start_s)
        np.testing.assert_allclose(own.values["voice"], part.values["voice"], atol=0.2)


@pytest.mark.parametrize("single_s", [2.0, 20.0])
def test_frames_outside_the_face_windows_are_skipped(
    short_windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single_s: float
) -> None:
    monkeypatch.setattr(windows, "SINGLE_S", single_s)
    for module in (window, windowed):
        monkeypatch.setattr(module, "WINDOW_FRAMES", 15)
    path = write_head(tmp_path / "head.mp4", frames=60)
    options, received = ExtractionOptions(windows=True), []
    add_frame = windowed.WindowedFaceExtractor.add_frame
    monkeypatch.setattr(
        windowed.WindowedFaceExtractor,
        "add_frame",
        lambda self, frame: (received.append(frame.shape), add_frame(self, frame))[1],
    )
    skipping = extract_clip(path, CONFIG, features=NAMES, options=options)
    assert len(received) < 40
    monkeypatch.setattr(windowed.WindowedFaceExtractor, "needs_frame", lambda self, time_s: True)
    complete = extract_clip(path, CONFIG, features=NAMES, options=options)
    assert len(received) > 60 and skipping.facts == complete.facts
    pairs = [
        [face.values["face"].pairs for part in found.windows for face in part.faces] or [found.values["face"].pairs]
        for found in (skipping, complete)
    ]
    np.testing.assert_array_equal(*pairs)


def test_features_of_whole_clips_exclude_windows(short_windows: None) -> None:
    found = extract_clip(head(), CONFIG, features=("mel", "voice"), options=ExtractionOptions(windows=True))
    assert not found.windows and set(found.values) == {"mel", "voice"}


def test_a_wrong_declared_duration_is_corrected(short_windows: None, tmp_path: Path, monkeypatch) -> None:
    from utils.media.arrays import ArrayStream

    frames = ArrayStream._frames

    def declared_twice(self):
        for frame in frames(self):
            self.facts.declared_frames, self.facts.declared_s = 200, 8.0
            yield frame

    monkeypatch.setattr(ArrayStream, "_frames", declared_twice)
    found = extract_clip(head(), CONFIG, features=NAMES, options=ExtractionOptions(windows=True))
    assert [one.start_s for one in found.windows] == [0.0, 1.0, 2.0]
    assert all(one.faces[0].values["face"] is not None for one in found.windows)


def test_a_silent_window_is_absent_for_audio(short_windows: None) -> None:
    clip = head()
    samples = clip.samples.copy()
    samples[: round(2.1 * RATE_HZ)] = 0
    silenced = ClipArrays(clip.frames, FPS, samples, RATE_HZ)
    found = extract_clip(silenced, CONFIG, features=NAMES, options=ExtractionOptions(windows=True))
    reasons = [one.faces[0].facts.reasons for one in found.windows]
    assert "silent" in reasons[0] and "silent" not in reasons[2] and found.facts.reason == ""
