"""One decoding pass over a clip for its evidence. It runs in a worker process, like the pass for its score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from engine.evidence.container import file_facts
from engine.evidence.types import AudioView, CovarianceView, FileFacts
from engine.timeline.faces import best_match, path_overlap
from engine.timeline.types import FaceTrack
from utils.features.clip import ClipFacts, FacePath, failed
from utils.features.config import FeatureConfig
from utils.features.covariance import block_mean_covariance, frame_covariance_row_sums, select_frames
from utils.features.extract import facts_of, open_stream
from utils.features.face.crops import FaceCrops
from utils.features.face.features import PAIRS, halved, mouth_series
from utils.features.face.tracker import Track
from utils.features.face.window import WINDOW_FRAMES, FaceWindow, clip_faces
from utils.features.mel import FLOOR_DB, MelSpectrogram, decode_image, encode_image, mel_image
from utils.features.resampling import MonoResampler
from utils.features.waveform import Pcm, PcmBuffer
from utils.features.windows import ASSUMED_FPS, frame_time_s
from utils.media.arrays import ClipArrays
from utils.media.decode import StreamFacts
from utils.media.errors import MediaError
from utils.progress_file import ProgressFile

COLUMNS = 1200
"""Maximum number of columns of the waveform and the spectrogram."""

BLOCK_SAMPLES = 256
"""The waveform is reduced to minimum and maximum over blocks of this length while it is decoded."""

COVARIANCE_PX = 256


@dataclass(frozen=True)
class ReadingTask:
    """Task of reading one clip for its evidence.

    Attributes:
        clip: a file, or the arrays of a decoded clip.
        config: settings of the detector's features.
        max_frames: number of frames after which decoding stops; `None` for all.
        focus_s: time around which the face is tracked; `None` for the middle.
        face: the face to show of a clip with several; `None` for the most prominent one.
        progress_path: file for the progress of the pass; see `ProgressFile`.
    """

    clip: Path | ClipArrays
    config: FeatureConfig
    max_frames: int | None = None
    focus_s: float | None = None
    face: FaceTrack | None = None
    progress_path: Path | None = None


@dataclass(frozen=True, eq=False)
class FaceReading:
    """The tracked face of a clip.

    Attributes:
        pairs: (P, 2, 112, 112, 3) uint8 RGB, the pairs of consecutive frames that the face expert compares.
        images: (P, 224, 224, 3) uint8 RGB, the first frame of each pair.
        times_s: (P,) float64, their presentation times.
        mouth: (T, 24, 28) uint8 grey levels at 25 frames per second, from `start_s`.
        start_s: start of the track.
        end_s: time of its last frame.
        eye_px: distance between the eyes, in pixels of the clip.
        found: share of the detection frames in which the face was found.
        number: its number in `Score.faces` of a clip with several; `None` for the most prominent face.
    """

    pairs: np.ndarray
    images: np.ndarray
    times_s: np.ndarray
    mouth: np.ndarray
    start_s: float
    end_s: float
    eye_px: float
    found: float
    number: int | None = None


@dataclass(frozen=True, eq=False)
class ClipReading:
    """Content of a clip for its evidence; absent parts are `None`.

    Attributes:
        facts: facts from the decoder.
        notes: sentences of the decoder about the file, for example on skipped tracks.
        file: facts about the file.
        audio: waveform and spectrogram for the page.
        mel: (H, W) uint8, the mel-spectrogram image as a network reads it.
        pcm: the waveform.
        audio_start_s: time of its first sample.
        face: the tracked face.
        covariance: the frame covariance.
    """

    facts: ClipFacts
    notes: tuple[str, ...] = ()
    file: FileFacts | None = None
    audio: AudioView | None = None
    mel: np.ndarray | None = None
    pcm: Pcm | None = None
    audio_start_s: float = 0.0
    face: FaceReading | None = None
    covariance: CovarianceView | None = None


def read_clip(task: ReadingTask) -> ClipReading:
    """Read a clip for its evidence. An unreadable clip has the status `failed` and no parts."""
    facts = None if isinstance(task.clip, ClipArrays) else file_facts(task.clip)
    try:
        return _Reader(task, facts).read()
    except MediaError as error:
        return ClipReading(failed(error.reason).facts, file=facts)
    except MemoryError:
        return ClipReading(failed("crashed").facts, file=facts)


@dataclass
class _Envelope:
    """Minimum and maximum of a waveform over blocks of `BLOCK_SAMPLES`."""

    low: list[np.ndarray] = field(default_factory=list)
    high: list[np.ndarray] = field(default_factory=list)
    rest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    n_samples: int = 0

    def add(self, samples: np.ndarray) -> None:
        self.n_samples += len(samples)
        samples = np.concatenate([self.rest, samples])
        whole = len(samples) - len(samples) % BLOCK_SAMPLES
        self._reduce(samples[:whole])
        self.rest = samples[whole:]

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return minimum and maximum of at most `COLUMNS` columns."""
        if len(self.rest):
            self._reduce(np.pad(self.rest, (0, BLOCK_SAMPLES - len(self.rest)), mode="edge"))
        low, high = np.concatenate(self.low), np.concatenate(self.high)
        starts = np.unique(np.linspace(0, len(low), min(COLUMNS, len(low)), endpoint=False).astype(int))
        return np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)

    def _reduce(self, samples: np.ndarray) -> None:
        blocks = samples.reshape(-1, BLOCK_SAMPLES)
        self.low.append(blocks.min(axis=1))
        self.high.append(blocks.max(axis=1))


class _Reader:
    """The pass over one clip."""

    def __init__(self, task: ReadingTask, file: FileFacts | None) -> None:
        # Imported here because the module loads a compiler (50 MB) that only decoding processes need.
        from utils.features.histogram import HistogramRows

        self._task, self._file = task, file
        self._stream = open_stream(task.clip, task.max_frames, count_undeclared=True)
        self._faces: FaceWindow | None = None
        if task.focus_s is None:
            self._faces = FaceWindow(self._stream.facts, max_frames=task.max_frames, others=task.face is not None)
        self._histograms = HistogramRows()
        self._spectrogram = MelSpectrogram(task.config.audio)
        self._pcm = PcmBuffer(task.config.audio.sample_rate_hz)
        self._envelope = _Envelope()

    def read(self) -> ClipReading:
        """Decode the clip.

        Raises:
            MediaError: it cannot be read.
        """
        facts, rate_hz = self._stream.facts, self._task.config.audio.sample_rate_hz
        resampler = MonoResampler(rate_hz, facts, match_clip=False)
        progress = ProgressFile(self._task.progress_path, lambda: facts.declared_s)
        for item in self._stream:
            if isinstance(item, np.ndarray):
                self._histograms.add(item)
                self._track(item)
                progress.at(frame_time_s(facts))
            else:
                for samples in resampler.feed(item):
                    self._add(samples)
        for samples in resampler.finish():
            self._add(samples)
        if not facts.n_frames and not facts.n_samples:
            raise MediaError("unreadable", "nothing could be decoded")
        pcm = self._pcm.pcm()
        start_s = float(facts.audio_start_s or 0.0)
        power = self._spectrogram.power() if facts.n_samples else None
        return ClipReading(
            facts=facts_of(facts, silent=bool(facts.n_samples) and not pcm.samples.any()),
            notes=tuple(facts.notes),
            file=self._file,
            audio=None if power is None else self._audio(power, start_s, rate_hz),
            mel=None if power is None else self._mel_input(power),
            pcm=pcm if len(pcm.samples) else None,
            audio_start_s=start_s,
            face=self._face(facts),
            covariance=self._covariance(facts),
        )

    def _track(self, frame: np.ndarray) -> None:
        facts = self._stream.facts
        if self._faces is None and self._task.focus_s is not None:
            if frame_time_s(facts) < self._task.focus_s - WINDOW_FRAMES / 2 / (facts.fps or ASSUMED_FPS):
                return
            self._faces = FaceWindow(facts, first=facts.n_frames - 1, others=self._task.face is not None)
        if self._faces is not None:
            self._faces.add(frame)

    def _add(self, samples: np.ndarray) -> None:
        self._spectrogram.feed(samples)
        self._pcm.add(samples)
        self._envelope.add(samples)

    def _audio(self, power: np.ndarray, start_s: float, rate_hz: int) -> AudioView:
        low, high = self._envelope.columns()
        end_s = start_s + self._envelope.n_samples / rate_hz
        return AudioView(start_s, end_s, low, high, spectrogram_levels(power), rate_hz / 2)

    def _mel_input(self, power: np.ndarray) -> np.ndarray | None:
        """Return the image that a network reads; call this last, since it overwrites `power`."""
        config = self._task.config.audio
        return decode_image(encode_image(mel_image(power, config.image_size_px), config.jpeg_quality))

    def _face(self, facts: StreamFacts) -> FaceReading | None:
        if self._faces is None:
            return None
        requested = None if self._task.face is None else requested_track(self._faces, self._task.face)
        if requested is not None and self._task.face is not None:
            return replace(face_reading(requested.crops(self._faces.found)), number=self._task.face.number)
        crops = self._faces.crops()
        if self._faces.misplaced and self._task.focus_s is None and isinstance(self._task.clip, Path):
            crops = clip_faces(self._task.clip, max_frames=self._task.max_frames, n_frames=facts.n_frames)
        return None if crops is None else face_reading(crops)

    def _covariance(self, facts: StreamFacts) -> CovarianceView | None:
        histograms = self._histograms.array()
        if len(histograms) < 2:
            return None
        row_sums = frame_covariance_row_sums(histograms)
        selected = select_frames(row_sums, self._task.config.video.top_k)
        return CovarianceView(block_mean_covariance(histograms, COVARIANCE_PX), row_sums, selected, facts.fps)


def requested_track(faces: FaceWindow, face: FaceTrack) -> Track | None:
    """Return the track of a window that overlaps most with a face of the score; `None` if none does."""
    best = faces.track()
    if best is None:
        return None
    place = FacePath(face.times_s, face.boxes)
    tracks = [best, *faces.other_tracks()]
    match = best_match([path_overlap(FacePath(*track.path()), place) for track in tracks])
    return None if match is None else tracks[match]


def face_reading(face: FaceCrops) -> FaceReading:
    """Return the parts of a tracked face that the evidence needs. The pairs are those of `face_features`."""
    first = np.round(np.linspace(0, len(face.crops) - 2, PAIRS)).astype(int)
    needed = {number: halved(face.crops[number]) for number in np.union1d(first, first + 1)}
    return FaceReading(
        pairs=np.stack([np.stack([needed[number], needed[number + 1]]) for number in first]),
        images=face.crops[first],
        times_s=face.times_s[first],
        mouth=mouth_series(face.crops, face.times_s),
        start_s=float(face.times_s[0]),
        end_s=float(face.times_s[-1]),
        eye_px=face.eye_px,
        found=face.found,
    )


def spectrogram_levels(power: np.ndarray) -> np.ndarray:
    """Return a power mel-spectrogram (M, T) as decibels from `-FLOOR_DB` to the loudest cell, (M, N) uint8, N <= `COLUMNS`."""
    if power.shape[1] > COLUMNS:
        power = cv2.resize(power, (COLUMNS, power.shape[0]), interpolation=cv2.INTER_AREA)
    loudest = float(power.max(initial=0.0))
    if loudest <= 0:
        return np.zeros(power.shape, np.uint8)
    level_db = 10 * np.log10(np.maximum(power / loudest, 10 ** (-FLOOR_DB / 10)))
    return ((level_db / FLOOR_DB + 1) * 255).round().astype(np.uint8)
