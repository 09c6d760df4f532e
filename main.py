"""Train and evaluate a detector, or evaluate a checkpoint.

python main.py                               train by cfg/cfg.yml, then evaluate the best epoch
python main.py --resume RUN/last.pth         go on with a run, in its own folder
python main.py --checkpoint RUN/best.pth     evaluate only
python main.py --set split.folds=5           cross-validate over trainset and valset, in folds of whole groups
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from utils.command import OneLineParser, run_command
from utils.errors import UsageError


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="YAML config (default: cfg/cfg.yml, or the checkpoint's own when resuming)")
    parser.add_argument("--checkpoint", help="evaluate this checkpoint instead of training")
    parser.add_argument("--resume", metavar="CKPT", help="go on training from this run's last.pth")
    parser.add_argument(
        "--merge_into", metavar="FILE", help="with --checkpoint: fill this submission (video_name,y_pred)"
    )
    parser.add_argument("--output", metavar="FILE", help="where the merged submission goes (default: submit.csv)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="A.B=C", help="override config values; repeatable"
    )
    arguments = parser.parse_args(argv)
    if arguments.checkpoint and arguments.resume:
        raise UsageError("--checkpoint evaluates and --resume trains: give one of them")
    if (arguments.merge_into or arguments.output) and not arguments.checkpoint:
        raise UsageError("--merge_into and --output go with --checkpoint")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for."""
    arguments = parse_arguments(argv)
    from engine.config import load_run_config

    if arguments.checkpoint:
        config = load_run_config(arguments.config, arguments.set, check_model=True)
        from engine.run import run_evaluation

        run_evaluation(config, arguments.checkpoint, merge_into=arguments.merge_into, output=arguments.output)
        return 0
    from engine.resume import resumed_config
    from engine.run import run_training

    if arguments.resume and not arguments.config:
        config = resumed_config(arguments.resume, arguments.set)
    else:
        config = load_run_config(arguments.config, arguments.set, check_model=True)
    if config.split.folds is not None:
        if arguments.resume:
            raise UsageError("cross-validation cannot be resumed: start it anew, or set split.folds=null")
        from engine.cross_validation import run_cross_validation

        run_cross_validation(config)
        return 0
    run_training(config, resume=arguments.resume)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
