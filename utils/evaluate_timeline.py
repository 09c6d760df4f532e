"""Measure how well the time line finds the fake parts of labelled clips.

python utils/evaluate_timeline.py --labels LABELS --video_dir CLIPS [--checkpoint CKPT] [--output FILE.json]

The label file has the columns `video_name`, `target`, `start_s` and `end_s` (empty for a clip without a partial fake), as in
the demo set. Fakes without a span are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils import command


def main(argv: Sequence[str]) -> int:
    """Score the clips, print the figures and write them."""
    arguments = parse_arguments(argv)
    from engine.detector import Detector
    from engine.timeline.evaluate import evaluate_timeline, format_figures
    from utils.errors import UsageError
    from utils.files import existing_file, write_text_atomic

    labels = existing_file(arguments.labels, "--labels")
    if not arguments.video_dir.is_dir():
        raise UsageError(f"--video_dir does not exist: {arguments.video_dir}")
    detector = Detector.load(arguments.checkpoint, arguments.device)
    figures = evaluate_timeline(
        detector, labels, arguments.video_dir, workers=arguments.workers, progress=not arguments.quiet
    )
    command.say(format_figures(figures))
    if arguments.output is not None:
        write_text_atomic(Path(arguments.output), json.dumps(figures, indent=2, allow_nan=False) + "\n")
    return 0


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def build_parser() -> command.OneLineParser:
    """Build the argument parser."""
    parser = command.command_parser(__doc__)
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="labels with start_s and end_s")
    parser.add_argument("--video_dir", type=Path, required=True, metavar="DIR", help="folder of the clips")
    parser.add_argument("--checkpoint", help="default: checkpoint/default.pth, else the newest checkpoint/*/best.pth")
    command.add_output(parser, "write the figures as JSON", metavar="FILE")
    command.add_workers(parser)
    command.add_device(parser)
    command.add_quiet(parser)
    return parser


if __name__ == "__main__":
    sys.exit(command.run_command(main))
