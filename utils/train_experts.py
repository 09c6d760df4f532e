"""Fit the experts of av_experts on real clips and pseudo-fakes of them, calibrate them, and write a checkpoint.

Training uses the real clips of trainset's label file. Its labelled fakes are used for calibration and out-of-fold metrics, and
for training only with --labelled_fakes. An interrupted run continues: features, pseudo-fakes and fits stay in --cache.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, run_command
from utils.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--config", default=str(REPOSITORY / "cfg" / "av_experts.yml"), help="YAML config (default: cfg/av_experts.yml)"
    )
    add(
        "--cache",
        metavar="DIR",
        help="training cache (default: fit.cache of the config, data/expert_bank)",
    )
    add("--synthetic_voices", metavar="DIR", help="utterances of speech synthesisers, used as training fakes")
    add("--labelled_fakes", action="store_true", help="train on the labelled fakes, too")
    add("--seeds", type=int, default=1, help="number of seeds for out-of-fold metrics (default: %(default)s)")
    add("--controls", action="store_true", help="add rows without any expert (duration, face size, ...) to experts.csv")
    add("--output", type=Path, metavar="FILE", help="also write the checkpoint here")
    add("--set", nargs="+", action="extend", default=[], metavar="A.B=C", help="override config values; repeatable")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        raise UsageError(f"--seeds {arguments.seeds}: 1 or more")
    return arguments


def fit_settings(arguments: argparse.Namespace) -> list[str]:
    """Return the flags that set values of the config's section `fit`, as `a.b=c` texts."""
    flags = {"cache": arguments.cache, "synthetic_voices": arguments.synthetic_voices}
    settings = [f"fit.{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    return settings + ["fit.labelled_fakes=true"] * arguments.labelled_fakes


def main(argv: Sequence[str]) -> int:
    """Fit the experts."""
    arguments = parse_arguments(argv)
    import logging

    from engine.checkpoint import load_checkpoint
    from engine.config import load_run_config
    from engine.fitting import fit_experts
    from engine.run_folder import check_output

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = load_run_config(arguments.config, [*arguments.set, *fit_settings(arguments)], check_model=True)
    if arguments.output is not None:
        check_output(arguments.output, "--output")
    folder = fit_experts(config, seeds=arguments.seeds, controls=arguments.controls)
    if arguments.output is not None:
        load_checkpoint(folder.best).save(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
