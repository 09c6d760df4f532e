"""Sets of pseudo-fakes on disk: spans, groups, and the same processing for real and forged copies."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.pseudo_fakes import forged_pictures
from dataset.pseudo_fakes.build import CLIPS, LABELS, build_pseudo_fakes, types_of
from dataset.pseudo_fakes.face_autoencoder import FaceAutoencoders
from dataset.pseudo_fakes.forged_pictures import PICTURE_TYPES, drawn_part
from dataset.pseudo_fakes.forged_sound import SOUND_TYPES
from tests.support import write_head, write_video
from utils.errors import WorkError
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice
from utils.media.decode import ClipStream

FRAMES = 26


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    heads = [write_head(folder / f"{number}.mp4", number, frames=FRAMES) for number in range(2)]
    return [*heads, write_video(folder / "no face.mp4", 0)]


@pytest.fixture(autouse=True)
def quick_autoencoders(monkeypatch):
    fit = FaceAutoencoders.fit
    monkeypatch.setattr(
        forged_pictures.FaceAutoencoders, "fit", classmethod(lambda _, faces, seed: fit(faces, seed=seed, steps=2))
    )


def frames_of(path):
    return np.stack([frame.copy() for frame in ClipStream(path, audio=False)])


def sound_of(path):
    return clip_voice(path, FeatureConfig(), trim=False)


def test_faces_are_forged_in_their_span_and_the_sound_is_copied(clips, tmp_path):
    table = build_pseudo_fakes(clips, tmp_path, seed=2, fakes_per_clip=6, modality="video")
    assert list(table) == ["video_name", "target", "type", "start_s", "end_s", "group"]
    assert table["type"].tolist() == ["", *PICTURE_TYPES[:6], "", *PICTURE_TYPES[6:12]]
    assert (tmp_path / LABELS).read_text().splitlines()[0] == ",".join(table)
    for _, members in table.groupby("group"):
        real = frames_of(tmp_path / CLIPS / members["video_name"].iloc[0])
        sound = sound_of(tmp_path / CLIPS / members["video_name"].iloc[0])
        assert len(real) == FRAMES and len(sound) > 16_000
        for row in members.iloc[1:].itertuples():
            path = tmp_path / CLIPS / row.video_name
            changed = np.abs(frames_of(path).astype(int) - real).mean(axis=(1, 2, 3))
            inside = np.zeros(FRAMES, bool)
            inside[round(row.start_s * 25) : round(row.end_s * 25)] = True
            assert changed[inside].mean() > 0
            # Not the frames after it: the encoder predicts them from forged ones.
            before = changed[: round(row.start_s * 25)]
            assert before.size == 0 or changed[inside].mean() > before.mean()
            np.testing.assert_array_equal(sound_of(path), sound)


def test_the_same_clips_and_seed_give_the_same_set(clips, tmp_path):
    first, second = (
        build_pseudo_fakes(clips, tmp_path / name, seed=1, modality="video") for name in ("first", "second")
    )
    assert first.equals(second)
    for name in first["video_name"]:
        one, other = (frames_of(tmp_path / folder / CLIPS / name) for folder in ("first", "second"))
        np.testing.assert_array_equal(one, other)


def test_both_forges_one_of_two_and_processes_both(clips, tmp_path):
    table = build_pseudo_fakes(clips, tmp_path, modality="both", fakes_per_clip=2)
    assert table["type"].tolist()[:3] == ["", SOUND_TYPES[0], PICTURE_TYPES[0]]
    real, sound, face = (tmp_path / CLIPS / name for name in table["video_name"][:3])
    np.testing.assert_array_equal(frames_of(sound), frames_of(real))
    assert not np.array_equal(frames_of(face), frames_of(real))
    assert not np.array_equal(frames_of(real), frames_of(clips[0]))
    assert not np.array_equal(sound_of(real), sound_of(clips[0]))


def test_every_type_has_its_turn():
    assert types_of("audio") == SOUND_TYPES and types_of("video") == PICTURE_TYPES
    assert sorted(types_of("both")) == sorted(SOUND_TYPES + PICTURE_TYPES)


def test_clips_without_a_face_are_too_few(clips, tmp_path):
    with pytest.raises(WorkError, match="1 of 2 clips have a face"):
        build_pseudo_fakes(clips[1:], tmp_path, modality="video")


def test_a_part_is_long_enough_and_inside():
    parts = [drawn_part(60, np.random.default_rng(seed)) for seed in range(100)]
    chosen = [part for part in parts if part is not None]
    assert 10 < len(chosen) < 60
    assert all(start >= 0 and end <= 60 and end - start >= 12 for start, end in chosen)
    assert drawn_part(10, np.random.default_rng(0)) is None
