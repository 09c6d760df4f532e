"""Score one clip or a folder of clips.

    python inference.py --video_path clip.mp4
    python inference.py --video_dir folder --output scores.csv

Prints a table and writes it to the output file. A score is the probability of fake; clips that cannot be judged are
`unscored` and say why. An interrupted run leaves what it has scored; clips that it did not reach are `pending`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.command import OneLineParser, leave, run_command, say
from utils.errors import UsageError, WorkError


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--video_path", help="one clip")
    what.add_argument("--video_dir", help="a folder, searched with its sub-folders")
    parser.add_argument("--checkpoint", help="default: checkpoint/default.pth, else the newest checkpoint/*/best.pth")
    parser.add_argument("--output", default="scores.csv", help="scores.csv or scores.json (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="decoding processes (default: one per core)")
    parser.add_argument("--batch_size", type=int, default=8, help="clips per forward pass (default: %(default)s)")
    parser.add_argument("--tta", type=int, default=1, choices=(1, 2, 4), help="views of the mel picture per clip")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: %(default)s)")
    parser.add_argument("--report", metavar="DIR", help="also write DIR/report.html about the scored clips")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args(argv)
    if Path(arguments.output).suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--output {arguments.output}: expected a name that ends in .csv or .json")
    if arguments.workers < 0 or arguments.batch_size < 1:
        raise UsageError("--workers is 0 or more, --batch_size 1 or more")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Score what the command line names."""
    arguments = parse_arguments(argv)
    from dataset.workers import warm_up

    warm_up()
    from engine.checkpoint import load_checkpoint
    from engine.predict import PredictOptions, chosen_videos, default_checkpoint, format_scores, score_to_files
    from engine.run_folder import check_output

    paths = chosen_videos(arguments.video_path, arguments.video_dir)
    checkpoint_path = Path(arguments.checkpoint or default_checkpoint())
    checkpoint = load_checkpoint(checkpoint_path)
    say(f"checkpoint: {checkpoint_path}")
    options = PredictOptions(arguments.workers, arguments.batch_size, arguments.tta, arguments.device, arguments.quiet)
    output = check_output(arguments.output, "--output")
    report = check_output(Path(arguments.report) / "report.html", "--report") if arguments.report else None

    table = score_to_files(paths, checkpoint, checkpoint_path, options, output, report)
    scored = int((table["verdict"] != "unscored").sum())
    say(format_scores(table))
    if report is not None:
        say(f"report: {report}")
    say(f"{len(table)} clips, {scored} scored -> {arguments.output}")
    if not scored:
        raise WorkError(f"no clip could be scored; the reasons are in {arguments.output}")
    return 0


if __name__ == "__main__":
    leave(run_command(main))
