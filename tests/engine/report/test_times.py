"""Times of a clip as text, and round steps of time axes."""

from __future__ import annotations

import pytest

from engine.report.times import clock, moment, time_ticks


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0232, "0 s"),
        (9.82, "9.8 s"),
        (59.96, "1:00"),
        (148.5, "2:28.5"),
        (119.97, "2:00"),
        (3725, "62:05"),
    ],
)
def test_times_have_a_tenth_of_a_second(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("end_s", "ticks"),
    [
        (0.4, [0.0, 0.1, 0.2, 0.3, 0.4]),
        (7.4, [0, 2, 4, 6]),
        (80, [0, 15, 30, 45, 60, 75]),
        (600, [0, 120, 240, 360, 480, 600]),
    ],
)
def test_ticks_are_round_times(end_s: float, ticks: list[float]) -> None:
    assert time_ticks(end_s, 6) == pytest.approx(ticks)


def test_a_day_has_ticks_too() -> None:
    assert time_ticks(86_400, 6)[-1] == 86_400


def test_moments_are_readable_and_in_utc() -> None:
    assert moment("2026-11-28T10:40:48+00:00") == "2026-11-28 10:40 UTC"
    assert moment("2026-11-28T01:10:00+02:00") == "2026-11-27 23:10 UTC"
    assert moment("checkpoint.pth") == "checkpoint.pth" and moment("2026-11-28") == "2026-11-28"
