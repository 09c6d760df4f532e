"""Score clips: files, a folder, a list of names, or whatever arrives in a folder.

    python inference.py --video_path clip.mp4
    python inference.py --video_dir folder --output scores.csv --resume

Prints a table and writes each row to the output file as it comes. A score is the probability of fake. The verdict is `fake`,
`real` or, between the checkpoint's two thresholds, `inconclusive`. Clips that cannot be scored are `unscored`, with a
reason. An interrupted run keeps its scores; clips not yet scored are `pending`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils import command
from utils.errors import UsageError, WorkError
from utils.files import short_path


def build_parser() -> command.OneLineParser:
    """Build the argument parser."""
    parser = command.command_parser(__doc__)
    clips = parser.add_mutually_exclusive_group(required=True)
    clips.add_argument("--video_path", nargs="+", metavar="FILE", help="clips, glob patterns, or - for names on stdin")
    clips.add_argument("--video_dir", metavar="DIR", help="a folder, searched with its sub-folders")
    clips.add_argument("--video_list", metavar="FILE", help="a text file with the name of one clip per line")
    clips.add_argument("--watch", metavar="DIR", help="a folder whose clips are scored as they arrive, until Ctrl-C")
    parser.add_argument("--checkpoint", help="default: the shipped one (.onnx without torch), else the newest run")
    command.add_output(parser, "CSV, .jsonl or .json file (default: %(default)s)", default="scores.csv", metavar="FILE")
    parser.add_argument(
        "--resume", action="store_true", help="keep the scores in the output file, score the other clips"
    )
    command.add_workers(parser)
    command.add_engine(parser)
    command.add_batch_size(parser, 8)
    parser.add_argument("--tta", type=int, default=1, choices=(1, 2, 4), help="mirrored views averaged per clip")
    command.add_device(parser)
    command.add_report(parser)
    command.add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if Path(arguments.output).suffix.lower() not in (".csv", ".json", ".jsonl"):
        raise UsageError(f"--output {arguments.output}: expected a name that ends in .csv, .jsonl or .json")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Score the clips given on the command line."""
    arguments = parse_arguments(argv)
    from dataset.workers import open_engine

    engine = open_engine(arguments.engine)
    engine.warm_up(scoring=True)
    from engine.clip_inputs import ClipArguments
    from engine.detector import Detector
    from engine.score_files import ScoreFiles, ScoringOptions, score_to_files

    clips = ClipArguments.of(arguments)
    rounds = clips.single() if arguments.render else clips.rounds()
    detector = Detector.load(arguments.checkpoint, arguments.device, tta=arguments.tta)
    command.say(f"checkpoint: {short_path(str(detector.path))}")
    files = ScoreFiles.of(arguments)
    quiet = arguments.quiet or arguments.watch is not None
    options = ScoringOptions(arguments.workers, arguments.batch_size, quiet, engine)
    counts = score_to_files(detector, rounds, files, options, command.say_coloured)
    command.say(f"{counts} -> {arguments.output}")
    if not counts.scored:
        raise WorkError(f"no clip could be scored; the reasons are in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run_command(main, skip_teardown=True))
