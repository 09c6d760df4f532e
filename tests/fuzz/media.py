"""Mutated clips, scored or extracted by the commands in a process of their own, and the promises that are checked."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from engine.checkpoint import load_checkpoint
from engine.load import default_checkpoint
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.results import Results, Row
from tests.fuzz.watch import Observed, run_watched, snapshot
from utils.media.errors import REASONS

REPOSITORY = Path(__file__).resolve().parents[2]
STATUSES = ("ok", "partial", "failed")
EXTRACT_EVERY = 4
"""One folder in so many is extracted to features instead of scored."""

WRONG_SUFFIXES = (".mp4", ".mkv", ".avi", ".wav", ".mp3", ".ts", ".gif", ".wmv", ".h264", ".aac")


@dataclass(frozen=True)
class Limits:
    """Limits of the workers and of a command on a whole folder."""

    timeout_s: float = 60.0
    memory_gb: float = 3.0
    folder_s: float = 900.0


@dataclass(frozen=True)
class Case:
    """One mutated clip: its number, its mutation, the name of its source, and its file name."""

    number: int
    mutation: str
    source: str
    name: str


def make_case(seed: int, number: int, originals: Sequence[Path], folder: Path) -> Case:
    """Write the mutated clip with this number. The same seed, number and originals give the same bytes."""
    rng = np.random.default_rng([seed, number])
    source, other = (originals[index] for index in rng.integers(0, len(originals), 2))
    mutation = list(MUTATIONS)[number % len(MUTATIONS)]
    suffix = source.suffix if rng.random() < 0.9 else str(rng.choice(WRONG_SUFFIXES))
    case = Case(number, mutation, source.name, f"{number:05d}{suffix}")
    (folder / case.name).write_bytes(MUTATIONS[mutation](rng, source.read_bytes(), other.read_bytes()))
    return case


def limited_checkpoint(source: Path | None, target: Path, limits: Limits) -> Path:
    """Copy a checkpoint (default: the shipped one) with other limits of its workers."""
    checkpoint = load_checkpoint(source or default_checkpoint())
    section = {"timeout_s": limits.timeout_s, "memory_gb": limits.memory_gb}
    checkpoint.run_config["extraction"] = {**checkpoint.run_config.get("extraction", {}), **section}
    return checkpoint.save(target)


class ClipFuzzer:
    """Runs mutated clips through `inference.py` and `utils/extract_ffdv.py`, folder by folder."""

    def __init__(self, output: Path, originals: Sequence[Path], checkpoint: Path, limits: Limits) -> None:
        """Prepare the folders. `output` receives the inputs of findings; everything else is temporary.

        Args:
            output: folder of the results.
            originals: intact clips.
            checkpoint: the detector.
            limits: limits that the commands must keep.
        """
        self.output, self.limits = output, limits
        self._originals = originals
        self._work = output / "work"
        self._checkpoint = checkpoint

    def run(self, seed: int, numbers: range, results: Results) -> None:
        """Fuzz the clips with these numbers as one folder."""
        shutil.rmtree(self._work, ignore_errors=True)
        clips, results_folder = self._work / "data" / "trainset", self._work / "results"
        for folder in (clips, results_folder, self._work / "home", self._work / "tmp", self._work / "cwd"):
            folder.mkdir(parents=True)
        cases = [make_case(seed, number, self._originals, clips) for number in numbers]
        extract = numbers.start // len(numbers) % EXTRACT_EVERY == EXTRACT_EVERY - 1
        before = snapshot(clips)
        command = self._extraction(cases) if extract else self._scoring(clips, results_folder)
        seen = self._watched(command, results_folder)
        table = self._work / "data" / "trainset_raw" / "extraction.csv" if extract else results_folder / "scores.csv"
        rows = read_rows(table)
        found = [*run_faults(seen, self.limits), *self._file_faults(before, clips)]
        for case in cases:
            row = rows.get(case.name)
            status, reason = (row["status"], row["reason"]) if row else ("lost", "")
            results.rows.append(Row("clip", case.number, case.mutation, case.source, status, reason))
            faults = row_faults(row)
            found += [f"clip {case.number} ({case.mutation} of {case.source}): {fault}" for fault in faults]
            if faults:
                self._keep(clips / case.name)
        if found and not self._kept():
            self._keep(clips)
        if found:
            (self.output / f"log-{numbers.start}.txt").write_text(seen.output, encoding="utf-8")
        results.findings += found
        results.peak_gb = max(results.peak_gb, seen.peak_gb)
        shutil.rmtree(self._work)

    def _scoring(self, clips: Path, results: Path) -> list[str]:
        paths = ["--video_dir", str(clips), "--checkpoint", str(self._checkpoint), "--output", f"{results}/scores.csv"]
        return [sys.executable, str(REPOSITORY / "inference.py"), *paths, "--workers", "1", "--quiet"]

    def _extraction(self, cases: Sequence[Case]) -> list[str]:
        root = self._work / "data"
        rows = [f"{case.name},{case.number % 2}" for case in cases]
        (root / "trainset_label.txt").write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
        section = {"timeout_s": self.limits.timeout_s, "memory_gb": self.limits.memory_gb}
        config = {"extract_path": str(root), "extraction": section, "features": {"face": True, "voice": True}}
        (self._work / "results" / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        script = str(REPOSITORY / "utils" / "extract_ffdv.py")
        return [sys.executable, script, "--config", f"{self._work}/results/config.yml", "--workers", "1", "--quiet"]

    def _watched(self, command: list[str], results: Path) -> Observed:
        env = {**os.environ, "HOME": f"{self._work}/home", "TMPDIR": f"{self._work}/tmp", "OMP_NUM_THREADS": "1"}
        cwd = self._work / "cwd"
        return run_watched(command, results / "log.txt", cwd=cwd, env=env, timeout_s=self.limits.folder_s)

    def _file_faults(self, before: dict[str, str], clips: Path) -> Iterator[str]:
        if snapshot(clips) != before:
            yield "the folder of the clips has changed"
        for name in ("tmp", "cwd"):
            if left := list(snapshot(self._work / name)):
                yield f"files are left in the {name} folder: {', '.join(left[:5])}"

    def _keep(self, path: Path) -> None:
        target = self.output / "inputs" / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(path, target, dirs_exist_ok=True) if path.is_dir() else shutil.copyfile(path, target)

    def _kept(self) -> bool:
        return (self.output / "inputs").is_dir()


def run_faults(seen: Observed, limits: Limits) -> Iterator[str]:
    """Yield the promises that a command on a folder of clips has broken."""
    if seen.code is None:
        yield f"the command did not end within {limits.folder_s:g} s"
    elif seen.code not in (0, 1):
        yield f"the command ended with exit code {seen.code}"
    if "Traceback" in seen.output:
        yield "a traceback was printed"
    if seen.peak_gb > limits.memory_gb:
        yield f"a process used {seen.peak_gb:.2f} GB; the limit is {limits.memory_gb:g}"


def row_faults(row: dict[str, str] | None) -> list[str]:
    """Return what is wrong with the row of a clip in `scores.csv` or `extraction.csv`."""
    if row is None:
        return ["there is no row"]
    codes = [code for code in row["reason"].split("+") if code]
    faults = [f"unknown reason {code}" for code in codes if code not in REASONS]
    faults += [f"reason {code}" for code in codes if code in ("crashed", "timeout", "write_failed", "non_finite")]
    if row["status"] not in STATUSES:
        faults.append(f"status {row['status']!r}")
    # A decodable clip may have no face and too little speech for the detector.
    if (row["status"] == "ok") != (codes in ([], ["missing_modality"])):
        faults.append(f"status {row['status']} with reason {row['reason']!r}")
    if "verdict" in row:
        scored = row["verdict"] != "unscored"
        if scored != bool(row["score"]) or scored and not 0 <= float(row["score"]) <= 1:
            faults.append(f"score {row['score']!r} with verdict {row['verdict']}")
        if not scored and not codes:
            faults.append("unscored without a reason")
    return faults


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a result table by the name of the clip; empty if it was not written."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {Path(row.get("video") or row["video_name"]).name: row for row in rows}
