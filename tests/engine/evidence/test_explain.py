import numpy as np
import pytest

from engine import ClipArrays, Detector
from engine.evidence.lips import lips_view
from engine.evidence.reading import ReadingTask, read_clip
from tests.support import random_checkpoint, tiny_model, write_head, write_video
from utils.features.config import FeatureConfig
from utils.features.waveform import Pcm

FEATURES = FeatureConfig.model_validate({"face": True, "utterance": True})
EXPERTS = {"face": {"weights": "none", "place_nets": 1}, "synthetic_speech": {"weights": "none"}}


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    model = tiny_model("av_experts", experts=EXPERTS)
    path = random_checkpoint(tmp_path_factory.mktemp("experts") / "best.pth", model, features=FEATURES)
    return Detector.load(path, "cpu")


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return write_head(tmp_path_factory.mktemp("head") / "head.mp4", frames=60)


def test_talking_head_has_every_part(experts, head):
    evidence = experts.explain(head)
    assert len(evidence.face.crops) == 6 and evidence.face.crops[0].heat.shape == (28, 28)
    times_s = [crop.time_s for crop in evidence.face.crops]
    assert times_s == sorted(times_s) and times_s[0] >= 0 and times_s[-1] < 2.4
    assert evidence.audio.end_s == pytest.approx(2.4, abs=0.1)
    assert len(evidence.lips.times_s) == 60
    assert evidence.covariance.image.shape == (60, 60)
    assert evidence.file.streams and evidence.not_examined


def test_missing_parts_are_none_and_named(experts, tmp_path):
    evidence = experts.explain(write_video(tmp_path / "a.mp4", 0, audio=False))
    assert evidence.face is None and evidence.audio is None and evidence.lips is None and evidence.saliency is None
    assert any("no audio" in sentence for sentence in evidence.not_examined)
    assert any("No face" in sentence for sentence in evidence.not_examined)


def test_unreadable_clip_and_arrays_are_explained(experts, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"junk")
    assert experts.explain(tmp_path / "bad.mp4").facts.status == "failed"
    arrays = ClipArrays(np.zeros((4, 48, 64, 3), np.uint8), fps=25, name="camera")
    assert experts.explain(arrays).file is None


def test_mel_model_shows_the_parts_of_the_image_that_its_logit_depends_on(tmp_path):
    detector = Detector.load(random_checkpoint(tmp_path / "best.pth", tiny_model("mel_baseline")), "cpu")
    found = detector.explain(write_video(tmp_path / "a.mp4", 0)).saliency
    assert found.term == "mel" and len(found.effect) == 24 and len(found.band_effect) == 8
    assert np.abs(found.effect).max() > 0
    assert found.band_high_hz[-1] == pytest.approx(11025, rel=1e-3)


def test_face_is_tracked_around_the_focus(head, experts):
    late = read_clip(ReadingTask(head, FEATURES, focus_s=2.2)).face
    assert late.start_s > 0.1 and late.end_s == pytest.approx(2.36, abs=0.05)


def test_lips_that_follow_the_sound_late_correlate_at_that_delay():
    rng = np.random.default_rng(0)
    drive = np.convolve(rng.random(160), np.ones(5) / 5, "same")
    samples = np.repeat(drive, 640) * rng.choice([-1, 1], 160 * 640) * 20_000
    mouth = np.full((100, 24, 28), 200.0)
    mouth[:, 9:17, 8:20] = 200 - 150 * drive[25:125, None, None]
    # The mouth at 1.2 s shows the sound of 1.0 s.
    view = lips_view(mouth.astype(np.uint8), 1.2, Pcm(samples.astype(np.int16), 16_000), 0.0)
    best = view.lags_s[np.argmax(view.correlation)]
    assert view.correlation.max() > 0.8 and best == pytest.approx(-0.2, abs=0.05)
    assert lips_view(mouth[:10].astype(np.uint8), 1.2, Pcm(samples.astype(np.int16), 16_000), 0.0) is None
