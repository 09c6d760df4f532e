"""Compute all metrics of a predictions file, and compare it with a second one if given.

python utils/evaluate_predictions.py A.csv [B.csv] [--labels FILE] [--output metrics.json]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, at_least, command_parser, run_command

POLICIES = ("exclude", "as-real", "as-fake", "as-chance")


def main(argv: Sequence[str]) -> int:
    """Read the files, print the tables and write the metrics."""
    arguments = parse_arguments(argv)

    import json

    from utils.errors import WorkError
    from utils.files import existing_file, write_text_atomic
    from utils.metrics.decisions import DecisionRule
    from utils.metrics.delong import compare
    from utils.metrics.predictions import join_labels, lend_labels, read_labels, read_predictions
    from utils.metrics.summary import summarise
    from utils.metrics.summary_text import format_comparison, format_summary

    paths = list(filter(None, (arguments.predictions, arguments.other)))
    tables = [read_predictions(existing_file(path, "the predictions file")) for path in paths]
    if arguments.labels is not None:
        labels = read_labels(existing_file(arguments.labels, "the label file"))
        tables = [join_labels(table, labels) for table in tables]
    elif len(tables) > 1:
        tables = [lend_labels(tables[0], tables[1]), lend_labels(tables[1], tables[0])]
    summaries = []
    for path, table in zip(paths, tables, strict=True):
        summary = summarise(
            table,
            split=arguments.split or path.stem,
            rule=DecisionRule(threshold=arguments.threshold),
            coverage_policy=arguments.policy,
            bootstrap=arguments.bootstrap,
            seed=arguments.seed,
        )
        print(f"{path}: {format_summary(summary)}\n")
        summaries.append(summary)
    metrics = summaries[0]
    if len(tables) > 1:
        metrics |= {"delong": compare(*tables), "b": summaries[1]}
        print(format_comparison(metrics["delong"]))
    if arguments.output is not None:
        write_text_atomic(arguments.output, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    if not any(summary["n_scored"] for summary in summaries):
        raise WorkError("no clip has a score")
    return 0


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("predictions", type=Path, metavar="A.csv", help="video_name,target,score or y_pred [,logit,type,source,group]")
    add("other", type=Path, nargs="?", metavar="B.csv", help="predictions of a second system; DeLong's test is applied")
    add("--labels", type=Path, metavar="FILE", help="file with targets and further columns, joined by video_name")
    add_output(parser, "write the metrics as JSON", type=Path, metavar="FILE")
    add("--split", metavar="NAME", help="name of the split (default: the file name)")
    add("--policy", choices=POLICIES, default="exclude", help="treatment of unscored clips (default: %(default)s)")
    add("--threshold", type=finite_number, metavar="X", help="lowest score predicted as fake (default: 0.5)")
    add("--bootstrap", type=at_least(0), default=2000, metavar="N", help="resamples; 0: none (default: %(default)s)")
    add("--seed", type=at_least(0), default=0, metavar="N", help="seed of the resampling (default: %(default)s)")
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def finite_number(text: str) -> float:
    """Parse a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(run_command(main))
