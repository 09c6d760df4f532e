"""Paint a head on a square canvas. The base is painted once per face and light; eyes and mouth are painted for each frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dataset.demo_set.canvas import (
    CANVAS_PX,
    SHIFT,
    X,
    Y,
    disc,
    fill,
    fixed_point,
    lens,
    line,
    mask_of,
    opaque,
    over,
    soft,
    spot,
)
from dataset.demo_set.identity import Face, Scene

_PARTED = 0.006
_LIP_T = np.linspace(-1, 1, 21)
_LIP_ARC = np.sqrt(np.clip(1 - _LIP_T**2, 0, 1))
_LIP_FULL = _LIP_ARC**0.8
_LIP_BOW = _LIP_FULL * (
    1 - 0.28 * np.exp(-((_LIP_T / 0.16) ** 2)) + 0.12 * np.exp(-(((np.abs(_LIP_T) - 0.3) / 0.2) ** 2))
)


@dataclass(frozen=True)
class Expression:
    """Facial expression: mouth opening [0, 1], lip spread [-1, 1], eye opening [0, 1], brow raise [-1, 1]."""

    opening: float
    spread: float
    eyes: float = 1.0
    brows: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


class HeadPainter:
    """Painter of one face under one light."""

    def __init__(self, face: Face, scene: Scene) -> None:
        """Paint the parts that are the same in every frame."""
        self.face = face
        base, alpha = _paint_base(face, scene)
        self._base = np.dstack([np.clip(base, 0, 255), alpha * 255]).round().astype(np.uint8)
        tint = np.array(scene.light_rgb) * (0.82 + 0.3 * scene.light_strength)
        hair, lip = np.array(face.hair_rgb) * tint, np.array(face.lip_rgb) * tint
        lids = [self._sample(side * face.eye_offset, face.eye_y - 0.045) * 0.93 for side in (-1, 1)]
        self._lids = [opaque(lid=lid, under=lid * 1.04, crease=lid * 0.72) for lid in lids]
        self._colours = opaque(
            white=np.array((236, 232, 226)) * tint,
            iris=np.array(face.iris_rgb) * tint * 0.95,
            pupil=(14, 12, 12),
            glint=(245, 245, 245),
            lash=hair * 0.35,
            brow=0.75 * hair + 0.15 * (lids[0] + lids[1]) / 2,
            glasses=(34, 32, 38),
            lip=lip,
            lip_light=lip * 1.08,
            lip_edge=lip * 0.86,
            lip_gap=lip * 0.5,
            mouth=(52, 18, 22),
            teeth=np.array((226, 220, 208)) * tint,
            tongue=np.array((164, 74, 76)) * tint,
            chin=self._sample(0, face.mouth_y + 0.055) * 0.84,
        )
        self.inner_mask = inner_face_mask(face)
        self.mouth_mask = mouth_mask(face)

    def paint(self, expression: Expression) -> np.ndarray:
        """Paint the head as (CANVAS_PX, CANVAS_PX, 4) uint8: RGB and coverage."""
        canvas = self._base.copy()
        for side, lids in zip((-1, 1), self._lids, strict=True):
            self._paint_eye(canvas, side, expression, lids)
        if self.face.glasses:
            self._paint_glasses(canvas)
        self._paint_mouth(canvas, expression)
        canvas[..., 3] = self._base[..., 3]
        return canvas

    def _sample(self, x: float, y: float) -> np.ndarray:
        column, row = (round((value + 0.5) * CANVAS_PX) for value in (x, y))
        return self._base[row - 1 : row + 2, column - 1 : column + 2, :3].mean(axis=(0, 1))

    def _paint_eye(self, canvas: np.ndarray, side: int, expression: Expression, lids: dict) -> None:
        face, colours = self.face, self._colours
        cx, cy, w, h = side * face.eye_offset, face.eye_y, face.eye_width, face.eye_height
        tilt, upper = 0.004 * side, -h * (1.25 * expression.eyes - 0.25)
        eye = lens(cx, cy, w, tilt, upper, 0.62 * h)
        fill(canvas, eye, colours["white"])
        ix, iy = cx + 0.012 * expression.gaze[0], cy - 0.002 + 0.006 * expression.gaze[1]
        radius = 1.02 * h
        disc(canvas, ix, iy, radius, colours["iris"])
        disc(canvas, ix, iy, 0.5 * radius, colours["pupil"])
        disc(canvas, ix - 0.35 * radius, iy - 0.4 * radius, 0.22 * radius, colours["glint"])
        fill(canvas, lens(cx, cy, w, tilt, -1.55 * h, upper), lids["lid"])
        fill(canvas, lens(cx, cy, w, tilt, 1.3 * h, 0.62 * h), lids["under"])
        line(canvas, eye[: len(eye) // 2], 2, colours["lash"])
        line(canvas, eye[len(eye) // 2 :], 1, lids["crease"])
        middle = cy - 0.074 - 0.010 * expression.brows
        thickness = 0.5 * face.brow_thickness
        brow = lens(cx, middle, 1.2 * w, face.brow_tilt * side, -thickness, thickness, bend=0.012)
        fill(canvas, brow, colours["brow"])

    def _paint_glasses(self, canvas: np.ndarray) -> None:
        face, colour = self.face, self._colours["glasses"]
        for side in (-1, 1):
            centre = fixed_point(np.array([side * (face.eye_offset + 0.002), face.eye_y + 0.002])).tolist()
            axes = [round(radius * CANVAS_PX * 2**SHIFT) for radius in (0.072, 0.056)]
            cv2.ellipse(canvas, centre, axes, 0, 0, 360, colour, 2, cv2.LINE_AA, SHIFT)
        inner = face.eye_offset - 0.07
        line(canvas, fixed_point(np.array([[-inner, face.eye_y - 0.006], [inner, face.eye_y - 0.006]])), 2, colour)

    def _paint_mouth(self, canvas: np.ndarray, expression: Expression) -> None:
        face, colours = self.face, self._colours
        spread = expression.spread
        half_width = face.mouth_half_width * (1 + 0.16 * spread - 0.10 * expression.opening)
        pucker = 1 - 0.35 * min(spread, 0)
        gap = 0.088 * expression.opening
        corner = face.mouth_y + 0.006 * (1 - np.abs(_LIP_T)) - 0.004 * max(spread, 0) * _LIP_T**2
        upper_in = corner - 0.30 * gap * _LIP_ARC
        lower_in = corner + 0.70 * gap * _LIP_ARC
        upper_out = upper_in - face.upper_lip * pucker * _LIP_BOW
        lower_out = lower_in + face.lower_lip * pucker * _LIP_FULL
        teeth = np.minimum(upper_in + np.minimum(0.016, 0.45 * gap) * _LIP_ARC, lower_in)
        tongue = np.maximum(lower_in - 0.42 * gap * _LIP_ARC**2, teeth)
        gloss, rim = lower_in + 0.35 * face.lower_lip, lower_out - 0.002
        rows = np.stack([upper_in, lower_in, upper_out, lower_out, teeth, tongue, gloss, rim, lower_out + 0.004])
        curves = fixed_point(np.stack([np.broadcast_to(half_width * _LIP_T, rows.shape), rows], axis=-1))
        upper_in, lower_in, upper_out, lower_out, teeth, tongue, gloss, rim, fold = curves
        fill(canvas, np.concatenate([upper_out, lower_out[::-1]]), colours["lip"])
        fill(canvas, np.concatenate([gloss, rim[::-1]]), colours["lip_light"])
        if gap > _PARTED:
            fill(canvas, np.concatenate([upper_in, lower_in[::-1]]), colours["mouth"])
            fill(canvas, np.concatenate([upper_in[3:-3], teeth[3:-3][::-1]]), colours["teeth"])
            fill(canvas, np.concatenate([tongue[5:-5], lower_in[5:-5][::-1]]), colours["tongue"])
        else:
            line(canvas, upper_in, 1, colours["lip_gap"])
        line(canvas, upper_out, 1, colours["lip_edge"])
        line(canvas, fold[4:-4], 1, colours["chin"])


@lru_cache(maxsize=8)
def head_painter(face: Face, scene: Scene) -> HeadPainter:
    """Return the painter of a face under a light. Painters are cached because the base is expensive to paint."""
    return HeadPainter(face, scene)


def inner_face_mask(face: Face) -> np.ndarray:
    """Return the soft mask in [0, 1] of the region that a face swap replaces, (CANVAS_PX, CANVAS_PX) float32."""
    radius = ((X / (0.86 * face.half_width)) ** 2 + ((Y - 0.055) / (0.74 * face.half_height)) ** 2) ** 0.5
    return np.clip((1.0 - radius) / 0.18, 0, 1).astype(np.float32)


def mouth_mask(face: Face) -> np.ndarray:
    """Return the soft mask in [0, 1] of the region that a lip-sync generator redraws, (CANVAS_PX, CANVAS_PX) float32."""
    across = np.abs(X) / (0.74 * face.half_width)
    along = np.abs(Y - face.mouth_y - 0.022) / 0.112
    return np.clip((1.0 - np.maximum(across, along)) / 0.16, 0, 1).astype(np.float32)


def _paint_base(face: Face, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(face.texture_seed)
    hair_rgb = np.array(face.hair_rgb)
    strands = cv2.GaussianBlur(rng.standard_normal((CANVAS_PX, CANVAS_PX)), (0, 0), sigmaX=0.9, sigmaY=7.0)
    hair = hair_rgb * (1 + 0.16 * strands / strands.std())[..., None] * (1.06 - 0.5 * (Y[..., None] + 0.2))
    head = mask_of(_outline(face))
    back, front = _hair_masks(face)
    ears = _ear_mask(face)
    skin = _paint_skin(face, scene, rng)
    canvas = hair * 0.72
    canvas = over(canvas, ears, skin * 0.88)
    canvas = over(canvas, head, skin)
    edge_shadow = cv2.GaussianBlur(front.astype(np.float32), (0, 0), 3.5) * head * (1 - front)
    canvas = canvas * (1 - 0.35 * edge_shadow[..., None])
    light = _light(face, scene)[..., None] * np.array(scene.light_rgb)
    strength = 0.35 if face.hair_style == "buzz" else 1.0
    canvas = over(canvas, front * strength, hair * (0.75 + 0.25 * light))
    return canvas, np.clip(np.maximum.reduce([head, back, front * strength, ears]), 0, 1)


def _paint_skin(face: Face, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    skin = np.ones((CANVAS_PX, CANVAS_PX, 3)) * face.skin_rgb
    pores = cv2.GaussianBlur(rng.standard_normal((CANVAS_PX, CANVAS_PX)), (0, 0), 1.2)
    skin *= 1 + 0.012 * (pores / pores.std())[..., None]
    for side in (-1, 1):
        skin = over(skin, 0.22 * spot(side * 0.135, 0.085, 0.055, 0.045), np.array(face.skin_rgb) * (1.02, 0.78, 0.76))
        skin = over(skin, 0.30 * spot(side * face.eye_offset, face.eye_y - 0.012, 0.062, 0.042), skin * 0.74)
        skin = over(
            skin, 0.22 * spot(side * (face.mouth_half_width + 0.02), face.mouth_y - 0.02, 0.012, 0.04), skin * 0.72
        )
    if face.beard:
        jaw = np.clip((Y - 0.075 - 0.16 * np.cos(np.clip(X / face.half_width, -1, 1) * np.pi) * 0.35) / 0.06, 0, 1)
        lip_gap = 1 - 0.8 * spot(0, face.mouth_y + 0.002, face.mouth_half_width * 0.9, 0.022)
        stubble = 0.85 + 0.15 * rng.random((CANVAS_PX, CANVAS_PX))
        skin = over(skin, face.beard * jaw * lip_gap * stubble, np.array(face.hair_rgb) * 0.9)
    skin = skin * (_light(face, scene)[..., None] * np.array(scene.light_rgb))
    return _paint_nose(face, scene, skin)


def _paint_nose(face: Face, scene: Scene, skin: np.ndarray) -> np.ndarray:
    shade_side = -1 if scene.light_direction[0] > 0 else 1
    bridge = np.array(
        [
            [shade_side * 0.014, face.eye_y - 0.01],
            [shade_side * face.nose_width * 0.98, face.nose_y],
            [shade_side * face.nose_width * 0.3, face.nose_y + 0.012],
            [shade_side * 0.006, face.nose_y - 0.03],
        ]
    )
    skin = over(skin, 0.5 * soft(mask_of(bridge), 2.0), skin * 0.62)
    under = np.array([[-face.nose_width, face.nose_y], [face.nose_width, face.nose_y], [0, face.nose_y + 0.026]])
    skin = over(skin, 0.6 * soft(mask_of(under), 1.6), skin * 0.55)
    for side in (-1, 1):
        skin = over(skin, 0.75 * spot(side * face.nose_width * 0.52, face.nose_y + 0.006, 0.010, 0.006), skin * 0.32)
        skin = over(skin, 0.35 * spot(side * face.nose_width * 0.98, face.nose_y - 0.006, 0.008, 0.014), skin * 0.6)
    return over(skin, 0.45 * spot(0, face.nose_y - 0.022, 0.012, 0.03), skin * 1.22 + 12)


def _light(face: Face, scene: Scene) -> np.ndarray:
    """Shade an ellipsoid by Lambert's law. The mean over the face is about 1."""
    nx = np.clip(X / (face.half_width * 1.12), -1, 1)
    ny = np.clip(Y / (face.half_height * 1.12), -1, 1)
    nz = np.sqrt(np.clip(1 - 0.8 * nx**2 - 0.6 * ny**2, 0.05, 1))
    lx, ly = scene.light_direction
    lambert = np.clip((nx * lx + ny * ly + nz) / np.sqrt(1 + lx**2 + ly**2), 0, 1.2)
    return 1.12 - scene.light_strength + 1.05 * scene.light_strength * lambert


def _outline(face: Face, grow: float = 1.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 73)[:-1]
    cos, sin = np.cos(angle), np.sin(angle)
    taper = 1 - face.jaw_taper * np.clip(sin, 0, 1) ** 1.8
    x = face.half_width * np.sign(cos) * np.abs(cos) ** 0.86 * taper
    return grow * np.column_stack([x, face.half_height * sin])


def _hair_masks(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Return the coverage of the hair behind the head and in front of it."""
    volume = {"buzz": 1.01, "short": 1.07, "parted": 1.09, "long": 1.10, "round": 1.16, "bob": 1.12}[face.hair_style]
    t = np.linspace(1, -1, 25)
    line = face.hairline + 0.10 * np.abs(t) ** 2.6
    if face.hair_style in ("parted", "long", "bob"):
        line = line + 0.035 * np.abs(t - face.parting) ** 0.7 - 0.02
    temple = 0.0 if face.hair_style in ("long", "bob") else 0.02
    top = _outline(face, volume)
    top = top[top[:, 1] < face.hairline + 0.12 + temple]
    top = top[np.argsort(top[:, 0])]
    front = mask_of(np.vstack([top, np.column_stack([face.half_width * 0.99 * t, line])]))
    back = np.zeros_like(front)
    if face.hair_style in ("long", "bob"):
        length = 0.46 if face.hair_style == "long" else 0.24
        half = face.half_width * (1.16 if face.hair_style == "long" else 1.22)
        radius = ((X / half) ** 2 + (np.minimum(Y + 0.06, 0) / (face.half_height * 0.92)) ** 2) ** 0.5
        back = soft((radius < 1) * np.clip((length - Y) / 0.03, 0, 1), 1.0)
    elif face.hair_style == "round":
        radius = ((X / (face.half_width * 1.32)) ** 2 + ((Y + 0.12) / (face.half_height * 0.95)) ** 2) ** 0.5
        back = soft((radius < 1).astype(float), 1.2)
    return back, front


def _ear_mask(face: Face) -> np.ndarray:
    if face.hair_style in ("long", "bob"):
        return np.zeros((CANVAS_PX, CANVAS_PX))
    x = np.abs(X) - face.half_width * 0.99
    return soft((((x / 0.026) ** 2 + ((Y - 0.015) / 0.058) ** 2) < 1).astype(float), 0.8)
