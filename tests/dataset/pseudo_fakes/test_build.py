"""Building sets of pseudo-fakes: spans, groups, workers, and errors."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes import build
from dataset.pseudo_fakes.build import build_pseudo_fakes
from dataset.pseudo_fakes.face.video import FACE_TYPES, random_part
from dataset.pseudo_fakes.set_folder import CLIPS, LABELS, SetSettings
from dataset.pseudo_fakes.voice.soundtrack import AUDIO_TYPES
from tests.support import write_head, write_video
from utils.errors import WorkError
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice
from utils.media.decode import ClipStream

FRAMES = 26
FOLDERS = {"one worker": 1, "two workers": 2}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    heads = [write_head(folder / f"{number}.mp4", number, frames=FRAMES) for number in range(2)]
    return [*heads, write_video(folder / "no face.mp4", 0)]


@pytest.fixture(autouse=True)
def quick_autoencoders(monkeypatch):
    monkeypatch.setattr(build, "AUTOENCODER_STEPS", 2)


def frames_of(path):
    return np.stack([frame.copy() for frame in ClipStream(path, audio=False)])


def audio_of(path):
    return clip_voice(path, FeatureConfig(), trim=False)


def test_faces_are_forged_in_their_span_and_audio_is_copied(clips, tmp_path):
    table = build_pseudo_fakes(clips, tmp_path, SetSettings(2, 6, "video"))
    assert list(table) == ["video_name", "target", "type", "start_s", "end_s", "group"]
    assert table["type"].tolist() == ["", *FACE_TYPES[:6], "", *FACE_TYPES[6:12]]
    assert (tmp_path / LABELS).read_text().splitlines()[0] == ",".join(table)
    for _, members in table.groupby("group"):
        real = frames_of(tmp_path / CLIPS / members["video_name"].iloc[0])
        audio = audio_of(tmp_path / CLIPS / members["video_name"].iloc[0])
        assert len(real) == FRAMES and len(audio) > 16_000
        for row in members.iloc[1:].itertuples():
            path = tmp_path / CLIPS / row.video_name
            changed = np.abs(frames_of(path).astype(int) - real).mean(axis=(1, 2, 3))
            inside = np.zeros(FRAMES, bool)
            inside[round(row.start_s * 25) : round(row.end_s * 25)] = True
            assert changed[inside].mean() > 0
            # Frames after the span are not compared, because the encoder predicts them from forged frames.
            before = changed[: round(row.start_s * 25)]
            assert before.size == 0 or changed[inside].mean() > before.mean()
            np.testing.assert_array_equal(audio_of(path), audio)


def test_set_does_not_depend_on_the_number_of_workers(clips, tmp_path):
    settings = SetSettings(seed=1, modality="video")
    first, second = (build_pseudo_fakes(clips, tmp_path / name, settings, workers=n) for name, n in FOLDERS.items())
    assert first.equals(second)
    for name in first["video_name"]:
        one, other = (frames_of(tmp_path / folder / CLIPS / name) for folder in FOLDERS)
        np.testing.assert_array_equal(one, other)


def test_modality_both_forges_one_track_and_post_processes_both(clips, tmp_path):
    table = build_pseudo_fakes(clips, tmp_path, SetSettings(0, 2, "both"))
    assert table["type"].tolist()[:3] == ["", AUDIO_TYPES[0], FACE_TYPES[0]]
    real, forged_audio, face = (tmp_path / CLIPS / name for name in table["video_name"][:3])
    np.testing.assert_array_equal(frames_of(forged_audio), frames_of(real))
    assert not np.array_equal(frames_of(face), frames_of(real))
    assert not np.array_equal(frames_of(real), frames_of(clips[0]))
    assert not np.array_equal(audio_of(real), audio_of(clips[0]))


def test_every_fake_type_is_used():
    assert SetSettings(modality="audio").types() == AUDIO_TYPES and SetSettings(modality="video").types() == FACE_TYPES
    assert sorted(SetSettings(modality="both").types()) == sorted(AUDIO_TYPES + FACE_TYPES)


def test_clips_without_a_face_are_an_error(clips, tmp_path):
    with pytest.raises(WorkError, match="1 of 2 clips have a face"):
        build_pseudo_fakes(clips[1:], tmp_path, SetSettings(modality="video"))


def test_span_is_long_enough_and_within_the_clip():
    parts = [random_part(60, np.random.default_rng(seed)) for seed in range(100)]
    chosen = [part for part in parts if part is not None]
    assert 10 < len(chosen) < 60
    assert all(start >= 0 and end <= 60 and end - start >= 12 for start, end in chosen)
    assert random_part(10, np.random.default_rng(0)) is None
