"""One take: identity, scene, speech and motion tracks, sampled at the frame times of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dataset.demo_set.head import Expression
from dataset.demo_set.identity import Face, Scene, Voice, draw_face, draw_scene, draw_voice
from dataset.demo_set.speech import SpeechPlan, plan_speech, synthesise

TAKE_S = 7.0
TRACK_RATE_HZ = 100


@dataclass(frozen=True)
class Pose:
    """Head pose: shift of the centre in frame sides, roll in degrees, yaw and pitch in canvas sides, zoom factor."""

    x: float
    y: float
    roll_deg: float
    yaw: float
    pitch: float
    zoom: float


@dataclass(frozen=True)
class Take:
    """A performance of one identity, ``TAKE_S`` seconds long. Clips are windows of it.

    Both in real clips and in clips with swapped audio, windows start and end at random times, regardless of pauses.
    Their boundaries therefore do not reveal the class.
    """

    face: Face
    voice: Voice
    scene: Scene
    speech: SpeechPlan
    tracks: dict[str, np.ndarray]

    def poses(self, times_s: np.ndarray) -> list[Pose]:
        """Return the head pose at each time."""
        columns = [self._at(name, times_s) for name in ("x", "y", "roll", "yaw", "pitch", "zoom")]
        return [Pose(*row) for row in np.column_stack(columns).tolist()]

    def expressions(self, times_s: np.ndarray) -> list[Expression]:
        """Return mouth, eyes and brows at each time. The mouth follows the speech."""
        opening, spread = self.speech.lips_at(times_s)
        names = ("eyes", "brows", "gaze_x", "gaze_y")
        eyes, brows, gaze_x, gaze_y = (self._at(name, times_s).tolist() for name in names)
        rows = zip(opening.tolist(), spread.tolist(), eyes, brows, gaze_x, gaze_y, strict=True)
        return [Expression(o, s, e, b, (gx, gy)) for o, s, e, b, gx, gy in rows]

    def gains(self, times_s: np.ndarray) -> np.ndarray:
        """Return the light gain per colour channel at each time, (T, 3)."""
        return np.column_stack([self._at(name, times_s) for name in ("red", "green", "blue")])

    def samples(self, start_s: float, duration_s: float) -> np.ndarray:
        """Synthesise the speech of a window, (S,) float32 at ``speech.SAMPLE_RATE_HZ``."""
        return synthesise(self.voice, self.speech, start_s, duration_s)

    def _at(self, name: str, times_s: np.ndarray) -> np.ndarray:
        return np.interp(times_s, self._grid_s, self.tracks[name])

    @cached_property
    def _grid_s(self) -> np.ndarray:
        return np.arange(int(TAKE_S * TRACK_RATE_HZ)) / TRACK_RATE_HZ


def make_take(seed: int, identity: int, take: int = 0) -> Take:
    """Make a take of an identity. Face, voice and scene depend on the identity only."""
    person = np.random.default_rng([seed, identity, 0])
    face, voice, scene = draw_face(person), draw_voice(person), draw_scene(person)
    rng = np.random.default_rng([seed, identity, 1 + take])
    speech = plan_speech(voice, TAKE_S, rng)
    return Take(face, voice, scene, speech, _tracks(speech, rng))


def _tracks(speech: SpeechPlan, rng: np.random.Generator) -> dict[str, np.ndarray]:
    n = int(TAKE_S * TRACK_RATE_HZ)
    liveliness = rng.uniform(0.5, 1.4)

    def wander(scale: float, sigma_s: float) -> np.ndarray:
        smooth = gaussian_filter1d(rng.standard_normal(n), sigma_s * TRACK_RATE_HZ)
        return scale * smooth / (smooth.std() + 1e-9)

    stress = gaussian_filter1d(speech.voicing[:: len(speech.voicing) // n][:n], 12)
    stress = stress - stress.mean()
    brightness = wander(rng.uniform(0.005, 0.04), 0.8) + rng.uniform(-0.06, 0.06) * np.linspace(-1, 1, n)
    warmth = wander(0.008, 1.2)
    return {
        "x": liveliness * (wander(0.012, 0.45) + wander(0.003, 0.12)),
        "y": liveliness * (wander(0.007, 0.35) + 0.012 * stress),
        "roll": liveliness * wander(2.0, 0.5),
        "yaw": liveliness * wander(0.022, 0.5) + rng.uniform(-0.02, 0.02),
        "pitch": liveliness * (wander(0.010, 0.4) + 0.012 * stress),
        "zoom": 1 + wander(0.012, 0.8),
        "eyes": _blinks(n, rng),
        "brows": np.clip(wander(0.45, 0.25) + 0.6 * stress, -1, 1),
        "gaze_x": np.clip(wander(0.6, 0.3), -1, 1),
        "gaze_y": np.clip(wander(0.4, 0.3), -1, 1),
        "red": 1 + brightness + warmth,
        "green": 1 + brightness,
        "blue": 1 + brightness - warmth,
    }


def _blinks(n: int, rng: np.random.Generator) -> np.ndarray:
    eyes = np.full(n, rng.uniform(0.85, 1.0))
    time_s = rng.uniform(0.2, 2.5)
    while time_s < TAKE_S:
        distance = (np.arange(n) / TRACK_RATE_HZ - time_s) / rng.uniform(0.07, 0.11)
        eyes *= 1 - np.exp(-(distance**2) * 2)
        time_s += rng.uniform(1.2, 4.0)
    return eyes
