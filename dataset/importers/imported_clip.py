"""What a reader of official metadata says about a clip."""

from __future__ import annotations

from dataclasses import dataclass, field

Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ImportedClip:
    """One clip of a data set; what its metadata does not tell is empty.

    Attributes:
        video_name: path below the folder of the clips, with `/`.
        target: 1 fake, 0 real, None not told.
        type: kind of forgery, `real` for a real clip.
        source: what the clip and its forgeries have in common: the original clip, or the recording that it was cut from.
        identity: the person who is seen.
        spans: the forged parts in seconds, () for a clip without any; None where the metadata has none.
        modality: which of the two streams is forged: RVRA, RVFA, FVRA or FVFA.
        generator: the forging programs, joined with `+`.
        donor: the person whose face or voice was put in.
        split: the official split: train, val or test.
    """

    video_name: str
    target: int | None
    type: str = ""
    source: str = ""
    identity: str = ""
    spans: Spans | None = None
    modality: str = ""
    generator: str = ""
    donor: str = ""
    split: str = ""


@dataclass
class Imported:
    """All clips of a metadata file, and what a user should know of them.

    Attributes:
        clips: in the file's order.
        notes: one sentence each.
    """

    clips: list[ImportedClip]
    notes: list[str] = field(default_factory=list)


def modality_of(*, video: bool, audio: bool) -> str:
    """RVRA, RVFA, FVRA or FVFA for a clip whose video and audio are forged or not."""
    return f"{'F' if video else 'R'}V{'F' if audio else 'R'}A"
