"""Draw the frame covariances of clips side by side and mark the frames that the video feature selects."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository root, not utils/

from utils.command import OneLineParser, add_output, command_parser, run_command
from utils.errors import UsageError, WorkError
from utils.files import existing_file

MAX_CLIPS = 16


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--video_path", nargs="+", required=True, metavar="F", help="clips to draw, for example a real one and a fake"
    )
    add_output(parser, "image to write", required=True, metavar="FILE.png")
    parser.add_argument("--top_k", type=int, default=128, metavar="K", help="frames to select (default: %(default)s)")
    parser.add_argument(
        "--max_frames", type=int, default=None, metavar="N", help="read only the first N frames of each clip"
    )
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Decode each clip once and draw the figure."""
    arguments = parse_arguments(argv)
    paths = [existing_file(path, "the clip") for path in arguments.video_path]
    output = Path(arguments.output)
    if output.suffix.lower() != ".png":
        raise UsageError(f"--output must end in .png, not {output.name!r}")
    if len(paths) > MAX_CLIPS:
        raise UsageError(f"an image shows at most {MAX_CLIPS} clips, not {len(paths)}")
    for name in ("top_k", "max_frames"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}")
    return _draw(paths, output, arguments.top_k, arguments.max_frames)


def _draw(paths: Sequence[Path], output: Path, top_k: int, max_frames: int | None) -> int:
    from engine.report.covariance_picture import ClipHistograms, draw_covariance
    from utils.features.extract import frame_histograms
    from utils.media.errors import MediaError

    clips = []
    for path in paths:
        try:
            clips.append(ClipHistograms(path.name, frame_histograms(path, max_frames)))
        except MediaError as error:
            raise WorkError(f"{path} cannot be drawn: {error}") from error
    if not any(len(clip.histograms) for clip in clips):
        raise WorkError("none of the clips has video, so there is nothing to draw")
    print(draw_covariance(output, clips, top_k))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
