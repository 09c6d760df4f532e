"""Export a checkpoint to ONNX, for scoring with onnxruntime instead of torch.

    python utils/export_onnx.py --checkpoint checkpoint/default.pth --output model.onnx

Writes the network to `model.onnx` and its preprocessing, calibration and thresholds to `model.json`. Both are needed for
`python inference.py --checkpoint model.onnx`, whose scores differ from those of the checkpoint by less than 1e-4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, command_parser, run_command, say
from utils.errors import UsageError
from utils.files import existing_file


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the checkpoint to export")
    add_output(parser, "ONNX file; the JSON file is written beside it", required=True, metavar="FILE.onnx")
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if Path(arguments.output).suffix != ".onnx":
        raise UsageError(f"--output must end in .onnx, not {Path(arguments.output).name!r}")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Export the checkpoint."""
    arguments = parse_arguments(argv)
    source = existing_file(arguments.checkpoint, "checkpoint")
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed: pip install -r requirements-export.txt") from None
    del onnx, onnxruntime, onnxscript
    from engine.checkpoint import load_checkpoint
    from engine.onnx.export import export_detector
    from engine.run_folder import check_output

    output = check_output(arguments.output, "--output")
    detector = export_detector(load_checkpoint(source), source, output)
    say(f"{output} and {output.with_suffix('.json').name}: {', '.join(detector.terms)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
