"""A labelled set from real clips alone: each with its own sound and with a forged one, post-processed alike."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.degradations.families import MATROSKA
from dataset.degradations.streams import ContainerRefusedError, Track, multiplex
from dataset.pseudo_fakes.edits import shift, splice, swap
from dataset.pseudo_fakes.post_process import post_process
from dataset.pseudo_fakes.voice import VOICE_FAKES
from utils.errors import WorkError
from utils.features.config import FeatureConfig
from utils.features.extract import clip_voice
from utils.features.voice import VOICE_RATE_HZ
from utils.files import atomic_path, write_text_atomic
from utils.media.errors import MediaError
from utils.media.writer import write_clip

log = logging.getLogger(__name__)

REAL, SWAPPED, SHIFTED, SPLICED = "real", "audio_swapped", "audio_shifted", "audio_spliced"
TYPES = (*VOICE_FAKES, SWAPPED, SHIFTED, SPLICED)
CLIPS, LABELS = "trainset", "trainset_label.txt"
AAC_BIT_RATE = 96_000
SHORTEST_S = 1.0


@dataclass(frozen=True)
class Forgery:
    """A sound to go with a clip's pictures.

    Attributes:
        waveform: (S,) float32 at 16 kHz.
        start_s: where what is forged begins; empty text for a real clip.
        end_s: where it ends.
    """

    waveform: np.ndarray
    start_s: float | str = ""
    end_s: float | str = ""


def build_pseudo_fakes(paths: list[Path], output: Path, *, seed: int = 0, fakes_per_clip: int = 1) -> pd.DataFrame:
    """Write the set: pictures copied packet by packet, sound at 16 kHz; the types take turns over the clips.

    Args:
        paths: real clips; one without sound, or that cannot be read, is left out with a line in the log.
        output: a data root to be: gets `trainset/` and `trainset_label.txt`.
        seed: same clips and seed, same forgeries.
        fakes_per_clip: forged copies of each clip.

    Returns:
        The label table: `video_name,target,type,start_s,end_s,group`, the group being the original.

    Raises:
        WorkError: fewer than two clips can be used.
    """
    voices = {path: voice for path in paths if (voice := usable_voice(path)) is not None}
    if len(voices) < 2:
        raise WorkError(f"{len(voices)} of {len(paths)} clips have a second of sound; two are needed to make fakes of")
    rows = []
    originals = list(voices)
    turn = 0
    for number, path in enumerate(originals):
        other = voices[originals[(number + 1) % len(originals)]]
        group = f"{number:05d}_{path.stem}"
        for kind in [REAL, *(TYPES[(turn + step) % len(TYPES)] for step in range(fakes_per_clip))]:
            digest = hashlib.sha256(f"{path.name} {kind}".encode()).digest()
            rng = np.random.default_rng((seed, number, int.from_bytes(digest[:8], "big")))
            forgery = forge(kind, voices[path], other, rng)
            name = f"{group}__{kind}{MATROSKA.suffix}"
            try:
                write_with_sound(path, post_process(forgery.waveform, rng), output / CLIPS / name)
            except (MediaError, ContainerRefusedError) as error:
                log.warning("%s is left out: %s", path, error)
                break
            span = (forgery.start_s, forgery.end_s)
            rows.append((name, int(kind != REAL), "" if kind == REAL else kind, *span, group))
        turn += fakes_per_clip
    table = pd.DataFrame(rows, columns=["video_name", "target", "type", "start_s", "end_s", "group"])
    write_text_atomic(output / LABELS, table.to_csv(index=False))
    return table


def usable_voice(path: Path) -> np.ndarray | None:
    """A clip's sound at 16 kHz, (S,) float32; `None`, with a line in the log, when it has less than a second."""
    try:
        voice = clip_voice(path, FeatureConfig(), trim=False)
    except MediaError as error:
        log.warning("%s is left out: %s", path, error)
        return None
    if len(voice) < SHORTEST_S * VOICE_RATE_HZ or not voice.any():
        log.warning("%s is left out: less than a second of sound", path)
        return None
    return voice


def forge(kind: str, voice: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Forgery:
    """A clip's sound as `kind`, one of `TYPES` or `real`.

    Args:
        kind: what to make of it.
        voice: (S,) float32 at 16 kHz.
        other: the sound of another recording, for swaps and splices.
        rng: all chance.
    """
    whole = (0.0, round(len(voice) / VOICE_RATE_HZ, 3))
    if kind == REAL:
        return Forgery(voice)
    if kind == SWAPPED:
        return Forgery(swap(voice, other), *whole)
    if kind == SHIFTED:
        return Forgery(shift(voice, rng)[0], *whole)
    if kind == SPLICED:
        spliced, (start_s, end_s) = splice(voice, other, rng)
        return Forgery(spliced, round(start_s, 3), round(end_s, 3))
    return Forgery(VOICE_FAKES[kind](voice, rng), *whole)


def write_with_sound(video: Path, waveform: np.ndarray, output: Path) -> None:
    """The pictures of a clip as they are, with another sound."""
    loudest = max(1.0, float(np.abs(waveform).max()))
    with tempfile.TemporaryDirectory() as scratch, atomic_path(output) as temporary:
        sound = Path(scratch) / "sound.mka"
        write_clip(sound, None, waveform=waveform / loudest, sample_rate_hz=VOICE_RATE_HZ, audio_bit_rate=AAC_BIT_RATE)
        multiplex(temporary, [Track(video, "video"), Track(sound, "audio")], MATROSKA)
