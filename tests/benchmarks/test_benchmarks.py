"""Every benchmark runs on two tiny clips and returns plausible rows. Speed itself is not tested."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.clips import make_clips, make_segment, repeat_clip, whole_clips
from benchmarks.measure import compare, cost_of
from benchmarks.report import markdown_table, text_table
from benchmarks.run import BENCHMARKS, main
from benchmarks.setting import Row, Setting, row

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tiny_clips(tmp_path_factory, media) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [media.clip(folder / f"c{index}.mp4", 0.5, seed=index) for index in range(2)]


@pytest.fixture
def setting(tiny_clips, tmp_path) -> Setting:
    return Setting(
        tiny_clips,
        tmp_path,
        repetitions=1,
        clip_counts=(2, 3),
        label_rows=20,
        lengths_s=(10,),
        reference_length_s=0,
        long_frame_px=(64, 48),
        epoch_clips=4,
        batch_size=2,
        packed_clips=8,
        packed_batch_size=4,
        backbone="test_resnet",
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_returns_plausible_rows(name: str, setting: Setting) -> None:
    rows = importlib.import_module(f"benchmarks.{name}").run(setting)

    assert rows and len({row.name for row in rows}) == len(rows)
    for found in rows:
        assert math.isfinite(found.value)
        # Some stages are differences of two measurements. On clips of ten frames they can be negative.
        assert found.value > 0 or found.benchmark == "stages" or "growth" in found.name
        for ratio in (found.to_floor, found.to_reference):
            assert ratio is None or math.isfinite(ratio)
    assert any(found.to_floor is not None for found in rows)


def test_every_benchmark_module_is_listed() -> None:
    modules = {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")}
    found = {
        name
        for name in modules
        if "\ndef run(setting: Setting)" in (REPOSITORY / "benchmarks" / f"{name}.py").read_text()
    }
    assert found == set(BENCHMARKS)


def test_the_command_prints_a_table_and_writes_json_and_markdown(tiny_clips, tmp_path, capsys) -> None:
    output, table = tmp_path / "speed.json", tmp_path / "speed.md"
    folder = str(tiny_clips[0].parent)
    options = ["--repetitions", "1", "--only", "extraction", "--output", str(output), "--markdown", str(table)]
    assert main(["--clips", folder, *options]) == 0

    written = json.loads(output.read_text())
    assert written["clips"] == 2 and written["machine"]["cores"]
    assert {found["benchmark"] for found in written["rows"]} == {"extraction"}
    assert "published / value" in capsys.readouterr().out
    assert table.read_text().count("\n| extraction |") == len(written["rows"])


def test_ratios_to_the_floor_and_to_the_published_steps() -> None:
    made = row("b", "n", 20.0, "ms", floor=10.0, reference=60.0)
    assert (made.to_floor, made.to_reference) == (2.0, 3.0)
    assert row("b", "n", 20.0, "ms") == Row("b", "n", 20.0, "ms", None, None)


def test_cost_is_the_mean_over_subjects_of_each_minimum(monkeypatch) -> None:
    seconds = iter([9.0, 3.0, 5.0, 2.0, 8.0])  # the first call is the warm-up
    clock = [0.0]
    monkeypatch.setattr("benchmarks.measure.time.perf_counter", lambda: clock[0])

    def task(_: object) -> None:
        clock[0] += next(seconds)

    assert compare({"a": task}, ["x", "y"], 2)["a"].wall_s == (2.0 + 5.0) / 2


def test_processor_time_includes_ended_children() -> None:
    import subprocess
    import sys

    cost = cost_of(lambda: subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True))
    assert cost.cpu_s > 0.02


def test_synthetic_clips_have_the_format_of_the_challenge(tmp_path) -> None:
    (path,) = make_clips(tmp_path, 1, size_px=64, duration_s=1.0)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 64, 64)
        assert (audio.codec_context.name.startswith("mp3"), audio.rate, audio.channels) == (True, 44_100, 2)
    assert whole_clips([path, tmp_path / "absent.mp4"], 5) == [path]


def test_a_repeated_clip_decodes_to_the_repeated_frames(tmp_path) -> None:
    segment = make_segment(tmp_path / "segment.mp4", (64, 48))
    path = repeat_clip(segment, tmp_path / "long.mp4", 20)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(frames) == 500
    np.testing.assert_array_equal(frames[:250], frames[250:])


def test_text_and_markdown_tables_contain_every_row() -> None:
    rows = [Row("b", "first", 1234.5, "s", 1.5, None), Row("b", "second", 0.01234, "s")]
    assert text_table(rows).splitlines()[1].split() == ["b", "first", "1234", "s", "1.50"]
    assert markdown_table(rows).splitlines()[3] == "| b | second | 0.0123 | s |  |  |"
