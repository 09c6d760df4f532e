"""Reimplementation of the published feature extraction, for comparison. Clips are processed one after the other.

OpenCV reads every frame, converts it to RGB and computes a histogram per channel. The covariance between histogram bins
is sorted, cropped, scaled and stored as float64. moviepy decodes the audio separately into a WAV file. librosa reads
that file, and its mel-spectrogram is stored as a JPG.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import librosa
import numpy as np
from moviepy import VideoFileClip

TOP_K = 128
IMAGE_SIZE_PX = 256
N_MELS = 128


def video_feature(path: Path, target: Path) -> None:
    """Compute the covariance of all frame histograms as published and write it to `target` (.npy)."""
    capture = cv2.VideoCapture(str(path))
    histograms = []
    while True:
        success, frame = capture.read()
        if not success:
            break
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        channels = [cv2.calcHist([frame], [channel], None, [256], [0, 256]) for channel in range(3)]
        histograms.append(np.sum(channels, axis=0).flatten())
    capture.release()
    covariance = np.cov(np.array(histograms), rowvar=False)
    order = np.argsort(covariance.sum(axis=1))[:TOP_K]
    cropped = covariance[order][:, order]
    np.save(target, (cropped - cropped.min()) / (cropped.max() - cropped.min()))


def audio_feature(path: Path, wav: Path, target: Path) -> None:
    """Extract the clip's audio to `wav` and write its mel-spectrogram image to `target` (.jpg)."""
    with VideoFileClip(str(path)) as clip:
        clip.audio.write_audiofile(str(wav), logger=None)
    samples, rate_hz = librosa.load(str(wav))
    power = librosa.feature.melspectrogram(y=samples, sr=rate_hz, n_mels=N_MELS)
    level_db = librosa.power_to_db(power, ref=np.max)
    grey = cv2.normalize(level_db, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    cv2.imwrite(str(target), cv2.resize(grey, (IMAGE_SIZE_PX, IMAGE_SIZE_PX), interpolation=cv2.INTER_LINEAR))


def extract(path: Path, folder: Path) -> tuple[Path, Path]:
    """Extract both features of a clip and return the paths of the matrix and of the image."""
    matrix, image = folder / f"{path.name}.npy", folder / f"{path.name}.jpg"
    video_feature(path, matrix)
    audio_feature(path, folder / "extracted_audio.wav", image)
    return matrix, image
