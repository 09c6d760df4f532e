"""Merge the label files of several data sets into one, so that one config trains on all of them.

python utils/merge_labels.py A/labels.csv B/labels.csv --output DATA/labels.csv

The clips are linked below DATA, and the names in the merged file are paths below DATA. Clips may be videos or audio files.
docs/DATASETS.md describes the columns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, command_parser, run_command
from utils.errors import UsageError


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add(
        "labels",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="label files: video_name (or name),target,type (or kind), ...",
    )
    add_output(parser, "label file to write; its folder is the data root", type=Path, required=True, metavar="FILE")
    add(
        "--clips",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="DIR",
        help="more folders of clips (default: clips/ next to a label file, else the label file's folder)",
    )
    add(
        "--sources",
        choices=("auto", "keep"),
        default="auto",
        help="auto: prefix sources that occur in several sets with the set's name; keep: they are the same source "
        "(default: %(default)s)",
    )
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if arguments.output.is_dir():
        raise UsageError(f"--output is a folder, not a file: {arguments.output}")
    for folder in arguments.clips:
        if not folder.is_dir():
            raise UsageError(f"--clips: no such folder: {folder}")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Merge the label files, link the clips, and print a summary."""
    arguments = parse_arguments(argv)
    from dataset.importers import write_labels
    from dataset.label_merge import merge_labels

    output = arguments.output
    merged = merge_labels(arguments.labels, output, clips=arguments.clips, prefix_sources=arguments.sources == "auto")
    write_labels(output, merged.table)
    for note in merged.notes:
        print(f"note: {note}", file=sys.stderr)
    counts = merged.table["target"].value_counts()
    unlabelled = f", {counts['']} without a target" if "" in counts else ""
    print(f"{output}: {len(merged.table)} clips, {counts.get('0', 0)} real and {counts.get('1', 0)} fake{unlabelled}")
    print(f"to use it: --set extract_path={output.parent} label_name.trainset={output.name} data.video_dir.trainset=.")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
