"""Run a set of configs with several seeds and compare the results in a Markdown table and a CSV file.

python utils/run_experiments.py cfg/experiments/*.yml --seeds 0 1 2 --set extract_path=data
python utils/run_experiments.py cfg/experiments/*.yml --set extract_path=data split.folds=folds.csv
python utils/run_experiments.py cfg/experiments/*.yml --set 52_mel_baseline_lite0:train.lr=1e-4
Fitted detectors (cfg/av_experts.yml) can be compared with trained models on the same folds.
Finished runs are reused, and killed runs resume from their last epoch. The first config is the reference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import (
    OneLineParser,
    add_engine,
    add_output,
    add_quiet,
    add_set,
    add_workers,
    command_parser,
    hide_progress_bars,
    log_to_stderr,
    run_command,
)
from utils.errors import UsageError, WorkError

DEFAULT_OUTPUT = "checkpoint/experiments"


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML configs; the first is the reference")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds (default: 0)")
    add_output(parser, "folder for runs and tables (default: %(default)s)", default=DEFAULT_OUTPUT, metavar="DIR")
    add_set(parser, "[CONFIG:]A.B=C", "; applies to every config, or to the named one")
    add_workers(parser, None, "data.workers and extraction.workers of the configs")
    add_engine(parser)
    add_quiet(parser)
    parser.add_argument(
        "--controls",
        action="store_true",
        help="add rows of controls without a detector (duration, face size, container facts)",
    )
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    seeds = arguments.seeds
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {' '.join(map(str, seeds))}: expected distinct integers of at least 0")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Check all configs, run the missing experiments and print the table."""
    arguments = parse_arguments(argv)
    if arguments.quiet:
        hide_progress_bars()
    log_to_stderr()
    from dataset.workers import open_engine, worker_settings
    from engine.experiments import TABLE_FILE, plan_experiments, run_experiments

    engine = open_engine(arguments.engine)
    experiments = plan_experiments(arguments.configs, [*arguments.set, *worker_settings(arguments.workers)])
    output = Path(arguments.output)
    outcomes = run_experiments(experiments, arguments.seeds, output, controls=arguments.controls, engine=engine)
    print((output / TABLE_FILE).read_text(encoding="utf-8"), end="")
    if not any(outcome.runs for outcome in outcomes):
        raise WorkError(f"no run finished; the reasons are in {output / TABLE_FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
