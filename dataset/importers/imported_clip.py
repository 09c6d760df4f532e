"""Clips and notes returned by the metadata readers."""

from __future__ import annotations

from dataclasses import dataclass, field

Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ImportedClip:
    """One clip of a data set. Fields that the metadata does not provide are empty.

    Attributes:
        video_name: path relative to the clip folder, with `/` as separator.
        target: 1 fake, 0 real, None unknown.
        type: forgery type; `real` for a real clip.
        source: common origin of a clip and its forgeries, either the original clip or the recording that it was cut from.
        identity: the person shown.
        spans: forged spans in seconds; () for a clip without any, None if the metadata has no spans.
        modality: which streams are forged: RVRA, RVFA, FVRA or FVFA.
        generator: forgery methods, joined with `+`.
        donor: the person whose face or voice was inserted.
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
    """All clips of a metadata file, with notes for the user.

    Attributes:
        clips: in file order.
        notes: one sentence each.
    """

    clips: list[ImportedClip]
    notes: list[str] = field(default_factory=list)


def modality_of(*, video: bool, audio: bool) -> str:
    """Return RVRA, RVFA, FVRA or FVFA: real (R) or fake (F) video (V) and audio (A)."""
    return f"{'F' if video else 'R'}V{'F' if audio else 'R'}A"
