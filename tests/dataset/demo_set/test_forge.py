"""Every forgery changes only its declared streams, regions and spans."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.demo_set.build import film_group, forged_span
from dataset.demo_set.forge import FORGED_STREAMS, FORGERS
from dataset.demo_set.plan import REAL, DemoSettings, plan_demo_set
from dataset.demo_set.speech import SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def filmed():
    """Return (settings, group, clip, its footage, footage of the real clip) for every fake of a small plan."""
    settings = DemoSettings(clips=36, seed=3, duration_s=(0.6, 0.9), sizes_px=(64,))
    rows = []
    for group in plan_demo_set(settings):
        clips = list(film_group(settings, group))
        assert clips[0][0].type == REAL
        rows += [(settings, group, clip, footage, clips[0][1]) for clip, footage in clips[1:]]
    return rows


def _of(filmed, kind):
    rows = [row for row in filmed if row[2].type == kind]
    assert rows
    return rows


def _frame_differences(fake, real):
    pairs = zip(fake.frames, real.frames, strict=True)
    return np.array([np.abs(a.astype(int) - b.astype(int)).mean() for a, b in pairs])


def test_every_forgery_declares_its_streams():
    assert set(FORGERS) == set(FORGED_STREAMS)
    assert {"face_swap", "lip_sync", "voice_resynthesis", "audio_swap", "splice"} <= set(FORGERS)


@pytest.mark.parametrize("kind", FORGERS)
def test_length_and_format_are_unchanged(filmed, kind):
    for _, group, _, fake, real in _of(filmed, kind):
        assert len(fake.frames) == len(real.frames) == group.n_frames
        assert fake.samples.shape == real.samples.shape
        assert fake.samples.dtype == np.float32
        assert all(frame.shape == (64, 64, 3) and frame.dtype == np.uint8 for frame in fake.frames)


@pytest.mark.parametrize("kind", FORGERS)
def test_only_the_declared_streams_differ(filmed, kind):
    for _, _, _, fake, real in _of(filmed, kind):
        video = _frame_differences(fake, real).max() > 0
        audio = not np.array_equal(fake.samples, real.samples)
        assert {name for name, differs in (("video", video), ("audio", audio)) if differs} == FORGED_STREAMS[kind]


@pytest.mark.parametrize("kind", ["face_swap", "reenactment"])
def test_face_forgeries_change_every_frame_but_not_the_corners(filmed, kind):
    for _, _, _, fake, real in _of(filmed, kind):
        assert (_frame_differences(fake, real) > 0).all()
        for forged, original in zip(fake.frames, real.frames, strict=True):
            assert np.array_equal(forged[:6], original[:6]) and np.array_equal(forged[-6:], original[-6:])


def test_lip_sync_changes_the_lower_half_only(filmed):
    for _, _, _, fake, real in _of(filmed, "lip_sync"):
        for forged, original in zip(fake.frames, real.frames, strict=True):
            assert np.array_equal(forged[:28], original[:28])
        assert _frame_differences(fake, real).max() > 0.1


def test_splice_changes_its_recorded_span_only(filmed):
    for settings, group, clip, fake, real in _of(filmed, "splice"):
        start_s, end_s = forged_span(settings, group, clip)
        assert 0 < start_s < end_s < group.n_frames / group.fps
        first, last = round(start_s * group.fps), round(end_s * group.fps)
        differences = _frame_differences(fake, real)
        assert (differences[first:last] > 0).all()
        assert differences[:first].max() == 0 and differences[last:].max() == 0
        begin, end = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        assert np.array_equal(fake.samples[:begin], real.samples[:begin])
        assert np.array_equal(fake.samples[end:], real.samples[end:])
        assert not np.array_equal(fake.samples[begin:end], real.samples[begin:end])


def test_other_types_have_no_span(filmed):
    for settings, group, clip, _, _ in filmed:
        assert (forged_span(settings, group, clip) is None) == (clip.type != "splice")


def test_filming_twice_gives_the_same_footage(filmed):
    settings, group, clip, footage, _ = filmed[0]
    again = dict(film_group(settings, group, [clip]))[clip]
    assert np.array_equal(footage.samples, again.samples)
    assert all(np.array_equal(a, b) for a, b in zip(footage.frames, again.frames, strict=True))
