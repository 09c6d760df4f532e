"""Fit the experts of av_experts from real clips and pseudo-fakes made of them, calibrate them, and write a checkpoint.

The real clips of trainset's label file are trained on; labelled fakes in it calibrate and measure, out of fold.
An interrupted run goes on where it was: described clips, pseudo-fakes and finished fits are kept in --cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, run_command
from utils.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--config", default=str(REPOSITORY / "cfg" / "av_experts.yml"), help="YAML config (default: cfg/av_experts.yml)"
    )
    add(
        "--cache",
        type=Path,
        default=Path("data/expert_bank"),
        metavar="DIR",
        help="what is made once (default: %(default)s)",
    )
    add("--synthetic_voices", type=Path, metavar="DIR", help="utterances of speech synthesisers, trained on as fakes")
    add("--seeds", type=int, default=1, help="out-of-fold figures for this many seeds (default: %(default)s)")
    add("--controls", action="store_true", help="add rows without any expert (duration, face size, ...) to experts.csv")
    add("--output", type=Path, metavar="FILE", help="also write the checkpoint here")
    add("--set", nargs="+", action="extend", default=[], metavar="A.B=C", help="override config values; repeatable")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        raise UsageError(f"--seeds {arguments.seeds}: 1 or more")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Fit by the command line."""
    arguments = parse_arguments(argv)
    import logging

    from engine.checkpoint import load_checkpoint
    from engine.config import load_run_config
    from engine.fitting import FitOptions, fit_experts
    from engine.run_folder import check_output

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = load_run_config(arguments.config, arguments.set, check_model=True)
    if arguments.output is not None:
        check_output(arguments.output, "--output")
    folder = fit_experts(
        config, FitOptions(arguments.cache, arguments.synthetic_voices, arguments.seeds, arguments.controls)
    )
    if arguments.output is not None:
        load_checkpoint(folder.best).save(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
