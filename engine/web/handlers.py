"""Event handlers of the web page. They return values of Gradio components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from engine.score_rows import CHECKPOINT_COLUMN, Cell, checkpoint_id, columns_of, csv_line, plain_cell, row_of
from engine.web.examples import Example, example_path
from engine.web.render import batch_html, evidence_html, html, result_html
from engine.web.service import Outcome, ScoringService

PROGRESS = gr.Progress()
"""Default argument by which Gradio recognises that a handler reports its progress."""


class Handlers:
    """Event handlers of the page of one scoring service."""

    def __init__(self, service: ScoringService) -> None:
        """Bind the handlers to a service."""
        self.service = service
        self.calibration = service.detector.checkpoint.calibration
        self._columns = columns_of(service.detector)
        self._identity = checkpoint_id(service.detector)

    def score_upload(self, upload: str | None, progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        """Score a chosen or recorded clip; return result, evidence, report, and an empty input."""
        if not upload:
            return html("hint", text="Choose or record a clip first."), "", hidden_download(), None
        return *self._result(Path(upload), progress), None

    def score_example(self, example: Example, progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        """Generate an example if it is missing and score it; return result, evidence and report."""
        progress(0.0, desc="Drawing the example")
        return self._result(example_path(self.service.folder.examples, example), progress)

    def _result(self, clip: Path, progress: gr.Progress) -> tuple[Any, ...]:
        outcome = self.service.score(clip, lambda text, share: progress(share, desc=text), page=True)
        report = hidden_download()
        if outcome.page:
            path = self.service.folder.new_file(f"{Path(outcome.score.video).stem}.html")
            path.write_text(outcome.page, encoding="utf-8")
            report = gr.DownloadButton(value=str(path), visible=True)
        return result_html(outcome, self.calibration), evidence_html(outcome), report

    def score_batch(self, uploads: Sequence[str] | None) -> Iterator[tuple[Any, Any, Any]]:
        """Score several clips; yield the table so far, the CSV file when it is complete, and the input."""
        limits, uploads = self.service.limits, list(uploads or ())
        if not uploads or len(uploads) > limits.max_files:
            few = "Choose some clips first."
            many = f"These are {len(uploads)} clips, and the limit is {limits.max_files}. Choose fewer."
            yield html("hint", text=many if uploads else few), hidden_download(), gr.skip()
            return
        done: list[Outcome] = []
        yield batch_html(done, len(uploads), self.calibration), hidden_download(), gr.skip()
        for upload in uploads:
            done.append(self.service.score(Path(upload)))
            yield batch_html(done, len(uploads), self.calibration), hidden_download(), gr.skip()
        path = self.service.folder.new_file("scores.csv")
        path.write_text(self.csv_text(done), encoding="utf-8")
        yield batch_html(done, len(uploads), self.calibration), gr.DownloadButton(value=str(path), visible=True), None

    def csv_text(self, outcomes: Sequence[Outcome]) -> str:
        """Return scores as the text of a CSV file with the columns of `scores.csv`."""
        rows = map(self.row, outcomes)
        lines = [csv_line([plain_cell(str(row["video"])), *(row[name] for name in self._columns[1:])]) for row in rows]
        return csv_line(self._columns) + "".join(lines)

    def row(self, outcome: Outcome) -> dict[str, Cell]:
        """Return a score as a row of `scores.csv`."""
        return row_of(outcome.score) | {CHECKPOINT_COLUMN: self._identity}

    def score_for_client(self, clip: gr.FileData) -> dict[str, Any]:
        """Score one clip; return a row of `scores.csv` with the thresholds and, for clips refused by the page, a message."""
        # Gradio passes a mapping, whatever the annotation says.
        fields: Any = clip if isinstance(clip, dict) else {}
        if not isinstance(fields.get("path"), str):
            raise gr.Error("Send one uploaded file.", print_exception=False)
        return self.answer(self.service.score(Path(fields["path"])))

    def answer(self, outcome: Outcome) -> dict[str, Any]:
        """Return the answer of the API."""
        return {**self.row(outcome), "thresholds": dict(outcome.score.thresholds), "message": outcome.message}


def hidden_download() -> Any:
    """Return an update that hides a download button."""
    return gr.DownloadButton(value=None, visible=False)
