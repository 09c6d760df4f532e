"""Pack the extracted features of whole splits into a few memory-mapped files, which training reads with data.source=packed.

Writes `<data root>/<split>_raw/packed/`; see docs/SCALING.md. An interrupted run continues where it was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

import argparse
import json

from utils.command import (
    OneLineParser,
    add_config,
    add_quiet,
    add_set,
    add_workers,
    command_parser,
    log_to_stderr,
    run_command,
)
from utils.errors import UsageError
from utils.remote import is_url


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add_config(parser)
    parser.add_argument("--data_root", metavar="DIR", help="data root (default: extract_path of the config)")
    parser.add_argument("--splits", nargs="+", help="splits to pack (default: all with a label file)")
    add_workers(parser, None, "data.workers of the config")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="do not pack: check that the packs are up to date, and all their checksums",
    )
    uploading = "also upload packs and label files to this data root, such as s3://bucket/data"
    parser.add_argument("--upload", metavar="URL", help=uploading)
    add_set(parser)
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    arguments = build_parser().parse_args(argv)
    if arguments.upload is not None:
        if arguments.verify:
            raise UsageError("--verify writes nothing; give only one of --verify and --upload")
        if not is_url(arguments.upload):
            raise UsageError(f"--upload {arguments.upload}: expected a URL such as s3://bucket/data or file:///folder")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Pack or verify each split and print a line for it."""
    arguments = parse_arguments(argv)
    log_to_stderr()
    from dataset.labels import read_labels
    from dataset.packed.read import PackedFeatures, verify_checksums
    from dataset.packed.remote import upload_pack
    from dataset.packed.write import pack_split
    from dataset.workers import worker_settings
    from engine.config import load_run_config
    from utils.extract_ffdv import chosen_splits

    overrides = list(arguments.set)
    if arguments.data_root is not None:
        # Quote the path as JSON. Unquoted, YAML could parse it as another type.
        overrides.append(f"extract_path={json.dumps(arguments.data_root)}")
    overrides += worker_settings(arguments.workers)
    config = load_run_config(arguments.config, overrides, check_model=True)
    for split in chosen_splits(config, arguments.splits):
        if arguments.verify:
            names = read_labels(split.labels)["video_name"].tolist()
            verify_checksums(PackedFeatures(split, names))
            print(f"{split.name}: {len(names)} clips, all checksums are correct", flush=True)
        else:
            summary = pack_split(split, workers=config.data.workers, quiet=arguments.quiet)
            print(summary.sentence(split.name), flush=True)
            if arguments.upload is not None:
                upload_pack(split, arguments.upload)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
