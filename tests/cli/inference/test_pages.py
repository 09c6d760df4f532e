import json
from pathlib import Path

import av
import pytest

import inference
from engine.report.clip_files import page_name
from tests.cli.inference.conftest import call, rows_of
from tests.support import one_sentence, random_checkpoint, write_video
from utils.features.config import FeatureConfig


def pages(folder="report"):
    return {path.name for path in Path(folder, "clips").iterdir()}


def test_report_links_to_one_page_per_clip(shelf, checkpoint, tmp_path):
    assert call("--video_dir", shelf, "--checkpoint", checkpoint, "--report", "report") == 0
    videos = [row["video"] for row in rows_of()]
    assert pages() == {page_name(video) for video in videos} and len(pages()) == len(videos)
    index = (tmp_path / "report" / "report.html").read_text()
    assert all(f'href="clips/{name}"' in index for name in pages())
    broken = (tmp_path / "report" / "clips" / page_name(next(v for v in videos if v.endswith("empty.mp4")))).read_text()
    assert "Not scored" in broken


def test_number_of_pages_is_limited_and_resumed_pages_stay_linked(shelf, checkpoint, tmp_path):
    given = ["--video_dir", shelf, "--checkpoint", checkpoint, "--report", "report", "--report_pages", "1"]
    assert call(*given) == 0
    assert len(pages()) == 1
    assert call(*given, "--resume") == 0
    assert len(pages()) == 1
    assert f'href="clips/{pages().pop()}"' in (tmp_path / "report" / "report.html").read_text()


def test_page_names_are_plain_and_unique():
    names = {
        page_name(name)
        for name in ("a/x.mp4", "b/x.mp4", "x", "<b>..mp4", "ナ 1.MP4", "x" * 300 + ".mp4", "\udcff.mp4")
    }
    assert len(names) == 7
    assert all(name.isascii() and len(name) < 90 and not set(name) & set("<>/\\ ") for name in names)


def test_rendered_video_keeps_sound_and_adds_a_panel(shelf, checkpoint, tmp_path):
    assert call("--video_path", shelf / "b.mp4", "--checkpoint", checkpoint, "--render", "out.mp4") == 0
    with av.open(str(shelf / "b.mp4")) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert after.streams.audio and after.streams.video[0].width >= before.streams.video[0].width
        ratio = [clip.streams.video[0].height / clip.streams.video[0].width for clip in (before, after)]
        assert ratio[1] > ratio[0]
        assert abs(after.duration - before.duration) < 0.3 * av.time_base


def test_timelines_are_written_for_every_clip(shelf, tmp_path):
    model = {"name": "av_experts", "experts": {"voice": {"trees": 2}}}
    path = random_checkpoint(tmp_path / "voice.pth", model, features=FeatureConfig.model_validate({"voice": True}))
    given = ["--video_path", shelf / "b.mp4", shelf / "empty.mp4", "--checkpoint", path, "--timeline", "lines"]
    assert call(*given) == 0
    scored, broken = (Path("lines", page_name(row["video"])).with_suffix(".json") for row in rows_of())
    found = json.loads(scored.read_text())
    assert found["verdict"] == rows_of()[0]["verdict"] and len(found["timeline"]["score"]) >= 1
    assert "b.mp4" in scored.with_suffix(".svg").read_text()
    assert json.loads(broken.read_text())["timeline"] is None and not broken.with_suffix(".svg").exists()


def test_detector_of_whole_clips_has_no_timeline(shelf, checkpoint, capsys):
    given = ["--video_path", str(shelf / "b.mp4"), "--checkpoint", str(checkpoint), "--timeline", "lines"]
    assert "has no time line" in one_sentence(inference.main, given, capsys)


def test_clip_without_video_renders_an_empty_picture(shelf, checkpoint, tmp_path):
    assert call("--video_path", shelf / "z no video.mp4", "--checkpoint", checkpoint, "--render", "out.mkv") == 0
    with av.open(str(tmp_path / "out.mkv")) as clip:
        assert clip.streams.audio and clip.streams.video


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--video_dir", ".", "--render", "out.mp4"], "--render needs one clip"),
        (["--video_path", "a.mp4", "b.mp4", "--render", "out.mp4"], "names 2"),
        (["--video_path", "a.mp4", "--render", "out.gif"], "expected a name that ends in .mp4"),
    ],
)
def test_impossible_rendering_is_refused_in_one_sentence(given, expected, checkpoint, tmp_path, capsys):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, 0)
    assert expected in one_sentence(inference.main, [*given, "--checkpoint", str(checkpoint)], capsys)
