"""Parameters of the face, voice and scene of a demo clip, drawn from a seeded generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]

SKIN_TONES: tuple[RGB, ...] = (
    (255, 224, 196),
    (241, 194, 165),
    (224, 172, 135),
    (198, 138, 98),
    (161, 102, 68),
    (115, 72, 50),
    (86, 54, 40),
)
HAIR_TONES: tuple[RGB, ...] = (
    (28, 22, 20),
    (60, 40, 28),
    (98, 62, 36),
    (150, 98, 52),
    (206, 166, 96),
    (158, 70, 34),
    (150, 148, 146),
)
IRIS_TONES: tuple[RGB, ...] = ((70, 44, 26), (104, 74, 38), (84, 112, 70), (70, 110, 150), (96, 112, 122))
HAIR_STYLES = ("buzz", "short", "parted", "long", "round", "bob")


@dataclass(frozen=True)
class Face:
    """Parameters of a head. Colours are RGB in [0, 255]; lengths are fractions of the canvas side."""

    skin_rgb: RGB
    hair_rgb: RGB
    iris_rgb: RGB
    lip_rgb: RGB
    clothes_rgb: RGB
    hair_style: str
    hairline: float
    parting: float
    half_width: float
    half_height: float
    jaw_taper: float
    eye_offset: float
    eye_y: float
    eye_width: float
    eye_height: float
    brow_thickness: float
    brow_tilt: float
    nose_width: float
    nose_y: float
    mouth_y: float
    mouth_half_width: float
    upper_lip: float
    lower_lip: float
    beard: float
    glasses: bool
    collar: bool
    texture_seed: int


@dataclass(frozen=True)
class Voice:
    """A speaker: source (F0, its irregularities, breath) and filter (a factor on all formant frequencies)."""

    f0_hz: float
    f0_span: float
    tract_scale: float
    jitter: float
    shimmer: float
    breathiness: float
    open_quotient: float
    syllable_rate_hz: float
    reverb_s: float


@dataclass(frozen=True)
class Scene:
    """Background, light direction and colour, and framing of a clip."""

    background_rgb: tuple[RGB, RGB]
    background_kind: str
    background_seed: int
    light_direction: tuple[float, float]
    light_strength: float
    light_rgb: RGB
    zoom: float
    centre: tuple[float, float]


def draw_face(rng: np.random.Generator) -> Face:
    """Draw the parameters of a face."""
    skin = _near(rng, _between(rng, SKIN_TONES), 6)
    style = str(rng.choice(HAIR_STYLES))
    lips = np.array(skin) * (0.80, 0.58, 0.58) + (18, 0, 4)
    return Face(
        skin_rgb=skin,
        hair_rgb=_near(rng, _between(rng, HAIR_TONES, blend=0.3), 8),
        iris_rgb=_near(rng, IRIS_TONES[rng.integers(len(IRIS_TONES))], 8),
        lip_rgb=_near(rng, tuple(lips), 10),
        clothes_rgb=tuple(rng.uniform(25, 215, 3)),
        hair_style=style,
        hairline=rng.uniform(-0.235, -0.175),
        parting=rng.uniform(-0.6, 0.6),
        half_width=rng.uniform(0.222, 0.262),
        half_height=rng.uniform(0.305, 0.345),
        jaw_taper=rng.uniform(0.14, 0.34),
        eye_offset=rng.uniform(0.090, 0.108),
        eye_y=rng.uniform(-0.045, -0.015),
        eye_width=rng.uniform(0.045, 0.056),
        eye_height=rng.uniform(0.021, 0.030),
        brow_thickness=rng.uniform(0.010, 0.022),
        brow_tilt=rng.uniform(-0.012, 0.014),
        nose_width=rng.uniform(0.034, 0.054),
        nose_y=rng.uniform(0.078, 0.102),
        mouth_y=rng.uniform(0.160, 0.186),
        mouth_half_width=rng.uniform(0.074, 0.096),
        upper_lip=rng.uniform(0.013, 0.024),
        lower_lip=rng.uniform(0.017, 0.030),
        beard=float(rng.uniform(0.25, 0.8)) if style in ("buzz", "short", "parted") and rng.random() < 0.45 else 0.0,
        glasses=bool(rng.random() < 0.2),
        collar=bool(rng.random() < 0.5),
        texture_seed=int(rng.integers(2**31)),
    )


def draw_voice(rng: np.random.Generator) -> Voice:
    """Draw a voice. F0 ranges from low male to high female; a higher F0 comes with a shorter vocal tract."""
    height = rng.uniform()
    return Voice(
        f0_hz=85 * (245 / 85) ** height,
        f0_span=rng.uniform(0.10, 0.28),
        tract_scale=0.92 + 0.26 * height + rng.normal(0, 0.03),
        jitter=rng.uniform(0.004, 0.018),
        shimmer=rng.uniform(0.02, 0.09),
        breathiness=rng.uniform(0.01, 0.08),
        open_quotient=rng.uniform(0.5, 0.75),
        syllable_rate_hz=rng.uniform(3.6, 5.4),
        reverb_s=rng.uniform(0.03, 0.16),
    )


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw the parameters of a scene."""
    grey = rng.uniform(50, 200)
    base = np.clip(grey + rng.normal(0, 26, 3), 20, 230)
    return Scene(
        background_rgb=(tuple(base), tuple(np.clip(base * rng.uniform(0.4, 0.8) + rng.normal(0, 12, 3), 5, 250))),
        background_kind=str(rng.choice(["gradient", "shelves", "window", "lights"])),
        background_seed=int(rng.integers(2**31)),
        light_direction=(rng.uniform(-0.75, 0.75), rng.uniform(-0.65, -0.1)),
        light_strength=rng.uniform(0.25, 0.55),
        light_rgb=tuple(1 + rng.uniform(-0.06, 0.06) * np.array([1.0, 0.1, -1.0])),
        zoom=rng.uniform(0.92, 1.12),
        centre=(rng.uniform(0.46, 0.54), rng.uniform(0.455, 0.50)),
    )


def _between(rng: np.random.Generator, tones: tuple[RGB, ...], blend: float = 1.0) -> RGB:
    position = rng.uniform(0, len(tones) - 1)
    index = int(position)
    weight = (position - index) * blend
    return tuple((1 - weight) * np.array(tones[index]) + weight * np.array(tones[index + 1]))


def _near(rng: np.random.Generator, rgb: RGB, spread: float) -> RGB:
    red, green, blue = np.clip(np.array(rgb) + rng.normal(0, spread, 3), 8, 250).tolist()
    return red, green, blue
