"""LAV-DF, AV-Deepfake1M(++) and DFDC: parsing of their JSON metadata, and errors for invalid files."""

from __future__ import annotations

import json

import pytest

from dataset.importers import av_deepfake1m, dfdc, find_importer, lav_df
from utils.errors import UsageError


def written(folder, content, name="metadata.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lav_entry(number, video, audio, original=None, periods=None, split="dev", **more):
    return {
        "file": f"{split}/{number}.mp4", "n_fakes": 0, "fake_periods": periods or [], "duration": 4.224,
        "original": original, "modify_video": video, "modify_audio": audio, "split": split, "video_frames": 103,
        "audio_channels": 1, "audio_frames": 65536, **more,
    }  # fmt: skip


def test_lav_df(tmp_path):
    entries = [
        lav_entry("000001", False, False, transcript="words", timestamps=[["words", 0.0, 0.4]]),
        lav_entry("000002", True, True, "dev/000001.mp4", [[2.5, 3.224], [0.1, 0.4]]),
        lav_entry("000003", True, False, "dev/000002.mp4", [[1, 2]]),
        lav_entry("000004", False, True, "dev/000001.mp4", [], split="test"),
        lav_entry("000005", False, False, "dev/000006.mp4"),
        lav_entry("000006", False, False, "dev/000005.mp4"),
    ]
    imported = lav_df.read(written(tmp_path, entries))
    clips = imported.clips
    assert [clip.video_name for clip in clips[:2]] == ["dev/000001.mp4", "dev/000002.mp4"]
    assert [clip.target for clip in clips] == [0, 1, 1, 1, 0, 0]
    assert [clip.modality for clip in clips[:4]] == ["RVRA", "FVFA", "FVRA", "RVFA"]
    assert [clip.source for clip in clips[:4]] == ["000001"] * 4
    assert clips[1].spans == ((0.1, 0.4), (2.5, 3.224)) and clips[0].spans == ()
    assert [clip.split for clip in clips[2:4]] == ["val", "test"]
    assert not any(clip.identity for clip in clips)
    assert imported.notes == ["1 fake clip(s) have no forged span in the metadata; they remain labelled fake"]


def av1m_entry(file, kind, **more):
    return {
        "file": file, "original": None, "split": "train", "modify_type": kind, "audio_model": None, "fake_segments": [],
        "audio_fake_segments": [], "visual_fake_segments": [], "video_frames": 161, "audio_frames": 102656, **more,
    }  # fmt: skip


def test_av_deepfake1m_accepts_both_spellings_and_ignores_lengths(tmp_path):
    folder = "id06744/_c3CCbnZEbU/00011"
    entries = [
        av1m_entry(f"{folder}/real.mp4", "real"),
        av1m_entry(f"{folder}/fake_video_fake_audio.mp4", "both_modified", audio_model="vits", fake_segments=[[3.28, 3.46]]),
        av1m_entry(rf"{folder}\fake_video_fake_audio_p1.mp4".replace("/", "\\"), "both-modified", fake_segments=[[0, 1]]),
        # The list of the genuine stream repeats the forged segment and must be ignored.
        av1m_entry(f"{folder}/real_video_fake_audio.mp4", "audio_modified", audio_model="yourtts", fake_segments=[[1.0, 1.5]],
                   visual_fake_segments=[[1.0, 1.5]]),
        av1m_entry(f"{folder}/fake_video_real_audio.mp4", "visual_modified", audio_model="vits", fake_segments=[[2, 3]]),
    ]  # fmt: skip
    clips = av_deepfake1m.read(written(tmp_path, entries)).clips
    assert [clip.modality for clip in clips] == ["RVRA", "FVFA", "FVFA", "RVFA", "FVRA"]
    assert [clip.target for clip in clips] == [0, 1, 1, 1, 1]
    assert [clip.type for clip in clips] == [
        "real", "both_modified:vits", "both_modified", "audio_modified:yourtts", "visual_modified",
    ]  # fmt: skip
    assert clips[2].video_name == f"{folder}/fake_video_fake_audio_p1.mp4"
    assert {(clip.source, clip.identity, clip.split) for clip in clips} == {(folder, "id06744", "train")}
    assert clips[3].spans == ((1.0, 1.5),)
    values = {value for clip in clips for value in vars(clip).values() if not isinstance(value, tuple)}
    assert not values & {161, 102656, "161", "102656"}


@pytest.mark.parametrize(
    ("file", "identity"),
    [
        ("vox_celeb_2/id01358/_1nATum8x78/00030/real.mp4", "id01358"),
        ("lrs3/ue2ZEmTJSXo/00013/real.mp4", "lrs3:ue2ZEmTJSXo"),
        ("silent_videos/subject_17_ddvyjnjfad_vid_2_6/fake.mp4", "silent:subject_17"),
        ("elsewhere/x/real.mp4", ""),
    ],
)
def test_identities_of_the_second_set(file, identity):
    assert av_deepfake1m.identity_of(file) == identity


def test_generators_of_the_second_set(tmp_path):
    entry = av1m_entry(
        "lrs3/a/1/x.mp4", "both_modified", audio_model="yourtts", video_model="Talklip", fake_segments=[[0, 1]]
    )
    (clip,) = find_importer("av-deepfake1m++")(written(tmp_path, [entry])).clips
    assert (clip.type, clip.generator, clip.source) == ("both_modified:Talklip+yourtts", "Talklip+yourtts", "lrs3/a/1")


def test_dfdc_reads_a_part_or_a_folder_of_parts(tmp_path):
    part = {
        "aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"},
        "abarnvbtwb.mp4": {"label": "REAL", "split": "train", "original": None},
    }
    path = written(tmp_path / "dfdc_train_part_0", part)
    written(tmp_path / "dfdc_train_part_1", {"vudstovrck.mp4": {"label": "REAL", "split": "train"}})
    for place in (path, path.parent):
        clips = dfdc.read(place).clips
        assert [(clip.video_name, clip.target, clip.type) for clip in clips] == [
            ("aagfhgtpmv.mp4", 1, "fake"), ("abarnvbtwb.mp4", 0, "real"),
        ]  # fmt: skip
    clips = dfdc.read(tmp_path).clips
    assert [clip.video_name for clip in clips] == [
        "dfdc_train_part_0/aagfhgtpmv.mp4", "dfdc_train_part_0/abarnvbtwb.mp4", "dfdc_train_part_1/vudstovrck.mp4",
    ]  # fmt: skip
    assert [clip.source for clip in clips] == ["vudstovrck", "abarnvbtwb", "vudstovrck"]
    assert not any(clip.modality or clip.identity for clip in clips)


@pytest.mark.parametrize(
    ("read", "content", "words"),
    [
        (lav_df.read, "[oops", "is not JSON"),
        (lav_df.read, "{}", "expected LAV-DF's metadata.json"),
        (lav_df.read, "[]", "expected LAV-DF's metadata.json"),
        (lav_df.read, '["a.mp4"]', "entry 0: expected an object"),
        (lav_df.read, [{"modify_video": True}], "entry 0: 'file' must be a non-empty text"),
        (lav_df.read, [lav_entry("1", None, True)], "'modify_video' must be true or false"),
        (
            lav_df.read,
            [lav_entry("1", True, True, periods=[[3, 1]])],
            r"fake_periods: \[3, 1\] is not a \[start, end\]",
        ),
        (lav_df.read, [lav_entry("1", True, True, periods=[[True, 1]])], r"is not a \[start, end\]"),
        (lav_df.read, [lav_entry("1", True, True, split="../..")], "has a '..' part"),
        (av_deepfake1m.read, [av1m_entry("a.mp4", "geometry_modified")], "expected one of real, visual_modified"),
        (av_deepfake1m.read, [av1m_entry("a.mp4", None)], "'modify_type' must be a non-empty text"),
        (av_deepfake1m.read, [av1m_entry("a.mp4", "real", fake_segments="x")], "expected a list of"),
        (dfdc.read, "[1]", "a mapping of names"),
        (dfdc.read, {"a.mp4": {"label": "MAYBE"}}, "neither REAL nor FAKE"),
        (dfdc.read, {"a.mp4": ["FAKE"]}, "neither REAL nor FAKE"),
        (dfdc.read, {"/etc/a.mp4": {"label": "FAKE"}}, "absolute path"),
    ],
)
def test_invalid_metadata_raises_a_one_line_error(read, content, words, tmp_path):
    with pytest.raises(UsageError, match=words) as caught:
        read(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_missing_metadata_raises(tmp_path):
    with pytest.raises(UsageError, match="neither this folder nor its sub-folders contain a metadata.json"):
        dfdc.read(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        lav_df.read(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not JSON"):
        lav_df.read(tmp_path / "bytes.json")
