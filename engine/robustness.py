"""The robustness suite: every clip is degraded by every family and severity and scored by the common scoring function.

Each score is cached under the hashes of checkpoint, clip and degradation as soon as it is computed. An interrupted run can thus
be resumed, and a later run with more families or clips computes only the missing scores.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import pandas as pd
from tqdm import tqdm

from dataset.config import ExtractionConfig
from dataset.degradations import Degradation, degrade_clip, find_family
from dataset.workers import run_in_workers, worker_count
from engine.detector import Detector
from engine.provenance import git_state, package_versions, table_fingerprint
from engine.score_files import ScoringOptions, score_table
from utils.errors import UsageError, WorkError
from utils.files import file_sha256, writing
from utils.media.errors import MediaError

CHUNK_CLIPS = 128
CHUNK_BYTES = 1 << 30
"""Score in chunks of at most this many degraded clips, or this many bytes of them on disk."""

TRANSIENT = frozenset({"missing_file", "timeout", "crashed", "write_failed"})
"""Transient reason codes, which another run may not give; rows with them are not cached."""

SCRATCH = ".scratch-"


@dataclass(frozen=True)
class Job:
    """One clip to degrade and score.

    Attributes:
        path: the clip.
        clip_sha: hash of its bytes.
        family: name of the family.
        severity: 0 for a baseline, else 1 to 5.
    """

    path: Path
    clip_sha: str
    family: str
    severity: int

    @property
    def degradation(self) -> Degradation:
        """The family at this severity."""
        return Degradation(find_family(self.family), self.severity)

    @property
    def seed(self) -> int:
        """The random seed, the same for all severities of a family, so that they differ in strength only."""
        return int.from_bytes(hashlib.sha256(f"{self.clip_sha} {self.family}".encode()).digest()[:8], "big")


@dataclass(frozen=True)
class Degraded:
    """The result of a job: the file to score, or `None` and the reason code."""

    job: Job
    path: Path | None
    reason: str = ""


class ScoreCache:
    """Finished rows by job, in a JSON Lines file. A line that was cut short by a kill is ignored."""

    def __init__(self, path: Path, checkpoint_sha: str) -> None:
        """Read the rows cached so far; keys include the hash of the checkpoint."""
        self._path = path
        self._checkpoint_sha = checkpoint_sha
        self._rows: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._rows[entry["key"]] = entry["row"]
                except (ValueError, KeyError, TypeError):
                    continue

    def key(self, job: Job) -> str:
        """Return the hash of checkpoint, clip, degradation and the version of the encoding library."""
        parts = (self._checkpoint_sha, job.clip_sha, job.degradation.identity, av.__version__)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def get(self, job: Job) -> dict[str, Any] | None:
        """Return the job's row, or `None` if it has not been scored."""
        return self._rows.get(self.key(job))

    def add(self, rows: Iterable[tuple[Job, dict[str, Any]]]) -> None:
        """Add finished jobs. Rows with a transient reason are kept in memory only.

        Raises:
            WriteError: the cache file cannot be written.
        """
        lines = []
        for job, row in rows:
            self._rows[self.key(job)] = row
            if not TRANSIENT.intersection(row["reason"].split("+")):
                lines.append(json.dumps({"key": self.key(job), "row": row}) + "\n")
        with writing(self._path), open(self._path, "a", encoding="utf-8") as stream:
            # A leading newline terminates a line that a kill may have cut short.
            stream.write("\n" + "".join(lines))
            stream.flush()
            os.fsync(stream.fileno())


@dataclass(frozen=True)
class Suite:
    """A checkpoint, labelled clips, and the degradations to test.

    Attributes:
        checkpoint: path of the checkpoint.
        labels: `video_name`, `target` (0 or 1) and further columns, one row per clip.
        video_dir: the folder that clip names are relative to.
        plan: the degradations, including `none`.
        output: folder of the cache and of scratch files; it must not be used by two runs at once.
        options: number of worker processes, batch size, progress bar.
        device: see `Detector.load`.
    """

    checkpoint: Path
    labels: pd.DataFrame
    video_dir: Path
    plan: list[Degradation]
    output: Path
    options: ScoringOptions
    device: str = "auto"

    def run(self) -> dict[Degradation, pd.DataFrame]:
        """Degrade and score the clips that are not cached, and return the scores of each degradation.

        Returns:
            For each degradation a table with one row per clip, in label order: the label columns, `score, logit,
            verdict, threshold, status, reason` and the evidence columns.

        Raises:
            UsageError: the checkpoint cannot be used, none of the clips exists, or the output is not a folder.
            WorkError: the disk is full.
        """
        detector = Detector.load(self.checkpoint, self.device)
        paths = [self.video_dir / name for name in self.labels["video_name"]]
        shas = [file_sha256(path) if path.is_file() else None for path in paths]
        if not any(shas):
            raise UsageError(f"--video_dir {self.video_dir} contains none of the {len(paths)} labelled clips")
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {self.output} cannot be created: {error.strerror}") from None
        cache = ScoreCache(self.output / "cache.jsonl", file_sha256(self.checkpoint))
        cells = {
            degradation: [
                Job(path, sha, degradation.family.name, degradation.severity) if sha else None
                for path, sha in zip(paths, shas, strict=True)
            ]
            for degradation in self.plan
        }
        jobs = (job for cell in cells.values() for job in cell if job)
        self._score(deque({cache.key(job): job for job in jobs if cache.get(job) is None}.values()), detector, cache)
        missing = unscored(detector, "missing_file")
        return {
            degradation: self._table([cache.get(job) if job else missing for job in cell])
            for degradation, cell in cells.items()
        }

    def _table(self, rows: list[dict[str, Any] | None]) -> pd.DataFrame:
        scores = pd.DataFrame(rows, index=self.labels.index).astype({"score": float, "logit": float})
        return pd.concat([self.labels.drop(columns=scores.columns, errors="ignore"), scores], axis=1)

    def provenance(self) -> dict[str, Any]:
        """Return the provenance of the figures: commit, versions, checkpoint, clips."""
        return {
            "checkpoint": str(self.checkpoint),
            "checkpoint_sha256": file_sha256(self.checkpoint),
            "clips": len(self.labels),
            "data_fingerprint": table_fingerprint(self.labels),
            **git_state(),
            "versions": package_versions(),
        }

    def _score(self, waiting: deque[Job], detector: Detector, cache: ScoreCache) -> None:
        """Degrade and score in chunks, of which one is on disk at a time; a kill loses at most one chunk."""
        progress = tqdm(total=len(waiting), unit="clip", disable=self.options.quiet, dynamic_ncols=True)
        with progress, scratch_folder(self.output) as scratch:
            while waiting:
                progress.set_description(f"{waiting[0].family}-{waiting[0].severity}")
                chunk = []
                for degraded in self._degrade(waiting, scratch, detector):
                    chunk.append(degraded)
                    progress.update()
                cache.add(score_degraded(chunk, detector, self.options))
                for path in scratch.iterdir():
                    path.unlink()

    def _degrade(self, waiting: deque[Job], scratch: Path, detector: Detector) -> Iterator[Degraded]:
        """Degrade jobs from the left of `waiting` until the chunk is full."""
        limits = ExtractionConfig.model_validate(detector.checkpoint.run_config.get("extraction", {}))
        used_bytes = 0

        def tasks() -> Iterator[tuple[Job, Path]]:
            for number in range(CHUNK_CLIPS):
                if not waiting or used_bytes >= CHUNK_BYTES:
                    return
                yield waiting.popleft(), scratch / str(number)

        workers = worker_count(self.options.workers, len(waiting))
        limited: dict[str, Any] = {"timeout_s": limits.timeout_s, "memory_gb": limits.memory_gb}
        for (job, _), degraded, reason in run_in_workers(degrade_in_worker, tasks(), workers=workers, **limited):
            degraded = degraded or Degraded(job, None, reason)
            if degraded.reason == "write_failed":
                raise WorkError(f"the degraded clips cannot be written below {self.output}: is the disk full?")
            if degraded.path is not None and degraded.path != job.path:
                used_bytes += degraded.path.stat().st_size
            yield degraded


def degrade_in_worker(task: tuple[Job, Path]) -> Degraded:
    """Write a job's degraded clip; an identity degradation uses the clip itself."""
    job, output = task
    if job.degradation.change.is_identity:
        return Degraded(job, job.path)
    try:
        return Degraded(job, degrade_clip(job.path, output, job.degradation, seed=job.seed))
    except MediaError as error:
        return Degraded(job, None, error.reason)
    except OSError:
        return Degraded(job, None, "write_failed")
    except MemoryError:
        return Degraded(job, None, "crashed")


def score_degraded(
    chunk: list[Degraded], detector: Detector, options: ScoringOptions
) -> list[tuple[Job, dict[str, Any]]]:
    """Score the files of a chunk. A job without a file gets an unscored row."""
    rows = [(degraded.job, unscored(detector, degraded.reason)) for degraded in chunk if degraded.path is None]
    there = [(degraded.job, degraded.path) for degraded in chunk if degraded.path is not None]
    if there:
        paths = [path for _, path in there]
        table = score_table(detector, paths, replace(options, quiet=True)).drop(columns="video")
        records = table.astype(object).where(table.notna(), None)
        rows += [
            (job, {str(name): cell for name, cell in row.items()})
            for (job, _), (_, row) in zip(there, records.iterrows(), strict=True)
        ]
    return rows


def unscored(detector: Detector, reason: str) -> dict[str, Any]:
    """Return the row of a clip that has no file to score."""
    columns = {
        "score": None,
        "logit": None,
        "verdict": "unscored",
        "threshold": detector.checkpoint.calibration.threshold,
    }
    return {**columns, "status": "failed", "reason": reason}


@contextmanager
def scratch_folder(output: Path) -> Iterator[Path]:
    """Create a folder for degraded clips and remove it afterwards. Folders of killed runs are removed first."""
    for stale in output.glob(f"{SCRATCH}*"):
        if not is_running(stale.name.removeprefix(SCRATCH)):
            shutil.rmtree(stale, ignore_errors=True)
    scratch = output / f"{SCRATCH}{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_running(process_id: str) -> bool:
    """Return whether a process with this ID is running; true if that cannot be determined."""
    if os.name != "posix":
        return True
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return True
