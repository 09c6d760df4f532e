"""Files that scoring writes: the rows, and on request a report, pages, time lines and a rendered video."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from pathlib import Path

from engine.clip_inputs import ClipArguments
from engine.output_checks import check_inputs_kept, check_replaceable_report, check_replaceable_scores
from engine.remote_clips import NamedClip
from engine.run_folder import check_output
from engine.score_queue import ScoreQueue
from utils.errors import UsageError, WorkError
from utils.packages import is_installed
from utils.remote import is_url, remote_file

REPORT_PACKAGES = ("torch", "pandas", "scipy", "jinja2", "matplotlib", "moviepy")
"""Packages that the light installation lacks. Saliency and maps of an expert need torch."""


@dataclass(frozen=True)
class ScoreFiles:
    """Destination of scores.

    Attributes:
        output: CSV, JSONL or JSON file, by its suffix.
        url: URL to which the finished output is copied; `None` for none.
        report: HTML file; `None` for no report.
        pages: maximum number of pages about single clips, written next to the report.
        resume: whether to keep the rows of an existing output file.
        render: video file for a copy of the clip with its time line; `None` for none. Only for a single clip.
        timeline: folder for the time line of each clip, as JSON and as a picture; `None` for no time lines.
    """

    output: Path
    report: Path | None = None
    pages: int = 0
    resume: bool = False
    render: Path | None = None
    timeline: Path | None = None
    url: str | None = None

    @property
    def named(self) -> str:
        """The output file as given."""
        return self.url or str(self.output)

    def publish(self) -> None:
        """Copy the output file to its URL, if it has one.

        Raises:
            WorkError: it cannot be written.
        """
        if self.url is not None:
            folder, name = remote_file(self.url)
            try:
                folder.upload(self.output, name)
            except WorkError as error:
                raise WorkError(f"{error}; the rows are in {self.output}") from None
            shutil.rmtree(self.output.parent, ignore_errors=True)

    def parts(self, clips: ScoreQueue, n_scored: int, windowed: bool) -> Iterator[tuple[Iterable[NamedClip], bool]]:
        """Split the clips of a round by whether their scores need a time line, which takes longer.

        Args:
            clips: the clips.
            n_scored: number of clips scored in earlier rounds.
            windowed: whether the detector can score parts of a clip.
        """
        n_needed = 1 if self.render else max(0, self.pages - n_scored)
        if self.timeline is not None or not windowed or not n_needed:
            yield clips, self.timeline is not None
        elif 0 <= length_hint(clips, -1) <= n_needed:
            yield clips, True
        else:
            remaining = iter(clips)
            yield islice(remaining, n_needed), True
            yield remaining, False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> ScoreFiles:
        """Return the files named on the command line.

        Raises:
            UsageError: a file cannot be written, is an input or has other content, or a suffix is not supported.
        """
        report, render = arguments.report, arguments.render
        if report or render or arguments.timeline:
            check_report_packages()
        is_remote = is_url(arguments.output)
        if is_url(arguments.video_dir) and report and arguments.report_pages:
            raise UsageError("--report makes no pages of clips at a URL: add --report_pages 0")
        output = staged_output(arguments.output, arguments.resume) if is_remote else Path(arguments.output)
        files = cls(
            output=check_output(output, "--output"),
            url=arguments.output if is_remote else None,
            report=check_output(Path(report) / "report.html", "--report") if report else None,
            pages=arguments.report_pages if report else 0,
            resume=arguments.resume,
            timeline=check_output(Path(arguments.timeline) / "x", "--timeline").parent if arguments.timeline else None,
            render=check_output(checked_render_output(render), "--render") if render else None,
        )
        files.check_existing(ClipArguments.of(arguments).named_files(arguments.checkpoint))
        return files

    def check_existing(self, inputs: Iterable[Path]) -> None:
        """Check the files that will be replaced.

        Args:
            inputs: files that the command reads.

        Raises:
            UsageError: see `engine.output_checks`.
        """
        check_inputs_kept({"--output": self.output, "--report": self.report, "--render": self.render}, inputs)
        if not self.resume:
            check_replaceable_scores(self.output)
        if self.report is not None:
            check_replaceable_report(self.report)


def staged_output(url: str, resume: bool) -> Path:
    """Return a private local file in place of the output file at a URL; with `resume`, a copy of it if it exists.

    Raises:
        UsageError: the URL cannot be opened.
        WorkError: the file cannot be read.
    """
    folder, name = remote_file(url)
    path = Path(tempfile.mkdtemp(prefix="multi-ffdv-"), name)
    if resume:
        with contextlib.suppress(FileNotFoundError):
            folder.download(name, path)
    return path


def check_report_packages() -> None:
    """Raise a `UsageError` that says how to install the packages for reports and videos if they are missing."""
    missing = [name for name in REPORT_PACKAGES if not is_installed(name)]
    if missing:
        raise UsageError(
            f"--report, --timeline and --render need {', '.join(missing)}: install everything with `make install`"
        )


def checked_render_output(path: str) -> Path:
    """Return the path of the video to write; see `check_render_output`."""
    from engine.evidence.render import check_render_output

    return check_render_output(Path(path))
