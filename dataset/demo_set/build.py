"""Render, forge, encode and label the clips of a demo set. An interrupted build can be resumed."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dataset.demo_set.delivery import deliver, draw_delivery
from dataset.demo_set.forge import FORGERS, Accomplices, Footage, Shot, splice_frames
from dataset.demo_set.performance import make_take
from dataset.demo_set.plan import FORMAT_VERSION, REAL, SPLITS, ClipPlan, DemoSettings, GroupPlan, plan_demo_set
from utils.errors import UsageError, WorkError
from utils.files import atomic_path, write_text_atomic

MANIFEST = "demo_set.json"
UNFINISHED = "demo_set.unfinished.json"
LABEL_FILES = {"trainset": "trainset_label.txt", "valset": "valset_label.txt", "testset": "testset_label.csv"}
LABEL_COLUMNS = ("video_name", "target", "type", "start_s", "end_s", "group")
_HARMLESS = {".gitkeep", ".gitignore", ".DS_Store"}
_FORGE_STREAM, _DELIVERY_STREAM = 2_000_003, 3_000_017


def build_demo_set(output: Path, settings: DemoSettings, workers: int = 1, progress: bool = True) -> bool:
    """Build a demo set in ``output`` unless it is already complete.

    The same settings give the same frames and samples before encoding. With the same libraries and CPU they also give
    the same bytes, for any number of workers. An interrupted run continues where it stopped.

    Args:
        output: The data root, created if missing.
        settings: Number of clips, seed, durations and frame sizes.
        workers: Number of worker processes.
        progress: Show a progress bar on standard error.

    Returns:
        True if any clip was written, False if the set was already complete.

    Raises:
        UsageError: ``output`` contains unrelated files or a set with other settings.
        WorkError: A worker process died.
    """
    if workers < 1:
        raise UsageError(f"the number of workers must be at least 1, not {workers}")
    groups = plan_demo_set(settings)
    record = {"format_version": FORMAT_VERSION, **json.loads(json.dumps(asdict(settings)))}
    finished = _claim(output, record)
    todo = [group for group in groups if _absent(output, group)]
    if finished and not todo:
        return False
    for split in SPLITS:
        (output / split).mkdir(exist_ok=True)
    jobs = [(output, settings, group) for group in todo]
    with tqdm(total=settings.clips, desc="demo set", unit="clip", disable=not progress) as bar:
        bar.update(settings.clips - sum(len(group.clips) for group in todo))
        for made in _run(jobs, workers):
            bar.update(made)
    for split in SPLITS:
        write_text_atomic(output / LABEL_FILES[split], label_table(settings, groups, split))
    write_text_atomic(output / MANIFEST, json.dumps({**record, **_summary(groups)}, indent=2) + "\n")
    (output / UNFINISHED).unlink(missing_ok=True)
    return True


def film_group(
    settings: DemoSettings, group: GroupPlan, clips: Sequence[ClipPlan] | None = None
) -> Iterator[tuple[ClipPlan, Footage]]:
    """Yield the raw footage of the given clips of a group (default: all, the real clip first)."""
    shot, others = _cast(settings, group)
    filmed = shot.film()
    for clip in group.clips if clips is None else clips:
        if clip.type == REAL:
            yield clip, filmed
        else:
            yield clip, FORGERS[clip.type](shot, filmed, others, _forge_rng(settings, clip))


def forged_span(settings: DemoSettings, group: GroupPlan, clip: ClipPlan) -> tuple[float, float] | None:
    """Return the start and end of a spliced span in seconds, or None for clips of any other type."""
    if clip.type != "splice":
        return None
    first, last = splice_frames(group.n_frames, _forge_rng(settings, clip))
    return first / group.fps, last / group.fps


def label_table(settings: DemoSettings, groups: list[GroupPlan], split: str) -> str:
    """Return the text of a split's label file. Rows are sorted by clip name, so the order does not reveal the class."""
    rows = []
    for group in groups:
        for clip in group.clips if group.split == split else ():
            span = forged_span(settings, group, clip) or ("", "")
            start, end = (f"{value:.3f}" if value != "" else "" for value in span)
            rows.append((clip.name, clip.target, clip.type, start, end, group.name))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    writer.writerows(sorted(rows))
    return text.getvalue()


def make_group(output: Path, settings: DemoSettings, group: GroupPlan) -> int:
    """Write the missing clips of a group and return the number of clips in the group."""
    cv2.setNumThreads(1)
    for clip, footage in film_group(settings, group, _absent(output, group)):
        group_rng = np.random.default_rng([settings.seed, group.identity, _DELIVERY_STREAM])
        rng = np.random.default_rng([settings.seed, clip.index, _DELIVERY_STREAM, 1])
        delivery = draw_delivery(group_rng, rng)
        with atomic_path(output / group.split / clip.name) as temporary:
            deliver(temporary, footage, group.fps, delivery, rng)
    return len(group.clips)


def _forge_rng(settings: DemoSettings, clip: ClipPlan) -> np.random.Generator:
    return np.random.default_rng([settings.seed, clip.index, _FORGE_STREAM])


def _cast(settings: DemoSettings, group: GroupPlan) -> tuple[Shot, Accomplices]:
    form = {"n_frames": group.n_frames, "fps": group.fps, "size_px": group.size_px}
    shot = Shot(make_take(settings.seed, group.identity), group.start_s, **form)
    stranger = Shot(make_take(settings.seed, group.donor), group.donor_start_s, **form)
    same_person = Shot(make_take(settings.seed, group.identity, take=1), group.start_s, **form)
    return shot, Accomplices(stranger, same_person)


def _absent(output: Path, group: GroupPlan) -> list[ClipPlan]:
    return [clip for clip in group.clips if not (output / group.split / clip.name).exists()]


def _run(jobs: list[tuple[Path, DemoSettings, GroupPlan]], workers: int) -> Iterator[int]:
    if min(workers, len(jobs)) <= 1:
        yield from (make_group(*job) for job in jobs)
        return
    # Use spawn: forking a process with running threads (from OpenCV, for example) can deadlock.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_parent)
    try:
        for future in as_completed([pool.submit(make_group, *job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool:
        raise WorkError("a worker process was killed, perhaps for lack of memory; run again to continue") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _claim(output: Path, record: dict) -> bool:
    """Claim ``output`` for this set; return True if it already contains a finished set with these settings."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"the output is not a folder: {output}")
    for name in (MANIFEST, UNFINISHED):
        if (output / name).is_file():
            _compare(output / name, record)
            return name == MANIFEST
    foreign = sorted(path.name for path in output.iterdir() if path.name not in _HARMLESS) if output.exists() else []
    if foreign:
        raise UsageError(
            f"{output} contains files that do not belong to a demo set ({foreign[0]}, ...): choose another folder"
        )
    write_text_atomic(output / UNFINISHED, json.dumps(record, indent=2) + "\n")
    return False


def _compare(path: Path, record: dict) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in record if found.get(key) != record[key]]
    except (ValueError, AttributeError):
        raise UsageError(f"{path} is not a valid demo set record; choose another folder or delete this one") from None
    if differing:
        raise UsageError(
            f"{path.parent} contains a demo set with a different {' and '.join(differing)} "
            f"({', '.join(f'{found.get(key)} instead of {record[key]}' for key in differing)}): "
            "choose another folder or delete this one"
        )


def _summary(groups: list[GroupPlan]) -> dict:
    table = [(group.split, clip.type) for group in groups for clip in group.clips]
    return {
        "counts": {split: dict(sorted(Counter(kind for s, kind in table if s == split).items())) for split in SPLITS}
    }
