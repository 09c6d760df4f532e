"""Render a painted head into its scene with pose, shoulders, background and light, as uint8 RGB frames."""

from __future__ import annotations

import cv2
import numpy as np

from dataset.demo_set.canvas import CANVAS_PX
from dataset.demo_set.head import Expression, head_painter
from dataset.demo_set.identity import Scene
from dataset.demo_set.performance import Pose, Take

JAW_DROP = 0.030
_HEAD_SHARE = 0.98


class HeadCamera:
    """Mapping between the canvas of a head and a square frame."""

    def __init__(self, scene: Scene, size_px: int) -> None:
        """Prepare the pixel grid for square frames of ``size_px``."""
        self._scene = scene
        self._size_px = size_px
        row, column = np.mgrid[0:size_px, 0:size_px].astype(np.float32)
        self._column, self._row = (column + 0.5) / size_px, (row + 0.5) / size_px

    def to_frame(self, pose: Pose) -> np.ndarray:
        """Return the (2, 3) affine matrix from canvas to frame pixels, ignoring the distortion by yaw and pitch."""
        scale = self._scale(pose) * self._size_px / CANVAS_PX
        angle = np.deg2rad(pose.roll_deg)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = self._size_px * np.array(self._centre(pose)) - 0.5
        return np.column_stack([turn, centre - turn @ np.full(2, CANVAS_PX / 2 - 0.5)])

    def maps(self, pose: Pose, opening: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the canvas coordinates of each frame pixel: two (H, W) float32 arrays for ``cv2.remap``.

        Yaw and pitch move the middle of the face further than its rim, which looks like a turn of the head. An open
        mouth moves the chin down.
        """
        scale = self._scale(pose)
        angle = np.deg2rad(pose.roll_deg)
        cos, sin = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        x, y = self._centre(pose)
        dx, dy = self._column - np.float32(x), self._row - np.float32(y)
        u, v = cos * dx + sin * dy, cos * dy - sin * dx
        bulge = np.maximum(1 - (u / 0.30) ** 2 - (v / 0.38) ** 2, 0)
        drop = np.clip((v - 0.12) / 0.20, 0, 1)
        u -= np.float32(pose.yaw) * bulge
        v -= np.float32(pose.pitch) * bulge + np.float32(JAW_DROP * opening) * drop * (np.abs(u) < 0.5)
        return (u + 0.5) * CANVAS_PX - 0.5, (v + 0.5) * CANVAS_PX - 0.5

    def view(self, canvas: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Warp a canvas (CANVAS_PX, CANVAS_PX[, C]) into the frame, black outside."""
        return cv2.remap(canvas, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)

    def _scale(self, pose: Pose) -> float:
        return _HEAD_SHARE * self._scene.zoom * pose.zoom

    def _centre(self, pose: Pose) -> tuple[float, float]:
        x, y = self._scene.centre
        return x + pose.x, y + pose.y


class SceneRenderer:
    """Renderer of the frames of a take at one size."""

    def __init__(self, take: Take, size_px: int) -> None:
        """Prepare the layers of a take."""
        self.painter = head_painter(take.face, take.scene)
        self.camera = HeadCamera(take.scene, size_px)
        self._size_px = size_px
        self._background = _background(take.scene, size_px)
        self._body = _body(take, size_px)

    def frame(self, pose: Pose, expression: Expression, gain: np.ndarray) -> np.ndarray:
        """Render one (H, W, 3) uint8 RGB frame, with a light gain per channel, (3,)."""
        shift = self._size_px * 0.5 * np.array([pose.x, pose.y])
        matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        size = (self._size_px, self._size_px)
        body = cv2.warpAffine(self._body, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        image = _composite(self._background, body)
        image = _composite(image, self.head(pose, expression))
        return apply_gain(image, gain)

    def head(self, pose: Pose, expression: Expression) -> np.ndarray:
        """Render the head only, (H, W, 4) uint8: RGB without the light gain, and coverage."""
        maps = self.camera.maps(pose, expression.opening)
        return self.camera.view(self.painter.paint(expression), maps)


def render(take: Take, times_s: np.ndarray, size_px: int) -> list[np.ndarray]:
    """Render the frames of a take at the given times, each (size_px, size_px, 3) uint8 RGB."""
    renderer = SceneRenderer(take, size_px)
    rows = zip(take.poses(times_s), take.expressions(times_s), take.gains(times_s), strict=True)
    return [renderer.frame(pose, expression, gain) for pose, expression, gain in rows]


def apply_gain(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiply each colour channel by its gain and round to uint8."""
    table = np.clip(np.arange(256)[:, None] * gain, 0, 255).round().astype(np.uint8)
    return cv2.LUT(image, table[None])


def _composite(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    weight = above[..., 3].astype(np.float32) * np.float32(1 / 255)
    return cv2.blendLinear(np.ascontiguousarray(above[..., :3]), below, weight, 1 - weight)


def _background(scene: Scene, size_px: int) -> np.ndarray:
    rng = np.random.default_rng(scene.background_seed)
    near, far = (np.array(rgb) for rgb in scene.background_rgb)
    ramp = np.linspace(0, 1, size_px)
    slope = rng.uniform(-0.5, 0.5)
    weight = np.clip(ramp[:, None] * (1 - abs(slope)) + slope * ramp[None] + max(-slope, 0), 0, 1)[..., None]
    image = near * (1 - weight) + far * weight
    unit = size_px / 144
    if scene.background_kind == "shelves":
        for y in range(int(rng.integers(4, 20) * unit), size_px, int(30 * unit)):
            x = 0
            while x < size_px:
                width, height = int(rng.integers(4, 10) * unit), int(rng.integers(14, 24) * unit)
                foot = y + int(26 * unit)
                image[max(0, foot - height) : foot, x : x + width] = far * 0.4 + 0.6 * rng.uniform(40, 190, 3)
                x += width + 1
            image[y + int(26 * unit) : y + int(28 * unit)] = far * 0.5
    elif scene.background_kind == "window":
        left, top = rng.integers(0, size_px // 2), rng.integers(0, size_px // 4)
        pane = image[top : top + size_px // 2, left : left + size_px // 2]
        pane[:] = rng.uniform(180, 245) + rng.uniform(-14, 14, 3)
        pane[size_px // 4 - 2 : size_px // 4 + 2] = far * 0.7
        pane[:, size_px // 4 - 2 : size_px // 4 + 2] = far * 0.7
    elif scene.background_kind == "lights":
        for _ in range(14):
            centre = rng.uniform(0, size_px, 2)
            distance = np.hypot(*(np.mgrid[0:size_px, 0:size_px] - centre[:, None, None]))
            disc = np.clip(rng.uniform(5, 13) * unit - distance, 0, 1)[..., None]
            image = image * (1 - 0.5 * disc) + rng.uniform(120, 255, 3) * 0.5 * disc
    image = cv2.GaussianBlur(image * np.array(scene.light_rgb), (0, 0), 2.4 * unit)
    return np.clip(image, 0, 255).round().astype(np.uint8)


def _body(take: Take, size_px: int) -> np.ndarray:
    """Paint neck, shoulders and clothes at their rest position, (H, W, 4) uint8."""
    face, scene = take.face, take.scene
    y, x = (np.mgrid[0:size_px, 0:size_px] + 0.5) / size_px
    x = (x - scene.centre[0]) / scene.zoom
    y = (y - scene.centre[1]) / scene.zoom
    edge = 1.5 / size_px
    slope = 0.39 + 0.16 * (np.abs(x) / 0.4) ** 2 - 0.03 * np.exp(-((x / 0.16) ** 2))
    torso = np.clip((y - slope) / edge, 0, 1) * np.clip((0.47 - np.abs(x) + 0.15 * (y - 0.4)) / edge, 0, 1)
    neck_half = face.half_width * 0.56 + 0.25 * np.clip(y - 0.33, 0, 1)
    neck = np.clip((neck_half - np.abs(x)) / edge, 0, 1) * np.clip((y - 0.1) / edge, 0, 1)
    neckline = np.clip((0.47 - 1.1 * np.abs(x) - y) / edge, 0, 1)
    lx = scene.light_direction[0]
    shade = 1.0 + scene.light_strength * (0.5 * lx * x / 0.4 - 0.25)
    chin = np.exp(-(((y - face.half_height) / 0.07) ** 2)) * np.exp(-((x / 0.16) ** 2))
    skin = np.array(face.skin_rgb) * (shade * (0.86 - 0.4 * chin))[..., None]
    folds = np.sin(x * 31 + 5 * y) * np.exp(-((y - 0.62) ** 2) / 0.05)
    clothes = np.array(face.clothes_rgb) * (shade * (0.92 + 0.07 * folds))[..., None]
    if face.collar:
        band = np.clip(1 - np.abs(0.50 - 1.1 * np.abs(x) - y) / 0.022, 0, 1)[..., None]
        clothes = clothes * (1 - 0.8 * band) + np.clip(np.array(face.clothes_rgb) * 1.35 + 25, 0, 255) * 0.8 * band
    show_skin = (neck * np.maximum(neckline, 1 - torso))[..., None]
    rgb = (clothes * (1 - show_skin) + skin * show_skin) * np.array(scene.light_rgb)
    alpha = np.maximum(torso, neck)
    return np.dstack([np.clip(rgb, 0, 255), 255 * alpha]).round().astype(np.uint8)
