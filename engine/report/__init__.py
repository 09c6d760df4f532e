"""The evaluation report: one HTML file that opens offline, on a phone, in print and with a screen reader.

`write_report(path, ReportInputs(...))` is the whole interface. The modules behind it, in the order data walks:

- `inputs`: what a report is made from, and the tolerant reading of metrics (null and its reason, never NaN);
- `text`: how untrusted text and numbers are printed, and spreadsheet-safe CSV downloads;
- `svg`: scales, axes and marks as inline SVG; `charts`: one function per chart;
- `tables`: per-type rows, coverage, the most wrong clips, the robustness grid;
- `limits`: what the numbers cannot show, as sentences derived from the data;
- `build`: puts them into `template.html.j2` and writes the file atomically;
- `screening`: the same house for clips without labels, `screening.html.j2`.

`covariance_picture` draws one clip's frame covariance beside another's, as a PNG.
"""

from __future__ import annotations

from engine.report.build import write_report
from engine.report.inputs import ReportInputs
from engine.report.screening import ScreeningInputs, write_screening_report

__all__ = ["ReportInputs", "ScreeningInputs", "write_report", "write_screening_report"]
