"""Divide a labelled set into folds or splits. Related clips are kept together.

python utils/make_splits.py --labels FILE --by identity source --folds 5 --output folds.csv
python utils/make_splits.py --labels FILE --video_dir DIR --near_duplicates --split 0.7 0.15 0.15 --output splits.csv
python utils/make_splits.py --labels FILE --by source --leave_out generator --output folds.csv
python utils/make_splits.py --labels FILE --by source --hold_out generator=Wav2Lip --output splits.csv
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, add_quiet, add_workers, command_parser, log_to_stderr, run_command
from utils.errors import UsageError, WorkError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument("--labels", required=True, help="label file: video_name,target and further columns")
    parser.add_argument("--video_dir", help="folder of the clips, for --near_duplicates")
    parser.add_argument("--by", nargs="+", default=[], metavar="COL", help="keep clips with equal values together")
    parser.add_argument("--near_duplicates", action="store_true", help="keep clips that share frames or audio together")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--folds", type=int, metavar="K", help="number of folds (default: 5)")
    kind.add_argument("--split", nargs="+", type=float, metavar="SHARE", help="shares of train, val and test")
    kind.add_argument("--leave_out", metavar="COL", help="one fold per value of a column, for example generator")
    kind.add_argument("--hold_out", metavar="COL=VALUE", help="use the clips with this value as the test split")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    add_workers(parser)
    parser.add_argument("--cache", help="fingerprint cache (default: OUTPUT.fingerprints.npz)")
    add_output(parser, "label file to write, with the columns group and fold or split", required=True, metavar="FILE")
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    check_arguments(arguments)
    return arguments


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise a `UsageError` for invalid or contradictory arguments."""
    if not arguments.by and not arguments.near_duplicates and not arguments.leave_out and not arguments.hold_out:
        raise UsageError("no rule keeps clips together; set --by COL ... or --near_duplicates (or both)")
    if arguments.near_duplicates and not arguments.video_dir:
        raise UsageError("--near_duplicates needs --video_dir, the folder of the clips")
    if arguments.video_dir and not Path(arguments.video_dir).is_dir():
        raise UsageError(f"--video_dir: no such folder: {arguments.video_dir}")
    if arguments.folds is not None and arguments.folds < 2:
        raise UsageError(f"--folds {arguments.folds}: expected at least 2")
    shares = arguments.split
    if shares is not None and (len(shares) not in (2, 3) or min(shares) <= 0 or abs(sum(shares) - 1) > 0.01):
        raise UsageError(f"--split {shares}: expected two or three positive shares that sum to 1, like 0.7 0.15 0.15")
    if arguments.hold_out is not None and not all(arguments.hold_out.partition("=")):
        raise UsageError(f"--hold_out {arguments.hold_out!r}: expected COL=VALUE")
    if arguments.seed < 0:
        raise UsageError(f"--seed {arguments.seed}: expected an integer of at least 0")


def main(argv: Sequence[str]) -> int:
    """Group the clips, divide the groups, write the label file and print the balance of the parts."""
    arguments = parse_arguments(argv)
    log_to_stderr()
    from dataset.folds import RECORDING_COLUMNS, GroupFacts, related_groups
    from dataset.labels import read_labels
    from dataset.split_files import balance_table, write_splits

    labels = read_labels(Path(arguments.labels))
    recordings = [name for name in RECORDING_COLUMNS if name in labels and name not in arguments.by]
    if recordings:
        print(f"clips of one recording are also kept together: {', '.join(recordings)}")
    pairs = near_duplicate_rows(arguments, labels) if arguments.near_duplicates else ()
    groups = related_groups(labels, [*arguments.by, *recordings], pairs)
    print(GroupFacts.of(groups).sentence())
    column, parts = divide(arguments, labels, groups)
    digest = write_splits(Path(arguments.output), labels, groups, column, parts)
    print(balance_table(labels, groups, column, parts))
    print(f"sha256 {digest}  {arguments.output}")
    return 0


def near_duplicate_rows(arguments: argparse.Namespace, labels: pd.DataFrame) -> np.ndarray:
    """Return the row pairs of clips that share frames or audio. Unreadable clips are logged and belong to no pair."""
    from dataset.fingerprints import find_near_duplicates, fingerprint_clips

    folder = Path(arguments.video_dir)
    prints = fingerprint_clips(
        {name: folder / name for name in labels["video_name"]},
        Path(arguments.cache or f"{arguments.output}.fingerprints.npz"),
        workers=arguments.workers,
        quiet=arguments.quiet,
    )
    unread = [(name, reason) for name, reason in zip(prints.names, prints.reasons, strict=True) if reason]
    for name, reason in unread[:10]:
        logging.warning("%s: %s, no fingerprint", name, reason)
    if len(unread) == len(prints):
        raise WorkError(f"none of the {len(unread)} clips in {folder} could be read")
    found = find_near_duplicates(prints)
    print(
        f"near-duplicates: {len(found.visual)} pairs share frames, {len(found.audio)} share audio, "
        f"{len(found.pairs)} in total; {len(unread)} clips without a fingerprint"
    )
    return found.pairs


def divide(arguments: argparse.Namespace, labels: pd.DataFrame, groups: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the name of the column to write and its values, the part of each clip."""
    import numpy as np

    from dataset.folds import assign_groups, hold_out, leave_one_out
    from dataset.split_files import SPLIT_NAMES

    labels = labels.assign(group=groups) if "group" not in labels else labels
    if arguments.leave_out:
        return "fold", leave_one_out(labels, groups, arguments.leave_out, arguments.seed)
    names = np.array(SPLIT_NAMES, object)
    if arguments.hold_out:
        column, _, value = arguments.hold_out.partition("=")
        return "split", names[hold_out(labels, groups, column, value, (0.85, 0.15), arguments.seed)]
    if arguments.split:
        return "split", names[assign_groups(labels, groups, arguments.split, arguments.seed)]
    return "fold", assign_groups(labels, groups, [1] * (arguments.folds or 5), arguments.seed)


if __name__ == "__main__":
    sys.exit(run_command(main))
