"""Ctrl-C while clips are scored: the clips that have been decoded get their scores."""

from __future__ import annotations

import os
import signal
from collections import deque

import pytest

from engine.detector import Detector
from engine.interruption import Interruption
from tests.support import random_checkpoint, write_video
from utils.interruption import interruption_deferred


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return Detector.load(random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.pth"), device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return [write_video(tmp_path_factory.mktemp("clips") / f"{number}.mp4", number) for number in range(3)]


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def interrupted_scores(scores):
    found = []
    with pytest.raises(KeyboardInterrupt):
        deque(map(found.append, scores), maxlen=0)
    return [score.video for score in found]


def test_batch_in_progress_is_finished(detector, clips, monkeypatch):
    network = detector._scorer.__class__.__call__

    def interrupted_network(self, samples):
        interrupt()
        return network(self, samples)

    monkeypatch.setattr(detector._scorer.__class__, "__call__", interrupted_network)
    assert interrupted_scores(detector.score_many(clips, batch_size=2)) == [str(clip) for clip in clips[:2]]


def test_interruption_of_the_caller_leaves_no_score_behind(detector, clips):
    scores = detector.score_many(clips, batch_size=2)
    assert next(scores).video == str(clips[0])
    assert scores.throw(KeyboardInterrupt()).video == str(clips[1])
    assert interrupted_scores(scores) == []


def test_second_interruption_takes_effect_immediately():
    with pytest.raises(KeyboardInterrupt):
        Interruption().finish(lambda: (interrupt(), interrupt(), pytest.fail("not interrupted")))


def test_deferred_signals_reach_their_handlers_after_the_block():
    steps = []
    before = signal.signal(signal.SIGTERM, lambda *_: steps.append("handled"))
    try:
        with interruption_deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("block")
        assert steps == ["block", "handled"]
    finally:
        signal.signal(signal.SIGTERM, before)
