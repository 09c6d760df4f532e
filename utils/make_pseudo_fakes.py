"""Make a labelled training set from real clips: each clip unforged, and copies with a forged voice or face.

Tracks that are never forged are copied. Tracks to be forged get the same random processing in the real and the forged
copies. To continue an interrupted run, repeat the command; finished clips are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import (
    OneLineParser,
    add_output,
    add_quiet,
    add_workers,
    command_parser,
    hide_progress_bars,
    log_to_stderr,
    run_command,
)
from utils.errors import UsageError


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument("--video_dir", type=Path, required=True, help="folder of real clips, searched recursively")
    add_output(parser, "folder for trainset/ and trainset_label.txt", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--fakes_per_clip", type=int, default=1, help="forged copies per clip (default: %(default)s)")
    parser.add_argument(
        "--modality", choices=("audio", "video", "both"), default="audio", help="track to forge (default: %(default)s)"
    )
    add_workers(parser)
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if arguments.fakes_per_clip < 1 or arguments.seed < 0:
        raise UsageError("--fakes_per_clip must be at least 1 and --seed at least 0")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Make the training set and print the number of clips."""
    arguments = parse_arguments(argv)
    if arguments.quiet:
        hide_progress_bars()

    from dataset.pseudo_fakes.build import build_pseudo_fakes
    from dataset.pseudo_fakes.set_folder import SetSettings
    from engine.clip_search import find_videos

    log_to_stderr()
    settings = SetSettings(arguments.seed, arguments.fakes_per_clip, arguments.modality)
    made = build_pseudo_fakes(
        find_videos(arguments.video_dir, audio=False), arguments.output, settings, workers=arguments.workers
    )
    print(f"{arguments.output}: {int((made['target'] == 0).sum())} real and {int(made['target'].sum())} forged clips")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
