"""`engine.Detector`: scoring files and arrays from Python."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from engine import ClipArrays, Detector
from tests.support import REPOSITORY, random_checkpoint, tiny_model, write_video
from utils.errors import UsageError
from utils.metrics import Calibration

RATE_HZ = 16_000
FPS = 20


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.pth")


@pytest.fixture(scope="module")
def detector(checkpoint) -> Detector:
    return Detector.load(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    paths = [write_video(folder / f"{seed}.mp4", seed) for seed in range(3)]
    (folder / "damaged.mp4").write_bytes(b"no clip")
    return [*paths, folder / "damaged.mp4"]


def decoded(frames: int = 24, channels: int = 2) -> ClipArrays:
    """Return frames and 16-bit samples of a clip of 1.2 s."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (frames, 48, 64, 3), dtype=np.uint8)
    waves = 0.3 * np.sin(np.arange(frames * RATE_HZ // FPS)[:, None] / np.linspace(9, 5, channels))
    return ClipArrays(pixels, FPS, (waves * 32768).round() / 32768, RATE_HZ, "arrays")


def write_lossless(path: Path, clip: ClipArrays) -> Path:
    """Write arrays as FFV1 and 16-bit PCM and return the path."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=FPS)
        video.height, video.width, video.pix_fmt = *clip.frames.shape[1:3], "bgr0"
        audio = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="stereo")
        for number, pixels in enumerate(clip.frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        packed = (clip.samples * 32768).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


def test_score_has_typed_fields(detector, clips):
    score = detector.score(str(clips[0]))
    assert score.video == str(clips[0]) and (score.status, score.reason) == ("ok", "")
    assert 0 < score.score < 1 and score.verdict == ("fake" if score.score >= 0.5 else "real")
    assert score.thresholds == {"fake": 0.5}
    assert set(score.evidence) == {"head", "cosine"} == set(detector.terms)
    assert sum(score.evidence.values()) == pytest.approx(score.logit, abs=1e-5)


@pytest.mark.parametrize(
    ("fake_from", "real_below", "verdict"),
    [(0.0, 0.0, "fake"), (1.0, 0.0, "inconclusive"), (1.0, 1.0, "real"), (1.0, None, "real")],
)
def test_verdicts_follow_the_two_thresholds(clips, tmp_path, fake_from, real_below, verdict):
    calibration = Calibration(threshold=fake_from, real_threshold=real_below)
    detector = Detector.load(random_checkpoint(tmp_path / "two.pth", calibration=calibration), device="cpu")
    expected = {"fake": fake_from} if real_below is None else {"fake": fake_from, "real": real_below}
    score = detector.score(clips[0])
    assert (score.verdict, score.thresholds) == (verdict, expected)
    assert detector.score("absent.mp4").verdict == "unscored"


def test_score_at_a_threshold_is_not_below_it(detector, clips):
    score = detector.score(clips[0]).score
    for fake_from, real_below, verdict in ((score, 0.0, "fake"), (1.0, score, "inconclusive")):
        calibration = Calibration(threshold=fake_from, real_threshold=real_below)
        checkpoint = replace(detector.checkpoint, calibration=calibration)
        assert Detector(checkpoint, device="cpu").score(clips[0]).verdict == verdict


def test_missing_clip_gives_a_failed_score(detector):
    score = detector.score("absent.mp4")
    assert (score.status, score.reason, score.verdict) == ("failed", "missing_file", "unscored")
    assert score.score is None and score.logit is None and set(score.evidence.values()) == {None}


@pytest.mark.parametrize("method", ["score", "score_many"])
def test_folder_is_rejected_with_the_function_to_use(detector, tmp_path, method):
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(UsageError, match=r"is a folder: score its clips with score_many\(.*find_videos"):
            getattr(detector, method)(folder)


@pytest.mark.parametrize("workers", [None, 2])
def test_scores_are_in_input_order(detector, clips, workers):
    scores = list(detector.score_many(clips, workers=workers, batch_size=2))
    assert [score.video for score in scores] == [str(path) for path in clips]
    assert [score.reason for score in scores] == ["", "", "", "unreadable"]
    logits = [detector.score(path).logit for path in clips]
    assert [score.logit for score in scores[:3]] == pytest.approx(logits[:3], abs=1e-6)
    assert logits[3] is scores[3].logit is None


def test_endless_iterator_is_read_lazily(detector, clips):
    taken = itertools.count()
    endless = (clips[0] for _ in iter(lambda: next(taken), -1))
    scores = detector.score_many(endless, batch_size=2)
    assert next(scores) == next(scores) and next(taken) <= 4


def test_score_many_accepts_no_clips(detector):
    assert list(detector.score_many([])) == []
    assert list(detector.score_many([], workers=1)) == []


def test_arrays_and_a_file_with_the_same_content_score_equally(detector, tmp_path):
    clip = decoded()
    stored = detector.score(write_lossless(tmp_path / "clip.mkv", clip))
    direct = detector.score(clip)
    assert (direct.video, direct.status, direct.reason) == ("arrays", "ok", "")
    assert direct.logit == pytest.approx(stored.logit, abs=1e-6)
    assert detector.score(clip.frames, fps=FPS, samples=clip.samples, rate_hz=RATE_HZ).logit == direct.logit
    darker, quieter = replace(clip, frames=clip.frames // 2), replace(clip, samples=clip.samples[::-1])
    assert len({detector.score(changed).logit for changed in (clip, darker, quieter)}) == 3


def test_arrays_of_one_stream_have_the_reason_for_the_other(detector):
    clip = decoded()
    assert detector.score(clip.frames, fps=FPS).reason == "no_audio"
    assert detector.score(ClipArrays(samples=clip.samples[:, 0], rate_hz=RATE_HZ)).reason == "no_video"
    assert detector.score(samples=clip.samples, rate_hz=RATE_HZ).reason == "no_video"


def test_arrays_are_scored_in_worker_processes(detector):
    clip = decoded()
    assert next(detector.score_many([clip], workers=1)) == detector.score(clip)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "frames, samples or both"),
        ({"frames": np.zeros((4, 8, 8, 3), np.float32), "fps": 25}, "uint8 RGB"),
        ({"frames": np.zeros((8, 8, 3), np.uint8), "fps": 25}, "got shape (8, 8, 3)"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8), "fps": 25}, "frames are empty"),
        ({"frames": [[0]], "fps": 25}, "got shape None of list"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8)}, "frames need fps"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 0}, "frames need fps"),
        ({"samples": np.zeros(9, np.int16), "rate_hz": 16_000}, "float array"),
        ({"samples": np.zeros((2, 16_000)), "rate_hz": 16_000}, "transpose"),
        ({"samples": np.zeros(0), "rate_hz": 16_000}, "samples are empty"),
        ({"samples": np.full(9, 32_000.0), "rate_hz": 16_000}, "scale them"),
        ({"samples": np.full(9, 3.0), "rate_hz": 16_000}, "scale them"),
        ({"samples": np.full(9, np.nan), "rate_hz": 16_000}, "must be finite"),
        ({"samples": np.zeros(9)}, "samples need rate_hz"),
        ({"samples": np.zeros(9), "rate_hz": 44_100.5}, "an integer"),
        ({"samples": np.zeros(9), "rate_hz": 16_000, "fps": 25}, "fps is given without frames"),
    ],
)
def test_unsuitable_arrays_are_rejected(arguments, words):
    with pytest.raises(UsageError) as refused:
        ClipArrays(**arguments)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_invalid_arguments_are_rejected(detector, checkpoint, clips):
    cases = [
        (lambda: detector.score(7), "not int"),
        (lambda: detector.score(clips[0], fps=25), "belong to frames"),
        (lambda: detector.score_many(str(clips[0])), "several clips"),
        (lambda: detector.score_many(clips, workers=-1), "workers=-1"),
        (lambda: detector.score_many(clips, batch_size=0), "batch_size=0"),
        (lambda: list(detector.score_many([None])), "not NoneType"),
        (lambda: Detector.load("absent.pth"), "does not exist"),
        (lambda: Detector.load(clips[0]), "not a multi-ffdv checkpoint"),
        (lambda: Detector.load(checkpoint, device="toaster"), "toaster"),
        (lambda: Detector.load(checkpoint, tta=3), "tta=3"),
    ]
    for call, words in cases:
        with pytest.raises(UsageError, match=words):
            call()


def test_clip_without_the_required_modality_is_unscored(tmp_path):
    detector = Detector.load(random_checkpoint(tmp_path / "mel.pth", tiny_model("mel_baseline")), device="cpu")
    score = detector.score(decoded().frames, fps=FPS)
    assert (score.verdict, score.reason, score.score) == ("unscored", "no_audio", None)


def test_checkpoint_argument_is_optional(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.load.CHECKPOINTS", tmp_path)
    with pytest.raises(UsageError, match="no checkpoint"):
        Detector.load()
    runs = [random_checkpoint(tmp_path / name / "best.pth") for name in ("b_old", "a_new")]
    os.utime(runs[0], (1, 1))
    assert Detector.load(device="cpu").path == runs[1]
    shipped = random_checkpoint(tmp_path / "default.pth")
    os.utime(shipped, (0, 0))
    assert Detector.load(device="cpu").path == shipped


def test_script_needs_no_main_guard(checkpoint, clips, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"from engine import Detector\nprint(Detector.load({str(checkpoint)!r}, 'cpu').score({str(clips[0])!r}).status)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.stdout == "ok\n", ended.stderr


def test_importing_the_package_does_not_load_torch():
    code = "import sys, engine, engine.config; assert 'torch' not in sys.modules; print(engine.Detector.__module__)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert ended.stdout == "engine.detector\n", ended.stderr
