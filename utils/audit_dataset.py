"""Audit a labelled set of clips: measure how well it can be classified without detecting the forgery.

python utils/audit_dataset.py --labels FILE --video_dir DIR [--group COL] [--remedy NAME ...] [--output audit.json]
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
    at_least,
    command_parser,
    log_to_stderr,
    run_command,
)


def main(argv: Sequence[str]) -> int:
    """Measure the clips, run the probes, print the table and write the rows."""
    arguments = parse_arguments(argv)

    import json

    from dataset.labels import read_labels
    from dataset.workers import default_workers
    from engine.audit import AuditOptions, run_audit
    from engine.audit.audit_text import format_audit
    from utils.errors import UsageError
    from utils.files import write_text_atomic

    log_to_stderr()
    labels = read_labels(arguments.labels)
    if not arguments.video_dir.is_dir():
        raise UsageError(f"--video_dir is not a folder: {arguments.video_dir}")
    options = AuditOptions(
        group=arguments.group,
        mitigations=tuple(arguments.remedy),
        workers=arguments.workers or default_workers(),
        seed=arguments.seed,
        max_clips=arguments.max_clips,
        quiet=arguments.quiet,
    )
    rows = run_audit(labels, arguments.video_dir, options)
    print(format_audit(rows))
    if arguments.output is not None:
        write_text_atomic(arguments.output, json.dumps(rows, indent=2, allow_nan=False) + "\n")
    return 0


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("--labels", type=Path, required=True, metavar="FILE", help="label file: video_name,target and further columns")
    add("--video_dir", type=Path, required=True, metavar="DIR", help="folder of the clips")
    add("--group", metavar="COL", help="column that groups related clips (default: group or source, if present)")
    add(
        "--remedy",
        nargs="+",
        default=[],
        metavar="NAME",
        help="apply these mitigations to all clips and repeat the audit; see docs/AUDIT.md",
    )
    add_output(parser, "write the rows as JSON", type=Path, metavar="FILE")
    add_workers(parser)
    add("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default: %(default)s)")
    add(
        "--max_clips",
        type=at_least(1),
        default=2000,
        metavar="N",
        help="audit a random sample of a larger set (default: %(default)s clips)",
    )
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_command(main))
