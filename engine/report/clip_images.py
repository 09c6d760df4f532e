"""Images of the page about one clip, as data URIs: spectrogram, face crops with the localizers' map, frame covariance."""

from __future__ import annotations

import base64

import cv2
import numpy as np

JPEG_QUALITY = 82
FACE_PX = 192

HEAT_FROM, HEAT_TO = 1.5, 4.0
"""Patch logits at which the map becomes visible and at which it is strongest.

They are about the 99th percentile on real clips and the 99.9th percentile on lip-sync fakes.
"""

HEAT_RGB = np.array([255.0, 40.0, 90.0])
MAX_OPACITY = 0.62


def jpeg_uri(rgb: np.ndarray) -> str:
    """Return an image (H, W, 3) uint8 RGB as a JPG in a data URI."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def coloured(grey: np.ndarray, colours: int = cv2.COLORMAP_MAGMA) -> np.ndarray:
    """Return grey levels (H, W) uint8 as colours (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.applyColorMap(grey, colours), cv2.COLOR_BGR2RGB)


def spectrogram_uri(mel: np.ndarray) -> str:
    """Return a mel-spectrogram (M, N) uint8 as an image with high frequencies at the top."""
    return jpeg_uri(coloured(np.ascontiguousarray(mel[::-1])))


def face_uris(image: np.ndarray, heat: np.ndarray | None) -> tuple[str, str]:
    """Return a face (S, S, 3) uint8 RGB, and the same face with the map (28, 28) laid over; empty without a map."""
    face = cv2.resize(image, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    if heat is None:
        return jpeg_uri(face), ""
    strength = np.clip((heat - HEAT_FROM) / (HEAT_TO - HEAT_FROM), 0, 1).astype(np.float32)
    opacity = MAX_OPACITY * cv2.resize(strength, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)[..., None]
    grey = face.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return jpeg_uri(face), jpeg_uri((grey * (1 - opacity) + HEAT_RGB * opacity).round().astype(np.uint8))


def covariance_uri(covariance: np.ndarray) -> str:
    """Return a frame covariance (N, N) as an image; the colours span its 5th to its 95th percentile."""
    low, high = np.percentile(covariance, (5, 95))
    scaled = np.clip((covariance - low) / (high - low if high > low else 1.0), 0, 1)
    return jpeg_uri(coloured((255 * scaled).round().astype(np.uint8), cv2.COLORMAP_CIVIDIS))
