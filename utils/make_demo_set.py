"""Generate the built-in demo set from a seed: a data root with splits and label files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, add_quiet, add_workers, command_parser, run_command


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add_output(parser, "data root to create; an unfinished one is completed", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clips", type=int, default=480, help="total number of clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    add_workers(parser, 2, "2")
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Generate the set unless it already exists."""
    arguments = parse_arguments(argv)
    from dataset.demo_set.build import build_demo_set
    from dataset.demo_set.plan import DemoSettings
    from dataset.workers import default_workers

    settings = DemoSettings(clips=arguments.clips, seed=arguments.seed)
    workers = arguments.workers or default_workers()
    made = build_demo_set(arguments.output, settings, workers, progress=not arguments.quiet)
    print(f"{arguments.output}: {arguments.clips} clips {'made' if made else 'already exist, nothing to do'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
