"""Train and evaluate a detector, or evaluate a checkpoint.

python main.py                               train with cfg/cfg.yml, then evaluate the best epoch
python main.py --resume RUN/last.pth         continue a run in its own folder
python main.py --checkpoint RUN/best.pth     evaluate only
torchrun --nproc_per_node 2 main.py          the same in two processes, one per GPU; see docs/SCALING.md
python main.py --set split.folds=5           cross-validate on trainset and valset, in folds of whole groups
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from utils import command
from utils.errors import UsageError
from utils.torchrun import started_by_torchrun


def build_parser() -> command.OneLineParser:
    """Build the argument parser."""
    parser = command.command_parser(__doc__)
    command.add_config(parser, "cfg/cfg.yml, or the run's own with --resume")
    parser.add_argument("--checkpoint", help="evaluate this checkpoint instead of training")
    parser.add_argument("--resume", metavar="CKPT", help="continue the run of this last.pth")
    merging = "with --checkpoint: merge the scores into this submission (video_name,y_pred)"
    parser.add_argument("--merge_into", metavar="FILE", help=merging)
    command.add_output(parser, "the merged submission (default: submit.csv)", metavar="FILE")
    command.add_set(parser)
    command.add_workers(parser, None, "data.workers and extraction.workers of the config")
    command.add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if arguments.checkpoint and arguments.resume:
        raise UsageError("--checkpoint evaluates and --resume trains; give only one of them")
    if (arguments.merge_into or arguments.output) and not arguments.checkpoint:
        raise UsageError("--merge_into and --output require --checkpoint")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Train, resume, cross-validate or evaluate, depending on the arguments."""
    arguments = parse_arguments(argv)
    if arguments.quiet:
        command.hide_progress_bars()
    from dataset.workers import worker_settings
    from engine.config import load_run_config

    overrides = [*arguments.set, *worker_settings(arguments.workers)]
    if arguments.checkpoint:
        config = load_run_config(arguments.config, overrides, check_model=True)
        from engine.run import run_evaluation

        run_evaluation(config, arguments.checkpoint, merge_into=arguments.merge_into, output=arguments.output)
        return 0
    from engine.resume import resumed_config
    from engine.run import run_training

    if arguments.resume and not arguments.config:
        config = resumed_config(arguments.resume, overrides)
    else:
        config = load_run_config(arguments.config, overrides, check_model=True)
    if config.split.folds is not None:
        if arguments.resume:
            raise UsageError("cross-validation cannot be resumed; start it again, or set split.folds=null")
        from engine.cross_validation import run_cross_validation

        run_cross_validation(config)
        return 0
    run_training(config, resume=arguments.resume)
    return 0


if __name__ == "__main__":
    sys.exit(command.run_command(main, skip_teardown=started_by_torchrun()))
