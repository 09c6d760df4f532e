"""Outputs that would overwrite an input, or a file with other content, are refused before scoring starts."""

from __future__ import annotations

import logging
import os

import pytest

from engine.output_checks import check_inputs_kept, check_replaceable_report, check_replaceable_scores
from engine.score_rows import COLUMNS
from engine.score_writer import ScoreWriter
from utils.errors import UsageError


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_an_input_is_not_overwritten(tmp_path, link):
    clip, output = tmp_path / "clip.mp4", tmp_path / "copy.mp4"
    clip.write_bytes(b"clip")
    check_inputs_kept({"--render": output, "--report": None}, [clip, tmp_path / "gone.mp4"])
    if link is None:
        output = clip
    else:
        link(clip, output)
    with pytest.raises(UsageError, match="--render .* is the input .*/clip.mp4, which would be overwritten"):
        check_inputs_kept({"--render": output, "--report": None}, [clip])


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_only_files_of_scores_are_replaced(tmp_path, caplog, suffix):
    caplog.set_level(logging.INFO)
    path = tmp_path / f"scores{suffix}"
    for content in (
        "",
        "video_name,target\na.mp4,1\n",
        "a.mp4\nb.mp4\n",
        "[1]",
        '{"a": 1}\n',
        '[{"video": "a"}]',
        "\0\xff",
    ):
        path.write_text(content, encoding="utf-8")
        if content:
            with pytest.raises(UsageError, match="is not a file of scores, so it is not overwritten"):
                check_replaceable_scores(path)
        else:
            check_replaceable_scores(path)
    assert caplog.messages == []
    writer = ScoreWriter(path, [*COLUMNS, "evidence_face"])
    writer.add({name: "x" for name in COLUMNS} | {"score": 0.5, "logit": 0.5, "threshold": 0.5})
    writer.close()
    check_replaceable_scores(path)
    (message,) = caplog.messages
    assert message.endswith(f"scores{suffix} has scores of an earlier run, which are replaced; --resume keeps them")


def test_report_of_something_else_is_not_replaced(tmp_path):
    path = tmp_path / "report.html"
    check_replaceable_report(path)
    path.write_text("<title>run · evaluation report</title>")
    with pytest.raises(UsageError, match="report.html exists and is not a report about scored clips"):
        check_replaceable_report(path)
