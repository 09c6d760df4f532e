"""Fit the experts of av_experts on real clips and their pseudo-fakes, calibrate the scores, and write a checkpoint.

The training data are the real clips of the trainset label file. Labelled fakes are used for calibration and out-of-fold
metrics, and for training only with --labelled_fakes. Features, pseudo-fakes and fits are stored in --cache. To continue
an interrupted run, repeat the command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import (
    OneLineParser,
    add_config,
    add_output,
    add_quiet,
    add_set,
    add_workers,
    at_least,
    command_parser,
    hide_progress_bars,
    log_to_stderr,
    run_command,
)

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "cfg" / "av_experts.yml"


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add_config(parser, "cfg/av_experts.yml")
    add(
        "--cache",
        metavar="DIR",
        help="training cache (default: fit.cache of the config, data/expert_bank)",
    )
    add("--synthetic_voices", metavar="DIR", help="folder of synthetic speech, used as training fakes")
    add("--labelled_fakes", action="store_true", help="also train on the labelled fakes")
    add(
        "--seeds",
        type=at_least(1),
        default=1,
        metavar="N",
        help="number of seeds for out-of-fold metrics (default: %(default)s)",
    )
    add("--controls", action="store_true", help="add control rows (duration, face size, ...) to experts.csv")
    add_output(parser, "also write the checkpoint here", type=Path, metavar="FILE")
    add_set(parser)
    add_workers(parser, None, "extraction.workers of the config")
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def fit_settings(arguments: argparse.Namespace) -> list[str]:
    """Return config overrides (`a.b=c`) for the flags that correspond to keys of the section `fit`."""
    flags = {"cache": arguments.cache, "synthetic_voices": arguments.synthetic_voices}
    settings = [f"fit.{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    return settings + ["fit.labelled_fakes=true"] * arguments.labelled_fakes


def main(argv: Sequence[str]) -> int:
    """Fit the experts and write the checkpoint."""
    arguments = parse_arguments(argv)
    if arguments.quiet:
        hide_progress_bars()

    from dataset.workers import worker_settings
    from engine.checkpoint import load_checkpoint
    from engine.config import load_run_config
    from engine.fitting import fit_experts
    from engine.run_folder import check_output

    log_to_stderr()
    overrides = [*arguments.set, *fit_settings(arguments), *worker_settings(arguments.workers)]
    config = load_run_config(arguments.config or DEFAULT_CONFIG, overrides, check_model=True)
    if arguments.output is not None:
        check_output(arguments.output, "--output")
    folder = fit_experts(config, seeds=arguments.seeds, controls=arguments.controls)
    if arguments.output is not None:
        load_checkpoint(folder.best).save(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
