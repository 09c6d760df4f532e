"""HTML reports: single files that work offline, on a phone, in print and with a screen reader.

`write_report(path, ReportInputs(...))` writes the report of an evaluation, `write_screening_report` the report of clips
without labels, `clip_page(evidence)` returns the page about one clip. The modules, in the order of the data flow:

- `inputs`: content of a report and tolerant reading of metrics (null with a reason, never NaN);
- `text`: safe formatting of untrusted text and numbers, spreadsheet-safe CSV downloads;
- `svg`: scales, axes and marks as inline SVG; `bars`: small bars for table cells;
- `ranking_charts`, `score_charts`, `history_charts`: one function per chart;
- `tables`: AUC per group, coverage, worst errors, audit probes, robustness grid;
- `limits`: limitations of the evaluation, as sentences derived from the data;
- `build`: renders `template.html.j2` and writes the file atomically;
- `screening`: renders `screening.html.j2` for clips without labels;
- `clip_page`: renders `clip.html.j2` about one clip from its `Evidence`; `wording`, `clip_verdict`, `clip_tracks` and
  `clip_images` are its parts.

`covariance_picture` draws the frame covariance of clips as a PNG.
"""

from __future__ import annotations

from engine.report.build import write_report
from engine.report.clip_page import clip_page
from engine.report.inputs import ReportInputs
from engine.report.screening import ScreeningInputs, write_screening_report

__all__ = ["ReportInputs", "ScreeningInputs", "clip_page", "write_report", "write_screening_report"]
