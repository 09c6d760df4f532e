"""Stored face features: layout, resuming, damaged files, and equality with features computed on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.batch import collate
from dataset.clips import CachedFeatures, ClipDataset, ClipTable, VideoFeatures
from dataset.config import ExtractionConfig, LabelNames, VideoDirs
from dataset.extraction import ExtractionSummary, extract_split
from dataset.extraction_worker import ScoringTask, extract_in_memory
from dataset.labels import read_labels
from dataset.samples import InputLayout, Sample, make_sample
from dataset.splits import Split, open_split
from tests.support import FEATURE_CONFIG, WITH_FACE, head_frames, write_head, write_video
from utils.errors import UsageError
from utils.features.config import FeatureConfig
from utils.features.extract import extract_clip, require_parts
from utils.features.face import detector
from utils.features.face.features import FACE_VERSION
from utils.media.writer import write_clip

NAMES = [
    "head.mp4",
    "sub/late audio.mkv",
    "mute.mp4",
    "silent.mp4",
    "still.mp4",
    "square.mp4",
    "audio only.mp4",
    "absent.mp4",
]
SHAPES = {"face": (16, 2, 112, 112, 3), "mouth": (128, 24, 28), "motion": (128, 13), "speech": (128 + 36, 40)}
WITH_ALL = WITH_FACE.model_copy(update={"voice": True})


def split_of(root: Path, features: FeatureConfig) -> Split:
    return open_split("trainset", root, LabelNames(), VideoDirs(), features)


def extract(root: Path, features: FeatureConfig = WITH_FACE, **options) -> ExtractionSummary:
    return extract_split(split_of(root, features), ExtractionConfig(workers=1), quiet=True, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write clips with and without a face and audio, and extract them with face features."""
    root = tmp_path_factory.mktemp("faces")
    clips = root / "trainset"
    write_head(clips / "head.mp4", 0)
    write_head(clips / "sub" / "late audio.mkv", 1)
    write_head(clips / "mute.mp4", 2, audio=False, frames=30)
    write_clip(clips / "silent.mp4", head_frames(0, 30), 25, np.zeros(26_460, np.float32), 22_050)
    write_head(clips / "still.mp4", 3, frames=1)
    write_video(clips / "square.mp4", 0)
    write_video(clips / "audio only.mp4", 1, video=False)
    rows = [f"{name},{row % 2}" for row, name in enumerate(NAMES)]
    (root / "trainset_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    assert extract(root).n_clips == len(NAMES)
    return root


def face_file(root: Path, name: str) -> Path:
    return root / "trainset_raw" / "face_feature" / f"{name}.npz"


def samples(root: Path, features: FeatureConfig, *, cached: bool = True) -> list[Sample]:
    split = split_of(root, features)
    table = ClipTable(split, read_labels(split.labels), CachedFeatures(split) if cached else VideoFeatures(split, None))
    dataset = ClipDataset(table, InputLayout(features, inputs_of(features)))
    return [dataset[row][0] for row in range(len(NAMES))]


def inputs_of(features: FeatureConfig) -> tuple[str, ...]:
    return tuple(name for feature in features.build(features.enabled()) for name in feature.inputs)


def assert_equal(one: Sample, other: Sample) -> None:
    assert one.index == other.index and one.inputs.keys() == other.inputs.keys()
    for name, array in one.inputs.items():
        np.testing.assert_array_equal(array.values, other.inputs[name].values, err_msg=name)
        np.testing.assert_array_equal(array.mask, other.inputs[name].mask, err_msg=name)


def test_every_clip_with_video_has_a_face_file(root: Path) -> None:
    stored = {path.name for path in face_file(root, "").parent.rglob("*.npz")}
    assert stored == {f"{Path(name).name}.npz" for name in NAMES[:6]}


def test_masks_mark_clips_with_a_face_and_speech(root: Path) -> None:
    found = {name: one.inputs for name, one in zip(NAMES, samples(root, WITH_FACE), strict=True)}
    assert [name for name in NAMES if found[name]["face"].mask] == NAMES[:4]
    assert [name for name in NAMES if found[name]["speech"].mask.any()] == NAMES[:2]
    assert found["head.mp4"]["mouth"].mask.sum() == 40 and found["mute.mp4"]["mouth"].mask.sum() == 30
    assert found["square.mp4"]["covariance"].mask and not found["square.mp4"]["face"].values.any()


def test_cached_on_the_fly_and_inference_inputs_are_bit_identical(root: Path) -> None:
    for features in (WITH_FACE, WITH_ALL, FEATURE_CONFIG):
        cached = samples(root, features)
        paths = [root / "trainset" / name for name in NAMES]
        layout = InputLayout(features, inputs_of(features))
        tasks = [ScoringTask(path, features, layout.features) for path in paths]
        inferred = [make_sample(row, np.nan, extract_in_memory(task), layout) for row, task in enumerate(tasks)]
        for stored, fresh, scored in zip(cached, samples(root, features, cached=False), inferred, strict=True):
            assert_equal(stored, fresh)
            assert_equal(stored, scored)


def test_batch_has_only_the_inputs_of_its_layout(root: Path) -> None:
    assert collate(samples(root, FEATURE_CONFIG)).inputs.keys() == {"mel", "covariance"}
    assert collate(samples(root, WITH_FACE)).inputs.keys() == {"mel", "covariance", "face", "mouth", "motion", "speech"}


def test_face_inputs_have_a_fixed_shape(root: Path) -> None:
    whole = collate(samples(root, WITH_FACE))
    none = collate([one for one in samples(root, WITH_FACE) if not one.inputs["face"].mask])
    for name, shape in SHAPES.items():
        assert whole.inputs[name].values.shape[1:] == none.inputs[name].values.shape[1:] == shape
        assert not none.inputs[name].values.any() and not none.inputs[name].mask.any()


def test_other_features_are_the_same_with_and_without_faces(root: Path) -> None:
    path = root / "trainset" / "head.mp4"
    plain, with_face = extract_clip(path, FEATURE_CONFIG), extract_clip(path, WITH_FACE)
    np.testing.assert_array_equal(plain.values["covariance"], with_face.values["covariance"])
    assert (plain.values["mel"], plain.facts) == (with_face.values["mel"], with_face.facts)
    assert not {"face", "speech"} & plain.values.keys() and with_face.values["face"] is not None


def test_mouth_times_are_relative_to_the_audio_start(tmp_path: Path) -> None:
    times_s = 0.5 + np.arange(40) / 25
    path = write_head(tmp_path / "late.mkv", frame_times_s=list(times_s))
    face = extract_clip(path, WITH_FACE).values["face"]
    assert face is not None and face.start_s == pytest.approx(0.5, abs=0.05)


def test_extraction_resumes(root: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    before = {name: face_file(copy, name).read_bytes() for name in NAMES[:6]}
    assert extract(copy).n_new == 1  # the missing clip is retried
    face_file(copy, "head.mp4").unlink()
    face_file(copy, "square.mp4").unlink()
    assert extract(copy).n_new == 3
    assert {name: face_file(copy, name).read_bytes() for name in NAMES[:6]} == before


@pytest.mark.parametrize(("content", "reason"), [(b"PK and no archive", "unreadable"), (None, "not_extracted")])
def test_damaged_or_missing_face_file_has_its_reason(
    root: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    import shutil

    copy = Path(shutil.copytree(root / "trainset_raw", tmp_path / "trainset_raw")).parent
    path = face_file(copy, "head.mp4")
    path.unlink() if content is None else path.write_bytes(content)
    assert CachedFeatures(split_of(copy, WITH_FACE))("head.mp4").facts.reason == reason
    assert CachedFeatures(split_of(copy, FEATURE_CONFIG))("head.mp4").facts.reason == ""


def test_store_without_faces_is_rejected_if_faces_are_required(tmp_path: Path) -> None:
    write_video(tmp_path / "trainset" / "a.mp4", 0)
    (tmp_path / "trainset_label.txt").write_text("video_name,target\na.mp4,0\n", encoding="utf-8")
    extract(tmp_path, FEATURE_CONFIG)
    assert not (tmp_path / "trainset_raw" / "face_feature").exists()
    with pytest.raises(UsageError, match=f"face: None stored, {FACE_VERSION} requested"):
        CachedFeatures(split_of(tmp_path, WITH_FACE))
    with pytest.raises(UsageError, match="--overwrite"):
        extract(tmp_path)
    assert extract(tmp_path, overwrite=True).n_new == 1
    assert face_file(tmp_path, "a.mp4").is_file()


def test_store_with_faces_and_a_larger_k_is_accepted(root: Path) -> None:
    smaller = WITH_FACE.video.model_copy(update={"top_k": 8})
    for face in (True, False):
        features = WITH_FACE.model_copy(update={"video": smaller, "face": face})
        clip = CachedFeatures(split_of(root, features))("head.mp4")
        assert clip.values["covariance"].shape == (8, 8) and ("face" in clip.values) == face


def test_missing_weights_are_reported_before_decoding(root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(detector, "COARSE_WEIGHTS", tmp_path / "gone.onnx")
    with pytest.raises(UsageError, match="gone.onnx"):
        extract(root)
    with pytest.raises(UsageError, match="gone.onnx"):
        VideoFeatures(split_of(root, WITH_FACE), None)
    with pytest.raises(UsageError, match="gone.onnx"):
        require_parts(WITH_FACE, ("face",))


def test_failed_clip_gives_a_sample_without_a_face() -> None:
    clip = extract_clip(Path("nowhere.mp4"), WITH_FACE)
    face = make_sample(0, 1.0, clip, InputLayout(WITH_FACE, ("face",))).inputs["face"]
    assert not face.mask and face.values.shape[0] == 16 and clip.facts.reason == "missing_file"


def test_a_video_without_a_face_has_the_reason_no_face(root: Path) -> None:
    layout = InputLayout(WITH_FACE, ("face",))
    reasons = {name: layout.facts(extract_clip(root / "trainset" / name, WITH_FACE)).reason for name in NAMES[:-1]}
    assert {name for name, reason in reasons.items() if "no_face" in reason} == {"square.mp4"}
