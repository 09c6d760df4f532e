"""Fuzz the commands: mutated clips, configs, label files, checkpoints, features and ONNX graphs.

    python -m tests.fuzz --output fuzz_results --count 2000 --seed 0

Every input must get an answer: a row with a reason code, or one sentence. Writes fuzz.csv, fuzz.json and, for each finding,
the input. Exits with 1 if there is a finding. The same seed, count and clips give the same inputs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.files import FILE_KINDS, fuzz_files
from tests.fuzz.media import ClipFuzzer, Limits, limited_checkpoint
from tests.fuzz.originals import clips_in, make_originals
from tests.fuzz.results import Results
from utils import command
from utils.errors import UsageError, WorkError

PER_FOLDER = 100


def build_parser() -> command.OneLineParser:
    """Build the argument parser."""
    parser = command.command_parser(__doc__)
    command.add_output(parser, "folder of the results (default: %(default)s)", default="fuzz_results", metavar="DIR")
    parser.add_argument("--count", type=command.at_least(0), default=2000, help="clips (default: %(default)s)")
    parser.add_argument(
        "--files", type=command.at_least(0), default=200, help="other files of each kind (default: %(default)s)"
    )
    parser.add_argument("--first", type=command.at_least(0), default=0, help="number of the first input")
    parser.add_argument("--seed", type=command.at_least(0), default=0, help="seed of all mutations")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so many minutes (default: %(default)s)")
    parser.add_argument("--clips", metavar="DIR", help="also mutate the small clips of a folder")
    parser.add_argument("--checkpoint", help="default: the shipped detector")
    return parser


def main(argv: Sequence[str]) -> int:
    """Fuzz with the given settings."""
    arguments = build_parser().parse_args(argv)
    output = Path(arguments.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    stop_at = time.monotonic() + 60 * arguments.minutes
    results = Results()
    try:
        for kind in FILE_KINDS if arguments.files else ():
            fuzz_files(kind, range(arguments.first, arguments.first + arguments.files), arguments.seed, output, results)
            command.say(f"{kind}: {len(results.rows)} inputs, {len(results.findings)} findings")
        if arguments.count:
            fuzz_clips(arguments, output, stop_at, results)
    finally:
        results.write(output, {key: value for key, value in vars(arguments).items() if key != "output"})
        for line in results.lines():
            command.say(line)
    command.say(f"{len(results.rows)} inputs, peak memory {results.peak_gb:.2f} GB -> {output}")
    if results.findings:
        raise WorkError(f"{len(results.findings)} findings; the inputs are in {output}")
    return 0


def fuzz_clips(arguments: argparse.Namespace, output: Path, stop_at: float, results: Results) -> None:
    """Fuzz mutated clips until the count or the time is reached."""
    limits = Limits()
    source = Path(arguments.checkpoint) if arguments.checkpoint else None
    checkpoint = limited_checkpoint(source, output / "detector.pth", limits)
    originals = make_originals(output / "originals")
    if arguments.clips:
        if not (own := clips_in(Path(arguments.clips))):
            raise UsageError(f"--clips {arguments.clips}: no small clip in it")
        originals += own
    fuzzer = ClipFuzzer(output, originals, checkpoint, limits)
    end = arguments.first + arguments.count
    for first in range(arguments.first, end, PER_FOLDER):
        if time.monotonic() > stop_at:
            command.say(f"stopped after {arguments.minutes:g} minutes at clip {first}")
            return
        fuzzer.run(arguments.seed, range(first, min(first + PER_FOLDER, end)), results)
        command.say(f"clips: {len(results.rows)} inputs, {len(results.findings)} findings")


if __name__ == "__main__":
    sys.exit(command.run_command(main))
