"""Convert the official metadata of a data set to a label file: video_name,target,type,source,identity,spans.

python utils/import_labels.py --dataset FakeAVCeleb --metadata meta_data.csv --output data/trainset_label.csv
python utils/import_labels.py --dataset LAV-DF --metadata metadata.json --split train --output data/trainset_label.csv
docs/DATASETS.md lists the data sets, the meaning of their metadata, and its pitfalls.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, command_parser, run_command
from utils.errors import UsageError


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument("--dataset", required=True, metavar="NAME", help="MultiFFDV, FakeAVCeleb, LAV-DF, AV-Deepfake1M, "
                        "AV-Deepfake1M++, DFDC, IDForge, KoDF or folders (real/ and fake/)")  # fmt: skip
    parser.add_argument("--metadata", required=True, metavar="FILE", help="the official metadata file, or its folder")
    add_output(parser, "label file to write", required=True, metavar="FILE")
    parser.add_argument("--split", choices=("train", "val", "test"), help="import only this official split")
    parser.add_argument("--video_dir", metavar="DIR", help="search for the clips in sub-folders of this folder")
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Read the metadata, write the label file and print a summary."""
    arguments = parse_arguments(argv)
    from dataset.importers import find_importer, import_labels, write_labels

    importer = find_importer(arguments.dataset)
    metadata = Path(arguments.metadata)
    if not metadata.exists():
        raise UsageError(f"--metadata: no such file or folder: {metadata}")
    imported = importer(metadata)
    table = import_labels(
        imported, split=arguments.split, video_dir=Path(arguments.video_dir) if arguments.video_dir else None
    )
    output = Path(arguments.output)
    if output.is_dir():
        raise UsageError(f"--output is a folder, not a file: {output}")
    try:
        write_labels(output, table)
    except OSError as error:
        raise UsageError(f"--output cannot be written: {output} ({error.strerror or error})") from None
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    counts = table["target"].value_counts()
    unlabelled = f", {counts['']} without a target" if "" in counts else ""
    print(f"{output}: {len(table)} clips, {counts.get('0', 0)} real and {counts.get('1', 0)} fake{unlabelled}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
