"""Output files and lines of scores: streaming, resumption, order, memory, and the terminal."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engine.clip_inputs import FolderWatch, OneRound
from engine.detector import Score
from engine.score_files import ScoreFiles, ScoringOptions, score_to_files
from engine.score_lines import ScoreLines, columns, middle_truncated
from engine.score_rows import csv_line, json_line, read_rows, row_of
from engine.score_writer import ScoreWriter
from engine.timeline.types import FaceTrack
from utils.errors import UsageError
from utils.metrics import Calibration
from utils.metrics.threshold_text import describe_thresholds

COLUMNS = [
    "video",
    "score",
    "logit",
    "verdict",
    "threshold",
    "status",
    "reason",
    "evidence_face",
    "faces",
    "checkpoint",
    "real_threshold",
]
NAMES = ["b.mp4", "=a.mp4", 'odd "name", 1.mp4', "new\nline.mp4", "return\r.mp4", "not utf-8 \udcff.mp4", "ナ.mp4"]


class CountingDetector:
    """Detector that gives every clip the same score and counts the clips. It raises Ctrl-C after `stop_after` clips."""

    def __init__(self, checkpoint: Path, stop_after: int | None = None) -> None:
        self.path = checkpoint
        self.tta = 1
        self.terms = ("face",)
        self.checkpoint = SimpleNamespace(calibration=Calibration(), identity_file=lambda path: path)
        self.layout = SimpleNamespace(windowed=False)
        self.stop_after = stop_after
        self.scored: list[str] = []

    def score_many(self, clips, **_):
        for clip in clips:
            if len(self.scored) == self.stop_after:
                raise KeyboardInterrupt
            self.scored.append(str(clip))
            status, reason, score = ("failed", "missing_file", None) if "gone" in str(clip) else ("ok", "", 0.75)
            verdict = "unscored" if score is None else "fake"
            yield Score(str(clip), score, score, verdict, {"fake": 0.5}, status, reason, {"face": score})


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("best.pth").write_bytes(b"weights")
    Path("other.pth").write_bytes(b"other weights")


def run(names, output="scores.csv", *, resume=False, stop_after=None, checkpoint="best.pth", show=lambda line: None):
    detector = CountingDetector(Path(checkpoint), stop_after)
    files = ScoreFiles(Path(output), resume=resume)
    counts = score_to_files(detector, OneRound([Path(name) for name in names]), files, ScoringOptions(quiet=True), show)
    return counts, detector.scored


def videos(output="scores.csv"):
    return [row["video"] for row in read_rows(Path(output), COLUMNS)]


def interrupted(names, output="scores.csv", stop_after=2):
    with pytest.raises(KeyboardInterrupt):
        run(names, output, stop_after=stop_after)


@pytest.mark.parametrize("output", ["scores.csv", "scores.jsonl", "scores.json"])
def test_resumed_run_scores_pending_and_missing_clips_only(output):
    names = ["a.mp4", *NAMES, "gone.mp4"]
    complete = Path(f"complete{Path(output).suffix}")
    run(names, complete)
    interrupted(names, output, stop_after=3)
    assert [row["status"] for row in read_rows(Path(output), COLUMNS)] == ["ok"] * 3 + ["pending"] * 6
    counts, scored = run(names, output, resume=True)
    assert scored == names[3:] and str(counts) == "9 clips, 8 scored, 3 kept"
    assert Path(output).read_bytes() == complete.read_bytes()
    counts, scored = run(names, output, resume=True)
    assert scored == ["gone.mp4"] and counts.kept == 8


@pytest.mark.parametrize("output", ["scores.csv", "scores.jsonl", "scores.json"])
def test_resumed_output_has_the_order_of_the_clips_and_keeps_other_rows(output):
    run(["b.mp4", "d.mp4", "elsewhere.mp4"], output)
    counts, scored = run(["a.mp4", "b.mp4", "c.mp4", "d.mp4"], output, resume=True)
    assert scored == ["a.mp4", "c.mp4"] and str(counts) == "4 clips, 4 scored, 2 kept"
    assert videos(output) == ["elsewhere.mp4", "a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def test_repeated_names_have_a_row_each():
    names = ["a.mp4", "b.mp4", "a.mp4"]
    run(names)
    assert run(names, resume=True)[1] == [] and videos() == names


@pytest.mark.parametrize("output", ["scores.csv", "scores.jsonl", "scores.json"])
def test_scores_of_another_checkpoint_are_refused_and_unchanged(output):
    run(["a.mp4"], output)
    before = Path(output).read_bytes()
    with pytest.raises(UsageError, match=rf"--resume: {output} has scores of another checkpoint"):
        run(["a.mp4", "b.mp4"], output, resume=True, checkpoint="other.pth")
    assert Path(output).read_bytes() == before and not list(Path().glob(".writing*"))


@pytest.mark.parametrize("output", ["scores.csv", "scores.jsonl"])
def test_record_cut_short_by_a_kill_is_scored_again(output):
    run(["a.mp4", "b.mp4", "c.mp4"], output)
    complete = Path(output).read_bytes()
    Path(output).write_bytes(complete[:-9])
    assert run(["a.mp4", "b.mp4", "c.mp4"], output, resume=True)[1] == ["c.mp4"]
    assert Path(output).read_bytes() == complete


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("scores.csv", "video,score\na.mp4,0.5\n"),
        ("scores.csv", f"{','.join(COLUMNS)}\na.mp4,0.5\nb.mp4\n"),
        ("scores.json", "[1, 2"),
        ("scores.json", "[1, 2]"),
        ("scores.jsonl", '{"video": "a.mp4"}\n'),
    ],
)
def test_damaged_output_is_refused_and_unchanged(output, text):
    Path(output).write_text(text)
    with pytest.raises(UsageError, match="is not a file of scores of this detector"):
        run(["a.mp4"], output, resume=True)
    assert Path(output).read_text() == text


def test_resuming_without_an_output_starts_a_new_one_and_other_runs_replace_it():
    assert run(["a.mp4"], resume=True)[1] == ["a.mp4"]
    assert run(["b.mp4"])[1] == ["b.mp4"] and videos() == ["b.mp4"]


def test_interrupted_stream_of_names_is_not_read_to_its_end():
    def endless():
        while True:
            yield Path("a.mp4")

    detector = CountingDetector(Path("best.pth"), stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        score_to_files(
            detector, OneRound(endless()), ScoreFiles(Path("scores.csv")), ScoringOptions(quiet=True), lambda line: None
        )
    assert [row["status"] for row in read_rows(Path("scores.csv"), COLUMNS)] == ["ok"] * 3 + ["pending"]


def test_watched_folder_is_announced_with_the_thresholds_before_its_clips():
    Path("inbox").mkdir()
    Path("inbox/a.mp4").write_bytes(b"clip")
    shown, watch = [], FolderWatch(Path("inbox"))
    watch.poll()
    detector = CountingDetector(Path("best.pth"), stop_after=0)
    with pytest.raises(KeyboardInterrupt):
        score_to_files(detector, watch, ScoreFiles(Path("scores.csv")), ScoringOptions(quiet=True), shown.append)
    assert shown[0] == "watching inbox: clips are scored as they arrive; Ctrl-C ends the run"
    assert shown[1] == describe_thresholds(Calibration()) and shown[2].startswith("video")


@pytest.mark.parametrize("output", ["scores.csv", "scores.json"])
def test_memory_does_not_grow_with_the_number_of_clips(output):
    class Forgetful(CountingDetector):
        def score_many(self, clips, **_):
            for clip in clips:
                yield Score(str(clip), 0.75, 1.0, "fake", {"fake": 0.5}, "ok", "", {"face": 1.0})

    clips = (Path(f"{number:06d}.mp4") for number in range(20_000))
    tracemalloc.start()
    try:
        files = ScoreFiles(Path(output))
        score_to_files(
            Forgetful(Path("best.pth")), OneRound(clips), files, ScoringOptions(quiet=True), lambda line: None
        )
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes / 20_000 < 100  # a held Score needs more than 500 bytes


def test_json_output_is_a_list_with_null_for_unknown_values():
    writer = ScoreWriter(Path("scores.json"), COLUMNS)
    writer.close()
    assert json.loads(Path("scores.json").read_text()) == []
    run(["gone.mp4"], "scores.json")
    (row,) = json.loads(Path("scores.json").read_text())
    assert list(row) == COLUMNS and row["score"] is None and row["reason"] == "missing_file"


ROW = {"score": 0.9123, "verdict": "fake", "reason": "no_audio", "evidence_voice": -1.0, "evidence_face": 2.345}


def test_pipe_gets_full_names_separated_by_tabs():
    lines = ScoreLines(("voice", "face"))
    assert lines.header() == "video\tscore\tverdict\tbecause\treason"
    name = "folder/" * 30 + "tab\t new line\n escape \x1b[2J.mp4"
    cells = lines.line(ROW | {"video": name}).split("\t")
    assert cells[0] == "folder/" * 30 + r"tab\t new line\n escape \x1b[2J.mp4"
    assert cells[1:] == ["0.9123", "fake", "face +2.3", "no_audio"]
    unscored = dict.fromkeys(("score", "evidence_voice", "evidence_face")) | {
        "verdict": "unscored",
        "reason": "no_face",
    }
    assert lines.line(unscored | {"video": "a"}) == "a\t\tunscored\t\tno_face"


@pytest.mark.parametrize("name", ["a.mp4", "x" * 200 + ".mp4", "ナ" * 100 + ".mp4", "e\u0301" * 60 + ".mp4"])
@pytest.mark.parametrize("terms", [("voice", "face"), ("speech_embedding", "covariance")])
def test_line_fits_a_terminal_of_80_columns(name, terms):
    lines = ScoreLines(terms, width=80, colour=True)
    evidence = {f"evidence_{term}": -12.345 for term in terms}
    for verdict in ("fake", "inconclusive", "real", "unscored"):
        row = ROW | evidence | {"video": name, "verdict": verdict, "reason": "no_audio+truncated+one_frame"}
        line = lines.line(row)
        plain = re.sub(r"\x1b\[\d+m", "", line)
        assert columns(plain) <= 80 and plain.split()[0].endswith(".mp4")
        assert (line != plain) and verdict in plain
    assert columns(lines.header()) <= 80


def test_terminal_shortens_folders_and_counts_reasons():
    lines = ScoreLines(("speech_embedding", "covariance"), width=80)
    row = ROW | {"video": "../clips/of/a/phone/two_faces.mp4", "reason": "no_audio+truncated+one_frame"}
    assert lines.line(row).startswith("…/two_faces.mp4 ") and lines.line(row).endswith("no_audio +2")
    assert lines.line(ROW | {"video": "clips/a.mp4"}).startswith("clips/a.mp4 ")


def test_expert_named_for_a_verdict_pulled_towards_it():
    lines = ScoreLines(("voice", "face"))
    row = ROW | {"video": "a", "evidence_voice": -3.0, "evidence_face": 2.0}
    found = {
        verdict: lines.line(row | {"verdict": verdict}).split("\t")[3] for verdict in ("fake", "real", "inconclusive")
    }
    assert found == {"fake": "face +2.0", "real": "voice -3.0", "inconclusive": "voice -3.0"}


def test_faces_of_a_clip_are_listed_and_the_worst_is_named():
    tracks = [FaceTrack(n, 0.0, 2.0, np.zeros(1), np.zeros((1, 4)), s, {"face": s}) for n, s in ((1, 0.2), (2, 0.75))]
    unscored = FaceTrack(3, 0.0, 2.0, np.zeros(1), np.zeros((1, 4)))
    score = Score("a.mp4", 0.75, 1.1, "fake", {"fake": 0.5}, "ok", "", {"face": 0.9}, faces=(*tracks, unscored))
    row = row_of(score)
    assert json.loads(json_line(row))["faces"][1] == {
        "number": 2, "start_s": 0.0, "end_s": 2.0, "score": 0.75, "evidence": {"face": 0.75}
    }  # fmt: skip
    assert csv_line(row.values()).endswith(",2: 0.7500; 1: 0.2000,\n")
    assert "\tface 2: face +0.9\t" in ScoreLines(("face",)).line(row)
    single = row_of(replace(score, faces=(tracks[0], unscored)))
    assert single["faces"] == [] and "\tface +0.9\t" in ScoreLines(("face",)).line(single)


@pytest.mark.parametrize(
    ("variable", "value", "coloured"), [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)]
)
def test_colours_need_a_terminal_and_can_be_disabled(monkeypatch, variable, value, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    terminal, pipe = SimpleNamespace(isatty=lambda: True), SimpleNamespace(isatty=lambda: False)
    assert ("\x1b[31m" in ScoreLines.for_stream(("face",), terminal).line(ROW | {"video": "a"})) == coloured
    assert "\x1b" not in ScoreLines.for_stream(("face",), pipe).line(ROW | {"video": "a"})


def test_long_names_lose_their_middle():
    assert middle_truncated("abcdefghijklmnopqrst.mp4", 12) == "abc…qrst.mp4"


def test_resuming_a_file_without_the_real_threshold_is_refused_and_keeps_it():
    run(NAMES[:1])
    old = Path("scores.csv").read_text().replace(",real_threshold\n", "\n").replace(",\n", "\n")
    Path("scores.csv").write_text(old)
    with pytest.raises(UsageError, match="an earlier version wrote it, without the column real_threshold"):
        run(NAMES[:2], resume=True)
    assert Path("scores.csv").read_text() == old
