"""Pages about single clips in the folder of a screening report."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.evidence.explain import explain_many
from engine.report.clip_page import clip_page
from utils.files import write_text_atomic

if TYPE_CHECKING:
    from engine.detector import Detector, Score
    from engine.scoring_progress import Report

FOLDER = "clips"
"""Folder of the pages, next to the screening report."""

MAX_STEM_CHARS = 60
DIGEST_CHARS = 10


def page_name(video: str) -> str:
    """Return the file name of a clip's page: letters and digits of its stem, and a hash of its path, which makes it unique."""
    digest = hashlib.sha256(video.encode("utf-8", "surrogateescape")).hexdigest()[:DIGEST_CHARS]
    stem = re.split(r"[\\/]", video.rstrip("/"))[-1].rpartition(".")[0] or "clip"
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()[:MAX_STEM_CHARS] or "clip"
    return f"{slug}-{digest}.html"


def page_link(report: Path, video: str) -> str:
    """Return the address of a clip's page relative to the screening report; empty if there is none."""
    name = page_name(video)
    return f"{FOLDER}/{name}" if (report.parent / FOLDER / name).is_file() else ""


def write_clip_pages(
    detector: Detector,
    scores: Iterable[Score],
    report: Path,
    *,
    limit: int,
    workers: int | None,
    progress: Report | None = None,
) -> Iterator[Score]:
    """Write the pages of the first clips of a stream of scores, and yield every score.

    A page is written when its evidence is ready, usually a few clips after the score.

    Args:
        detector: the detector.
        scores: scores of clips that are files.
        report: the screening report.
        limit: maximum number of pages.
        workers: number of decoding processes; see `explain_many`.
        progress: receives the progress of decoding long clips again, from another thread.

    Raises:
        WriteError: a page cannot be written.
    """
    iterator = iter(scores)
    passed: deque[Score] = deque()

    def explained() -> Iterator[tuple[Path, Score]]:
        count = 0
        while count < limit:
            score = next(iterator, None)
            if score is None:
                return
            count += 1
            passed.append(score)
            yield Path(score.video), score

    for evidence in explain_many(detector, explained(), workers=workers, report=progress):
        write_text_atomic(report.parent / FOLDER / page_name(evidence.score.video), clip_page(evidence))
        yield passed.popleft()
    yield from iterator
