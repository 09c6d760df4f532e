"""Extract the features of all labelled clips: mel-spectrogram images, frame covariances, waveforms and others.

Writes `<data root>/<split>_raw/`; see docs/CONTRACT.md. A later run extracts only the missing features.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

import argparse
import json
import re

from utils.command import (
    OneLineParser,
    add_config,
    add_engine,
    add_quiet,
    add_set,
    add_workers,
    command_parser,
    log_to_stderr,
    run_command,
)
from utils.errors import UsageError, WorkError

if TYPE_CHECKING:
    from dataset.manifest import Shard
    from dataset.splits import Split
    from engine.config import RunConfig


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    add_config(parser)
    parser.add_argument("--data_root", metavar="DIR", help="data root (default: extract_path of the config)")
    parser.add_argument("--splits", nargs="+", help="splits to extract (default: all with a label file)")
    add_workers(parser, None, "extraction.workers of the config")
    add_engine(parser)
    parser.add_argument("--shard", help="I/N: extract only part I of N (1 <= I <= N), for job arrays")
    parser.add_argument("--overwrite", action="store_true", help="extract all clips again")
    parser.add_argument(
        "--min_coverage", type=float, default=0.0, help="exit with code 1 if a smaller share of clips has features"
    )
    add_set(parser)
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Extract each split and print a summary line for it."""
    arguments = parse_arguments(argv)
    log_to_stderr()
    from dataset.workers import open_engine, worker_settings

    engine = open_engine(arguments.engine)
    engine.warm_up()
    from dataset.extraction import extract_split
    from dataset.remote_root import open_root
    from engine.config import RunConfig, load_run_config

    overrides = list(arguments.set)
    if arguments.data_root is not None:
        # Quote the path as JSON. Unquoted, YAML could parse it as another type.
        overrides.append(f"extract_path={json.dumps(arguments.data_root)}")
    overrides += worker_settings(arguments.workers)
    config = load_run_config(arguments.config, overrides)
    if config.model.get("name") != RunConfig().model["name"]:
        # Other models may need further features. The default model does not, so skip its check, which imports torch.
        config = load_run_config(arguments.config, overrides, check_model=True)
    shard = parse_shard(arguments.shard)
    if not 0.0 <= arguments.min_coverage <= 1.0:
        raise UsageError(f"--min_coverage {arguments.min_coverage}: expected a share between 0 and 1")
    short, n_clips, n_done = [], 0, 0
    options = {"shard": shard, "overwrite": arguments.overwrite, "quiet": arguments.quiet, "engine": engine}
    with open_root(config.extract_path, config.label_name.model_dump().values()) as root:
        config = config.model_copy(update={"extract_path": str(root.folder)})
        for chosen in chosen_splits(config, arguments.splits):
            with root.opened(chosen) as split:
                summary = extract_split(split, config.extraction, **options)
            print(summary.sentence(split.name), flush=True)
            n_clips, n_done = n_clips + summary.n_clips, n_done + summary.n_done
            if summary.coverage < arguments.min_coverage:
                short.append(f"{split.name} {summary.coverage:.3f}")
    if short:
        raise WorkError(f"coverage below --min_coverage {arguments.min_coverage}: {', '.join(short)}")
    if n_clips and not n_done:
        raise WorkError(
            f"none of the {n_clips} clips could be extracted; the reasons are in the extraction.csv of each split"
        )
    return 0


def chosen_splits(config: RunConfig, names: list[str] | None) -> list[Split]:
    """Return the named splits, or all splits with a label file if `names` is empty."""
    from dataset.splits import SPLITS, open_split
    from engine.config import EMPTY_DATA_HINT, nearest

    for name in names or []:
        if name not in SPLITS:
            raise UsageError(f"--splits {name}: expected one of {', '.join(SPLITS)}{nearest(name, SPLITS)}")
    root, data = config.data_root, config.data
    splits = [
        open_split(name, root, config.label_name, data.video_dir, config.features, data.raw_suffix)
        for name in names or SPLITS
    ]
    if not names:
        splits = [split for split in splits if split.labels.is_file()]
    if not splits:
        files = ", ".join(config.label_name.model_dump().values())
        raise UsageError(f"{config.data_root} contains none of the label files {files}; {EMPTY_DATA_HINT}")
    return splits


def parse_shard(text: str | None) -> Shard:
    """Parse `I/N`. `None` selects all clips."""
    from dataset.manifest import Shard

    if text is None:
        return Shard()
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text!r}: expected I/N with 1 <= I <= N, such as 1/8")
    return Shard(int(match[1]), int(match[2]))


if __name__ == "__main__":
    sys.exit(run_command(main))
