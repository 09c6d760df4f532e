"""The Gradio page: one clip, several clips, and how to use the page from programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from engine.web.examples import EXAMPLES
from engine.web.handlers import Handlers
from engine.web.render import html
from utils.metrics.threshold_text import describe_thresholds

STATIC = Path(__file__).resolve().parent / "static"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
TITLE = "multi-ffdv: real or fake?"
MAX_QUEUE = 32
SCORING: dict[str, Any] = {"concurrency_id": "scoring", "concurrency_limit": 1, "api_visibility": "private"}
"""Options of the events that score: one at a time. The private ones are not part of the API."""


def build_page(handlers: Handlers) -> gr.Blocks:
    """Return the page."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        panel(html("header", limits=handlers.service.limits))
        with gr.Tabs():
            with gr.Tab("One clip"):
                one_clip(handlers)
            with gr.Tab("Several clips"):
                several_clips(handlers)
            with gr.Tab("About"):
                panel(html("about", thresholds=describe_thresholds(handlers.calibration)))
        gr.api(handlers.score_for_client, api_name="score", concurrency_id="scoring", concurrency_limit=1)
    page.queue(max_size=MAX_QUEUE, api_open=False)
    return page


def one_clip(handlers: Handlers) -> None:
    """Add the inputs and the result of one clip."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            with gr.Tabs():
                with gr.Tab("File"):
                    file = gr.File(label="Video or audio file", height=150, elem_id="drop")
                    panel('<div id="preview"></div>', elem_classes="preview")
                    file_button = gr.Button(
                        "Score this clip", variant="primary", elem_id="score", elem_classes="scores"
                    )
                with gr.Tab("Camera"):
                    options = gr.WebcamOptions(mirror=False)
                    camera = gr.Video(
                        label="Record a video",
                        sources=["webcam"],
                        webcam_options=options,
                        include_audio=True,  # Gradio drops the sound of recordings by default, with the program ffmpeg
                        height=260,
                    )
                    camera_button = gr.Button("Score this recording", variant="primary", elem_classes="scores")
                with gr.Tab("Microphone"):
                    microphone = gr.Audio(label="Record speech", sources=["microphone"], type="filepath")
                    microphone_button = gr.Button("Score this recording", variant="primary", elem_classes="scores")
            panel(html("examples"))
            with gr.Row(elem_classes="examples"):
                examples = [gr.Button(item.label, size="sm", min_width=90, elem_classes="scores") for item in EXAMPLES]
        with gr.Column(scale=7, min_width=300):
            result = panel(html("hint", text="The result appears here."), elem_id="result")
            report = gr.DownloadButton("Download the report", visible=False, elem_id="report")
    evidence = panel("", elem_id="evidence")
    outputs = [result, evidence, report]
    shown = {**SCORING, "show_progress_on": result}
    for button, source in ((file_button, file), (camera_button, camera), (microphone_button, microphone)):
        button.click(handlers.score_upload, [source], [*outputs, source], **shown)
    for button, example in zip(examples, EXAMPLES, strict=True):
        button.click(partial(handlers.score_example, example), None, outputs, **shown)


def several_clips(handlers: Handlers) -> None:
    """Add the inputs and the table of a batch."""
    label = f"Up to {handlers.service.limits.max_files} video or audio files"
    files = gr.File(label=label, file_count="multiple", height=150, elem_id="drop-batch")
    button = gr.Button("Score these clips", variant="primary", elem_id="score-batch")
    table = panel(html("hint", text="The table appears here."), elem_id="batch")
    download = gr.DownloadButton("Download the table (CSV)", visible=False, elem_id="csv")
    button.click(handlers.score_batch, [files], [table, download, files], show_progress="hidden", **SCORING)


def panel(content: str, **options: Any) -> gr.HTML:
    """Return a part of the page that is styled by `page.css` only."""
    return gr.HTML(content, apply_default_css=False, **options)


def theme() -> gr.themes.Base:
    """Return a theme that uses fonts of the visitor's system only."""
    base = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=FONTS, font_mono=MONO_FONTS)
    return base.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")


def script() -> str:
    """Return the script of the page as an element of its head."""
    return f"<script>{(STATIC / 'page.js').read_text(encoding='utf-8')}</script>"


def style() -> str:
    """Return the style sheet of the page."""
    return (STATIC / "page.css").read_text(encoding="utf-8")
