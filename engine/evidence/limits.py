"""Parts of a clip that were not examined, as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from engine.detector import Score
from engine.evidence.reading import ClipReading
from engine.report.times import clock
from engine.report.wording import expert_label
from utils.features.waveform import LONGEST_PCM_S
from utils.features.windows import CLIP_WINDOW_S, SINGLE_S

DURATION_ERROR_S = 0.5
"""Deviation of a declared duration that is not worth a sentence: containers round it, and codecs pad the audio."""

MISSING = {
    "encrypted": "The video or the audio is encrypted. Encrypted parts were not examined.",
    "no_video": "The clip has no video. Only its audio was examined.",
    "no_audio": "The clip has no audio. Only its video was examined.",
    "silent": "The audio track is silent. Only the video was examined.",
    "too_short": "The clip has less than one second of sound. The voice was not examined for synthetic speech.",
    "too_quiet": "The speech is too quiet. The voice was not examined for synthetic speech.",
    "one_frame": "The video has a single frame, so motion was not examined.",
    "truncated": "The file is damaged or ends early. Only the part that could be decoded was examined.",
    "too_long": "The video exceeds the limit on frames. Only its first part was examined.",
}
"""Reason code -> sentence."""

ALWAYS = (
    "The kind of sound: music, noise and several speakers at once are scored as if they were one voice.",
    "The identity of the people: no face or voice was compared with a known person.",
    "The content: whether statements are true, and whether scenes were cut out or put in another order.",
    "The source: no search for other copies of the clip, its upload history or its author.",
)
"""Limits of every clip."""


def not_examined(score: Score, reading: ClipReading | None) -> Iterator[str]:
    """Yield the parts that were not examined, the specific ones first.

    Args:
        score: the score of the clip.
        reading: its content; `None` if it could not be read.
    """
    for code in score.reason.split("+"):
        if code in MISSING:
            yield MISSING[code]
    if score.score is not None:
        for name, value in score.evidence.items():
            if value is None:
                yield f"{expert_label(name)}: this expert could not score the clip and contributed nothing."
    if reading is not None and reading.facts.status != "failed":
        yield from _parts(score, reading)
    yield from ALWAYS


def _parts(score: Score, reading: ClipReading) -> Iterator[str]:
    facts, face = reading.facts, reading.face
    if facts.n_frames and face is None:
        yield "No face was found where it was searched for. Bodies, hands, objects and background are not examined."
    elif face is not None:
        shown = "the most prominent one" if face.number is None else f"face {face.number}"
        yield (
            f"Faces outside {clock(face.start_s)} to {clock(face.end_s)}, and other faces than {shown}, are not "
            "shown on this page. Bodies, hands, objects and background were not examined."
        )
    if facts.duration_s > SINGLE_S:
        yield (
            "This page shows face and speech of one part of a long clip only. The score covers all of it, in windows "
            f"of {CLIP_WINDOW_S:.0f} s."
        )
    if facts.has_audio and facts.duration_s > LONGEST_PCM_S + DURATION_ERROR_S:
        yield f"Audio after the first {LONGEST_PCM_S // 60} minutes."
    if reading.file is not None:
        skipped = [title for title in reading.file.streams if title.endswith("not examined)")]
        if skipped:
            yield f"Further streams of the file: {', '.join(skipped)}."
    for note in reading.notes:
        yield note[0].upper() + note[1:] + "."
