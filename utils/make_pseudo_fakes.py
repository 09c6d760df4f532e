"""Make a labelled training set from real clips alone: each as it is and with its voice or its face forged.

What is not forged is copied as it is; what is goes through the same random processing in real and forged copies.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, run_command
from utils.errors import UsageError


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video_dir", type=Path, required=True, help="real clips, searched with its sub-folders")
    parser.add_argument("--output", type=Path, required=True, help="gets trainset/ and trainset_label.txt")
    parser.add_argument("--seed", type=int, default=0, help="same clips and seed, same set (default: %(default)s)")
    parser.add_argument("--fakes_per_clip", type=int, default=1, help="forged copies of a clip (default: %(default)s)")
    parser.add_argument(
        "--modality", choices=("audio", "video", "both"), default="audio", help="what is forged (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if arguments.fakes_per_clip < 1 or arguments.seed < 0:
        raise UsageError("--fakes_per_clip is 1 or more, --seed 0 or more")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Make the set."""
    arguments = parse_arguments(argv)
    import logging

    from dataset.pseudo_fakes.build import LABELS, build_pseudo_fakes
    from engine.predict import find_videos

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if (arguments.output / LABELS).exists():
        raise UsageError(f"--output {arguments.output}: there is a {LABELS} already")
    paths = find_videos(arguments.video_dir)
    made = build_pseudo_fakes(
        paths,
        arguments.output,
        seed=arguments.seed,
        fakes_per_clip=arguments.fakes_per_clip,
        modality=arguments.modality,
    )
    print(f"{arguments.output}: {int((made['target'] == 0).sum())} real and {int(made['target'].sum())} forged clips")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
