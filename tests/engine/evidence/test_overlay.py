"""Boxes and panel of a rendered clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.evidence.overlay import Overlay
from engine.evidence.panel import FAKE, REAL
from engine.timeline.types import FaceTrack
from tests.engine.evidence.samples import score, timeline

BOX = np.array([[20.0, 40, 120, 160]] * 2, np.float32)


def face(number: int, start_s: float, end_s: float, value: float | None) -> FaceTrack:
    return FaceTrack(number, start_s, end_s, np.array([start_s, end_s]), BOX, value)


TWO_SHOTS = replace(score(), timeline=timeline(), faces=(face(1, 0.0, 2.9, 0.9), face(2, 3.0, 7.0, 0.1)), cuts_s=(3.0,))


def edge_colour(drawn: np.ndarray) -> tuple[int, ...]:
    """Return the colour of the box's lower edge."""
    return tuple(drawn[160, 70].tolist())


def test_a_box_has_the_colour_of_its_face_and_ends_at_the_cut() -> None:
    overlay = Overlay(TWO_SHOTS, (240, 320), 7.0)
    frame = np.zeros((240, 320, 3), np.uint8)
    assert edge_colour(overlay.draw(frame, 2.9)) == FAKE
    assert edge_colour(overlay.draw(frame, 3.0)) == REAL
    without_cut = Overlay(replace(TWO_SHOTS, cuts_s=(), faces=TWO_SHOTS.faces[:1]), (240, 320), 7.0)
    assert edge_colour(without_cut.draw(frame, 3.0)) == FAKE
    only_first = Overlay(replace(TWO_SHOTS, faces=TWO_SHOTS.faces[:1]), (240, 320), 7.0)
    assert edge_colour(only_first.draw(frame, 3.0)) == (0, 0, 0)


@pytest.mark.parametrize("size", [(240, 320), (640, 360), (1080, 1920), (180, 320), (1920, 1080)])
def test_the_panel_has_room_for_all_rows_and_changes_with_the_time(size: tuple[int, int]) -> None:
    overlay = Overlay(TWO_SHOTS, size, 7.0)
    frame = np.zeros((*size, 3), np.uint8)
    early, late = (overlay.draw(frame, time_s)[size[0] :] for time_s in (1.0, 5.0))
    assert early.shape == late.shape and (early != late).any()
    assert overlay.size == (size[0] + len(early), size[1]) and overlay.size[0] % 2 == 0
    assert 60 <= len(early) <= max(130, 0.3 * min(size))


def test_a_clip_without_time_line_and_faces_can_be_drawn() -> None:
    overlay = Overlay(score(score=None, logit=None, verdict="unscored"), (180, 320), 2.0)
    assert overlay.draw(np.zeros((90, 160, 3), np.uint8), 1.0).shape == (*overlay.size, 3)


def test_many_faces_at_once_do_not_make_the_panel_higher() -> None:
    crowd = tuple(face(number, 0.0, 7.0, 0.5) for number in range(1, 9))
    few, many = (Overlay(replace(TWO_SHOTS, faces=faces), (240, 320), 7.0) for faces in (crowd[:3], crowd))
    assert many.size[0] <= few.size[0]
