"""The scoring service: limits, deletion, and one clip at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from engine.web.limits import WebLimits, minutes_text
from engine.web.service import duration_s


def test_upload_is_scored_under_its_name_and_deleted(service, folder, upload):
    steps = []
    outcome = service.score(upload, lambda text, share: steps.append(text))
    assert (outcome.score.video, outcome.score.verdict, outcome.message) == ("clip.mp4", "fake", "")
    assert steps == ["Reading the clip", "Scoring the clip", "Scoring: 30 of 120 windows"]
    assert not upload.exists() and folder.stored_bytes() == 0


def test_evidence_page_is_written_on_request(service, folder, media):
    steps = []
    outcome = service.score(media.clip(folder.new_file("a.mp4")), lambda text, share: steps.append(text), page=True)
    assert outcome.page == "<html>a.mp4 0.9</html>" and steps[-1] == "Collecting the evidence"
    broken = folder.new_file("broken.mp4")
    broken.write_bytes(b"not a clip")
    assert service.score(broken, page=True).page == ""


def test_path_outside_the_uploads_is_not_opened(service, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(b"clip")
    assert service.score(other).score.reason == "missing_file"
    assert service.score(service.folder.uploads / ".." / ".." / "other.mp4").score.reason == "missing_file"
    assert other.exists() and not service.detector.seen


def test_second_request_for_the_same_upload_gets_a_sentence(service, upload):
    service.score(upload)
    outcome = service.score(upload)
    assert outcome.score.verdict == "unscored" and outcome.score.reason == "missing_file"
    assert "Choose it again" in outcome.message


def test_example_is_kept(service, folder, media):
    example = media.clip(folder.examples / "example.mp4")
    assert service.score(example).score.verdict == "fake"
    assert example.exists()


def test_large_file_is_refused_and_deleted(service, folder):
    upload = folder.new_file("large.mp4")
    upload.write_bytes(bytes(600_000))
    outcome = service.score(upload)
    assert outcome.score.reason == "over_limit" and outcome.score.score is None
    assert outcome.message.startswith("The file has 0.6 MB, and the limit is 0.5 MB.") and "--max_mb" in outcome.message
    assert not upload.exists() and not service.detector.seen


def test_long_clip_is_refused(service, folder, media):
    outcome = service.score(media.clip(folder.new_file("long.mp4"), seconds=2.4))
    assert outcome.message.startswith("The clip lasts 2 s, and the limit is 1 s.")
    assert not service.detector.seen


def test_unreadable_file_is_left_to_the_detector(service, folder):
    upload = folder.new_file("broken.mp4")
    upload.write_bytes(b"not a clip")
    assert duration_s(upload) == 0
    outcome = service.score(upload)
    assert (outcome.score.reason, outcome.message) == ("unreadable", "")


def test_one_clip_is_scored_at_a_time(service, folder, monkeypatch):
    running, most = [], []
    barrier = threading.Event()

    def slow(clip, say, page):
        running.append(clip)
        most.append(len(running))
        barrier.wait(0.02)
        running.remove(clip)

    monkeypatch.setattr(service, "_score", slow)
    uploads = [folder.new_file(f"{index}.mp4") for index in range(6)]
    for path in uploads:
        path.write_bytes(b"clip")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(service.score, uploads))
    assert most == [1] * 6


def test_limits_are_stated_in_words():
    limits = WebLimits()
    assert limits.summary == "Up to 200 MB and 10 min."
    assert not limits.size_refusal(200_000_000) and not limits.duration_refusal(600)
    assert [minutes_text(seconds) for seconds in (0, 59.6, 61, 7200)] == ["0 s", "1 min", "1 min 1 s", "120 min"]


def test_progress_within_a_clip_is_reported(service, upload):
    said = []
    service.score(upload, lambda text, share: said.append((text, share)))
    assert ("Scoring: 30 of 120 windows", 1.25 / 4) in said
    assert [share for _, share in said] == sorted(share for _, share in said)
