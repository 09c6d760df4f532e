"""Measure the AUC of a detector on clips that are re-encoded, filtered and re-muxed.

    python utils/robustness.py --checkpoint CKPT --labels FILE --video_dir DIR [--output DIR]

Degrades every labelled clip with each family at five severities and scores it. Writes robustness.csv (AUC, interval and
coverage per cell), robustness.json (mean drops), heat_map.png and scores/<family>-<severity>.csv. To resume an
interrupted run, repeat the command. docs/ROBUSTNESS.md lists the families.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import (
    OneLineParser,
    add_batch_size,
    add_device,
    add_output,
    add_quiet,
    add_workers,
    command_parser,
    run_command,
)
from utils.errors import UsageError, WorkError


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True, type=Path, help="checkpoint of the detector")
    add("--labels", required=True, type=Path, help="label file: video_name,target")
    add("--video_dir", required=True, type=Path, help="folder of the clips")
    add_output(parser, "folder for the results (default: robustness/ next to the checkpoint)", type=Path, metavar="DIR")
    add("--families", nargs="+", metavar="NAME", help="degradations (default: all); their baselines are always run")
    add(
        "--severities",
        nargs="+",
        type=int,
        default=[1, 2, 3, 4, 5],
        metavar="N",
        help="severities of the degradations (default: 1 2 3 4 5)",
    )
    add("--limit", type=int, metavar="N", help="use only N clips, half of them real if possible")
    add_workers(parser)
    add_batch_size(parser, 32)
    add_device(parser)
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the robustness suite and print the results."""
    arguments = parse_arguments(argv)
    from dataset.degradations import plan
    from dataset.labels import read_evaluation_labels
    from engine.robustness import Suite
    from engine.robustness_tables import cell_table, format_cells, summary, write_results
    from engine.score_files import ScoringOptions

    degradations = plan(arguments.families, arguments.severities)
    labels = read_evaluation_labels(arguments.labels, arguments.limit)
    if not arguments.video_dir.is_dir():
        raise UsageError(f"--video_dir is not a folder: {arguments.video_dir}")
    output = arguments.output or arguments.checkpoint.parent / "robustness"
    options = ScoringOptions(arguments.workers, arguments.batch_size, arguments.quiet)
    suite = Suite(
        arguments.checkpoint, labels, arguments.video_dir, degradations, output, options, device=arguments.device
    )
    scores = suite.run()
    cells = cell_table(scores)
    figures = summary(cells)
    write_results(output, scores, cells, figures | suite.provenance())
    print(format_cells(cells))
    if not cells["n_scored"].any():
        raise WorkError(f"no clip could be scored; see the reasons in {output / 'scores'}")
    drop = "unknown" if figures["mean_drop"] is None else f"{figures['mean_drop']:.3f}"
    print(f"mean drop {drop}, lowest coverage {figures['lowest_coverage']:.1%} -> {output}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
