"""Run every step on the built-in demo set: generate it, extract features, train two models, evaluate, score a folder.

Each step is a command of the project and is printed before it runs. Finished steps of an earlier run are reused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # the repository root, not utils/

import argparse
import json
import shlex
import subprocess
import time

from utils.command import OneLineParser, add_quiet, add_set, add_workers, command_parser, run_command
from utils.errors import WorkError

RECIPES = {"ffdv_cov": "cfg/demo.yml", "mel_baseline": "cfg/demo_mel.yml"}
INPUTS = {
    "ffdv_cov": "the histogram covariance and the mel-spectrogram, but no spatial layout and no lip synchronisation",
    "mel_baseline": "only the mel-spectrogram, not the video",
}


def build_parser() -> OneLineParser:
    """Build the argument parser."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--data_root", type=Path, default=ROOT / "data" / "demo", help="folder of the demo set (default: %(default)s)"
    )
    parser.add_argument(
        "--output_dir", type=Path, default=ROOT / "checkpoint", help="folder of the runs (default: %(default)s)"
    )
    parser.add_argument("--clips", type=int, default=480, help="size of the demo set (default: %(default)s)")
    add_set(parser, more="; applies to both recipes")
    add_workers(parser, None, "the default of each step")
    add_quiet(parser)
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    return build_parser().parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run all steps and print the table of results."""
    arguments = parse_arguments(argv)
    started = time.monotonic()
    root, output_dir = arguments.data_root.resolve(), arguments.output_dir.resolve()
    hidden = ["--quiet"] * arguments.quiet
    common = hidden if arguments.workers is None else [*hidden, "--workers", str(arguments.workers)]
    size = ["--clips", str(arguments.clips)]
    step("make the demo set", "utils/make_demo_set.py", "--output", str(root), *size, *common)
    step("extract its features", "utils/extract_ffdv.py", "--data_root", str(root), *common)
    runs: dict[str, Path] = {}
    for name, recipe in RECIPES.items():
        overrides = [f"extract_path={root}", f"output_dir={output_dir}", *arguments.set]
        flags = ["--set", *overrides, *hidden]
        run = finished_run(ROOT / recipe, overrides, output_dir)
        if run is None:
            # main.py writes prediction.txt.csv to its working directory. In `root` it replaces no file of the user.
            step(f"train and evaluate {name}", "main.py", "--config", str(ROOT / recipe), *flags, cwd=root)
            run = finished_run(ROOT / recipe, overrides, output_dir)
        else:
            print(f"\n# {name}: reusing {run}", flush=True)
        if run is None:
            raise WorkError(f"{name} was trained, but no finished run of its config is in {output_dir}")
        runs[name] = run
    best = runs["ffdv_cov"] / "best.pth"
    scores = root / "scores.csv"
    flags = ["--checkpoint", str(best), "--output", str(scores), "--video_dir", str(root / "testset")]
    workers = [] if arguments.workers is None else ["--workers", str(arguments.workers)]
    step("score a folder", "inference.py", *flags, "--quiet", *workers, quiet=True)
    print(f"\n{format_table({name: read_metrics(run) for name, run in runs.items()})}")
    print(repeatability())
    for name, run in runs.items():
        print(f"report of {name}: {run / 'report.html'}")
    print(f"scores of the test folder: {scores}")
    print(f"done in {time.monotonic() - started:.0f} s")
    return 0


def step(title: str, script: str, *arguments: str, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Print a command and run it. `quiet` hides its output.

    Raises:
        WorkError: the command failed.
    """
    print(f"\n# {title}\n$ {shlex.join(['python', script, *arguments])}", flush=True)
    command = [sys.executable, str(ROOT / script), *arguments]
    code = subprocess.run(command, cwd=cwd, check=False, stdout=subprocess.DEVNULL if quiet else None).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise WorkError(f"the step ended with exit code {code}: {title}")


def finished_run(recipe: Path, overrides: list[str], output_dir: Path) -> Path | None:
    """Return the newest finished run of exactly this configuration, or `None`."""
    from engine.config import load_run_config

    wanted = load_run_config(recipe, overrides, check_model=True)
    for metrics in sorted(output_dir.glob(f"*_{wanted.name}/metrics.json"), reverse=True):
        config = metrics.parent / "config.yml"
        if config.is_file() and config.read_text(encoding="utf-8") == wanted.to_yaml():
            return metrics.parent
    return None


def read_metrics(run: Path) -> dict:
    """Read the `metrics.json` of a run."""
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def format_table(metrics: dict[str, dict]) -> str:
    """Format the AUC per fake type and overall as a table with one column per model."""
    first = next(iter(metrics.values()))
    lines = [f"AUC on the demo test split (95 % interval; each type against all {first['n_real']} real clips)"]
    lines.append(f"{'type':<20}{'fakes':>6}  " + "".join(f"{name:<24}" for name in metrics))
    for kind, row in sorted(first["per_type"].items()):
        cells = [in_brackets(figures["per_type"][kind], "auc") for figures in metrics.values()]
        lines.append(f"{kind:<20}{row['n']:>6}  " + "".join(f"{cell:<24}" for cell in cells))
    cells = [in_brackets(figures["auc"], "value") for figures in metrics.values()]
    lines.append(f"{'all':<20}{first['n_fake']:>6}  " + "".join(f"{cell:<24}" for cell in cells))
    lines += [f"{name} uses {INPUTS[name]}." for name in metrics]
    return "\n".join(lines)


def repeatability() -> str:
    """Return a note on the conditions under which the figures are reproducible."""
    import torch

    return (
        "On this machine, the figures are reproducible with the same number of threads "
        f"({torch.get_num_threads()} now, set by OMP_NUM_THREADS). With another CPU type or thread count, rounding differs "
        "in the generated clips and in training, and the AUC of a single type changes by a few hundredths."
    )


def in_brackets(figures: dict, key: str) -> str:
    """Return `0.93 [0.88, 0.97]`, or `n/a` for a metric that could not be computed."""
    if figures[key] is None:
        return "n/a"
    if figures["low"] is None:
        return f"{figures[key]:.2f}"
    return f"{figures[key]:.2f} [{figures['low']:.2f}, {figures['high']:.2f}]"


if __name__ == "__main__":
    sys.exit(run_command(main))
