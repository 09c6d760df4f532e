"""FakeAVCeleb, IDForge, KoDF, MultiFFDV and plain folders: parsing of their lists, and errors for invalid files."""

from __future__ import annotations

import pytest

from dataset.importers import fakeavceleb, folders, idforge, kodf, multiffdv
from utils.errors import UsageError

OFFICIAL = "source,target1,target2,method,category,type,race,gender,path,"
RENAMED = "source,target1,target2,method,category,type,race,gender,filename,path"
ROWS = """\
id00076,-,-,real,A,RealVideo-RealAudio,African,men,00109.mp4,{root}/RealVideo-RealAudio/African/men/id00076
id00076,fake.mp4,-,rtvc,B,RealVideo-FakeAudio,African,men,00109_fake.mp4,{root}/RealVideo-FakeAudio/African/men/id00076
id00076,id00476,-,wav2lip,C,FakeVideo-RealAudio,Asian (East),men,a_w2l.mp4,{root}/FakeVideo-RealAudio/Asian (East)/men/id00076
id00076,id00076,-,faceswap-wav2lip,D,FakeVideo-FakeAudio,African,men,b.mp4,{root}/FakeVideo-FakeAudio/African/men/id00076
"""


def written(folder, text, name="metadata.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "root"), [(OFFICIAL, "FakeAVCeleb"), (RENAMED, "FakeAVCeleb_v1.2"), ("\ufeff" + OFFICIAL, "FakeAVCeleb")]
)
def test_fakeavceleb(header, root, tmp_path):
    imported = fakeavceleb.read(written(tmp_path, f"{header}\r\n{ROWS.format(root=root)}"))
    clips = imported.clips
    assert clips[0].video_name == "RealVideo-RealAudio/African/men/id00076/00109.mp4"
    assert clips[2].video_name == "FakeVideo-RealAudio/Asian (East)/men/id00076/a_w2l.mp4"
    assert [clip.target for clip in clips] == [0, 1, 1, 1]
    assert [clip.type for clip in clips] == ["real", "rtvc", "wav2lip", "faceswap-wav2lip"]
    assert [clip.modality for clip in clips] == ["RVRA", "RVFA", "FVRA", "FVFA"]
    assert [clip.donor for clip in clips] == ["", "", "id00476", ""]
    assert {(clip.identity, clip.source, clip.split) for clip in clips} == {("id00076", "id00076", "")}
    assert "no official split" in imported.notes[0]


def test_idforge(tmp_path):
    lines = [
        "face_rvc_textmismatch/id00/id00_00/id00_scene_0015_0_infoswap.mp4",
        "face_audiomismatch_textmismatch/id00/id00_00/id00_scene_0015_0_roop.mp4",
        "face_tts/id01/id01_02/id01_scene_0001_2_simswap.mp4",
        "lip_tts_textgen/id00/id00_00/id00_scene_0002.mp4",
        "pristine/id03/id03_00/id03_scene_0027-11.mp4",
        "tts_textmismatch/id35/id35_08/id35_08-314.mp4",
    ]
    clips = idforge.read(written(tmp_path, "\n".join(lines) + "\n", "val.csv")).clips
    assert [clip.video_name for clip in clips] == lines
    assert [clip.target for clip in clips] == [1, 1, 1, 1, 0, 1]
    assert [clip.modality for clip in clips] == ["FVFA", "FVRA", "FVFA", "FVFA", "RVRA", "RVFA"]
    assert [clip.generator for clip in clips] == [
        "infoswap+Wav2Lip+RVC", "roop+Wav2Lip", "simswap+Wav2Lip+TorToiSe", "Wav2Lip+TorToiSe", "", "TorToiSe",
    ]  # fmt: skip
    assert [(clip.identity, clip.source, clip.split) for clip in clips[2:4]] == [
        ("id01", "id01_02", "val"), ("id00", "id00_00", "val"),
    ]  # fmt: skip
    assert clips[4].type == "real" and clips[5].type == "tts_textmismatch"


REALS = "영상ID,UUID,인물성별,촬영장소,촬영시작,스크립트파일,시나리오번호\n200715_aa_1.mp4,aa,여,실내,2020,s.txt,1\n"
FAKES = (
    "영상ID,타겟영상,타겟UUID,소스UUID,변조모델,촬영시작,인물성별\n"
    "aa_bb_1_0090.mp4,200715_aa_1.mp4,aa,bb,dfl,2020,여\naa_aa_5_0001.mp4,200715_aa_1.mp4,aa,aa,audio-driven,2020,여\n"
)


def test_kodf(tmp_path):
    written(tmp_path, REALS, "원본영상_validation_메타데이터.csv")
    fakes = written(tmp_path, FAKES, "변조영상_validation_메타데이터.csv")
    imported = kodf.read(tmp_path)
    assert not imported.notes
    clips = {clip.video_name: clip for clip in imported.clips}
    assert {name: clip.target for name, clip in clips.items()} == {
        "200715_aa_1.mp4": 0, "aa_bb_1_0090.mp4": 1, "aa_aa_5_0001.mp4": 1,
    }  # fmt: skip
    assert {clip.source for clip in clips.values()} == {"200715_aa_1"}
    assert {(clip.identity, clip.split, clip.modality) for clip in clips.values()} == {("aa", "val", "")}
    assert clips["aa_bb_1_0090.mp4"].donor == "bb" and clips["aa_aa_5_0001.mp4"].donor == ""
    assert clips["aa_aa_5_0001.mp4"].type == "audio-driven"
    assert kodf.read(fakes).notes == ["only one class: pass the folder that also contains the CSV of the other class"]


def test_multiffdv_keeps_placeholders_empty(tmp_path):
    clips = multiffdv.read(written(tmp_path, "video_name,target\na.mp4,1\nb.mp4,0\n", "trainset_label.txt")).clips
    assert [(clip.video_name, clip.target) for clip in clips] == [("a.mp4", 1), ("b.mp4", 0)]
    clips = multiffdv.read(written(tmp_path, "video_name,target\na.mp4,-1\nb.mp4,-1\n", "testset_label.csv")).clips
    assert [clip.target for clip in clips] == [None, None]


def test_folders(tmp_path):
    for name in ("Real/a.mp4", "Real/.hidden", "fake/b.mp4", "fake/swap/deep/c.mkv"):
        written(tmp_path, "", name)
    clips = folders.read(tmp_path).clips
    assert [(clip.video_name, clip.target, clip.type) for clip in clips] == [
        ("Real/a.mp4", 0, "real"), ("fake/b.mp4", 1, "fake"), ("fake/swap/deep/c.mkv", 1, "swap"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (fakeavceleb.read, "", "the file is empty"),
        (fakeavceleb.read, "video_name,target\na.mp4,1\n", "not FakeAVCeleb's meta_data.csv"),
        (fakeavceleb.read, f"{OFFICIAL}\nid1,-,-,real\n", "row 2: 4 cells instead of 10"),
        (
            fakeavceleb.read,
            f"{OFFICIAL}\na,-,-,real,A,Real,x,y,a.mp4,F\n",
            "row 2: unknown type 'Real'; expected one of",
        ),
        (fakeavceleb.read, f"{OFFICIAL}\na,-,-,real,A,RealVideo-RealAudio,x,y,../../a.mp4,F\n", r"has a '\.\.' part"),
        (idforge.read, "morph/id00/id00_00/a.mp4\n", "line 1: .* is not <forgery>"),
        (idforge.read, "pristine/id00/a.mp4\n", "is not <forgery>"),
        (idforge.read, "pristine/id00/id00_00/a.mp4,1\n", "is not <forgery>"),
        (kodf.read, "video_name,target\na.mp4,1\n", "not a KoDF metadata file"),
        (kodf.read, "영상ID,UUID\na.mp4\n", "row 2: 1 cells instead of 2"),
        (multiffdv.read, "a.mp4,1\n", "no header"),
        (folders.read, "", "must be the folder"),
    ],
)
def test_invalid_list_raises_a_one_line_error(read, text, words, tmp_path):
    with pytest.raises(UsageError, match=words) as caught:
        read(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_binary_or_missing_lists_raise(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UsageError, match="not a CSV in UTF-8"):
        idforge.read(tmp_path / "x.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no CSV in this folder"):
        kodf.read(tmp_path / "empty")
    with pytest.raises(UsageError, match="no files in a folder real/"):
        folders.read(tmp_path / "empty")
