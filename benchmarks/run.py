"""Measure the speed of multi-ffdv on this machine, compared with decoding alone and with the published steps.

python -m benchmarks.run                       # on synthetic clips: 384x384, 6 s, H.264 and MP3
python -m benchmarks.run --clips folder        # on your own clips
python -m benchmarks.run --only extraction stages --output speed.json --markdown speed.md
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.command import OneLineParser, add_output, command_parser, run_command
from utils.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.setting import Setting

BENCHMARKS = (
    "extraction",
    "stages",
    "workers",
    "loading",
    "packed",
    "epoch",
    "scoring",
    "shipped",
    "memory",
    "clip_count",
    "startup",
)
AN_HOUR_S = 3600.0


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument("--clips", type=Path, help="folder of clips with video and audio (default: synthetic clips)")
    parser.add_argument("--limit", type=int, default=10, help="maximum number of clips (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="benchmarks to run")
    parser.add_argument(
        "--repetitions",
        type=int,
        default=5,
        help="repeat each measurement this many times and report the minimum (default: %(default)s)",
    )
    parser.add_argument(
        "--label_rows",
        type=int,
        default=320_000,
        metavar="N",
        help="rows of the start-up benchmark, such as 1000000 (default: %(default)s)",
    )
    parser.add_argument(
        "--long", action="store_true", help="also measure peak memory on an hour of 1080p video (takes half an hour)"
    )
    add_output(parser, "write the rows as JSON", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, help="write the table as Markdown")
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if min(arguments.repetitions, arguments.limit, arguments.label_rows) < 1:
        raise UsageError("--repetitions, --limit and --label_rows must be at least 1")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the chosen benchmarks and print one table."""
    arguments = parse_arguments(argv)
    os.environ["TQDM_DISABLE"] = "1"
    import json
    from dataclasses import asdict

    from benchmarks.report import machine, markdown, text_table
    from utils.files import write_text_atomic

    facts = machine()
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="multi-ffdv-bench-") as scratch:
        setting = prepare(arguments, Path(scratch))
        rows = []
        for name in arguments.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows += measure(name, setting)
    print(text_table(rows))
    if arguments.output is not None:
        content = {"machine": facts, "clips": len(setting.clips), "rows": [asdict(row) for row in rows]}
        write_text_atomic(arguments.output, json.dumps(content, indent=2) + "\n")
    if arguments.markdown is not None:
        write_text_atomic(arguments.markdown, markdown(rows, facts))
    return 0


def prepare(arguments: argparse.Namespace, scratch: Path) -> Setting:
    """Find or make the clips and return the setting.

    Raises:
        UsageError: the folder contains no clip with video and audio.
    """
    from benchmarks.clips import make_clips, whole_clips
    from benchmarks.setting import Setting
    from engine.clip_search import find_videos

    if arguments.clips is None:
        print("making clips ...", file=sys.stderr, flush=True)
        clips = make_clips(scratch)
    else:
        clips = whole_clips(find_videos(arguments.clips), arguments.limit)
        if not clips:
            raise UsageError(f"--clips {arguments.clips}: the folder contains no clip with video and audio")
    lengths_s = Setting.lengths_s + ((AN_HOUR_S,) if arguments.long else ())
    return Setting(
        clips,
        scratch,
        repetitions=arguments.repetitions,
        label_rows=arguments.label_rows,
        lengths_s=lengths_s,
    )


def measure(name: str, setting: Setting) -> list:
    """Run one benchmark and return its rows."""
    import importlib

    return importlib.import_module(f"benchmarks.{name}").run(setting)


if __name__ == "__main__":
    sys.exit(run_command(main))
