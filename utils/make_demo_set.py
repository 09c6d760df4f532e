"""Make the embedded demo set: a data root with splits and label files, from nothing but a seed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, run_command


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = OneLineParser(prog="make_demo_set.py", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="data root to make; an unfinished one is completed")
    parser.add_argument("--clips", type=int, default=480, help="clips in all splits together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same set (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Make the set, or say that it is there already."""
    args = parse_args(argv)
    from dataset.demo_set.build import build_demo_set
    from dataset.demo_set.plan import DemoSettings

    made = build_demo_set(args.output, DemoSettings(clips=args.clips, seed=args.seed), args.workers)
    print(f"{args.output}: {args.clips} clips {'made' if made else 'there already, nothing to do'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
