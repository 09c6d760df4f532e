"""Serve a web page that scores clips: drop or record a clip, see the verdict and the evidence.

    python app.py
    python app.py --port 8000 --checkpoint checkpoint/default.pth

The page is at http://127.0.0.1:7860 and can be reached from this machine only, unless --host says otherwise. Uploads are
stored in a private temporary folder and deleted after scoring.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from utils import command
from utils.errors import UsageError
from utils.files import short_path


def build_parser() -> command.OneLineParser:
    """Build the argument parser."""
    parser = command.command_parser(__doc__)
    parser.add_argument("--checkpoint", help="default: checkpoint/default.pth, else the newest checkpoint/*/best.pth")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=7860, metavar="N", help="port (default: %(default)s)")
    parser.add_argument("--max_mb", type=positive, default=200.0, metavar="X", help="largest clip in MB (default: 200)")
    parser.add_argument(
        "--max_minutes", type=positive, default=10.0, metavar="X", help="longest clip in minutes (default: 10)"
    )
    parser.add_argument(
        "--max_files", type=command.at_least(1), default=50, metavar="N", help="most clips per batch (default: 50)"
    )
    command.add_device(parser)
    return parser


def port_number(text: str) -> int:
    """Return a port; 0 lets the system choose one."""
    if not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return int(text)


def positive(text: str) -> float:
    """Return a positive number."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
    return float(text)


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C."""
    arguments = parse_arguments(argv)
    if find_spec("gradio") is None:
        raise UsageError("the web page needs packages that are not installed; `make app` installs them and starts it")
    from dataset.workers import LOCAL

    LOCAL.warm_up()
    from engine.detector import Detector
    from engine.web.limits import WebLimits
    from engine.web.server import WebOptions, serve

    detector = Detector.load(arguments.checkpoint, arguments.device)
    command.say(f"checkpoint: {short_path(str(detector.path))}")
    limits = WebLimits(arguments.max_mb, arguments.max_minutes, arguments.max_files)
    serve(detector, WebOptions(arguments.host, arguments.port, limits), command.say)
    return 0


if __name__ == "__main__":
    sys.exit(command.run_command(main, skip_teardown=True))
