"""Measure the start-up time of the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.clips import SPLIT
from benchmarks.measure import Cost, compare
from benchmarks.setting import Row, Setting, row
from dataset.config import LabelNames, VideoDirs
from dataset.manifest import Row as ClipRow
from dataset.manifest import write_manifest
from dataset.splits import Split, open_split
from utils.features.clip import ClipFacts
from utils.features.config import FeatureConfig

REPOSITORY = Path(__file__).resolve().parents[1]
READ_AND_LIST = """
import os, sys, pandas
for table in sys.argv[1:3]:
    pandas.read_csv(table)
for folder in sys.argv[3:]:
    os.listdir(folder)
"""


def python(*arguments: str | Path) -> None:
    """Run this Python interpreter with the given arguments in a new process."""
    subprocess.run([sys.executable, *map(str, arguments)], cwd=REPOSITORY, check=True, capture_output=True)


def extracted_split(root: Path, count: int) -> Split:
    """Create a split of `count` clips with a complete manifest and empty feature files."""
    split = open_split(SPLIT, root, LabelNames(), VideoDirs(), FeatureConfig())
    names = [f"{index:032x}.mp4" for index in range(count)]
    split.store.root.mkdir(parents=True)
    rows = [f"{name},{index % 2}" for index, name in enumerate(names)]
    split.labels.write_text("\n".join(["video_name,target", *rows]) + "\n", encoding="utf-8")
    for feature in split.store.stored_features():
        split.store.path(feature.name, names[0]).parent.mkdir()
        for name in names:
            os.close(os.open(split.store.path(feature.name, name), os.O_CREAT | os.O_WRONLY))
    facts = ClipFacts("ok", "", 7.4, 221, 30.0, True)
    split.store.write_config()
    write_manifest(split.store.root / "extraction.csv", names, dict.fromkeys(names, ClipRow(facts, 0.1)))
    return split


def run(setting: Setting) -> list[Row]:
    """Time `--help` and the extraction command on a split that is already extracted.

    The floors are the import of numpy and pandas, and reading the tables and listing the folders of the split.
    """
    split = extracted_split(setting.scratch / "startup", setting.label_rows)
    tables = [split.labels, split.store.root / "extraction.csv"]
    folders = [path for path in split.store.root.iterdir() if path.is_dir()]
    extract = ["utils/extract_ffdv.py", "--data_root", split.labels.parent, "--splits", SPLIT, "--quiet"]
    tasks = {
        "import numpy and pandas": lambda _: python("-c", "import numpy, pandas"),
        "inference.py --help": lambda _: python("inference.py", "--help"),
        "main.py --help": lambda _: python("main.py", "--help"),
        "read and list": lambda _: python("-c", READ_AND_LIST, *tables, *folders),
        "extract_ffdv.py": lambda _: python(*extract),
    }
    costs = compare(tasks, [None], setting.few_repetitions, warm_up=False)
    return startup_rows(costs, setting.label_rows)


def startup_rows(costs: dict[str, Cost], label_rows: int) -> list[Row]:
    """Return rows of processor and wall-clock seconds. Each group has its own floor."""
    groups = {
        "import numpy and pandas": ("import numpy and pandas", "import numpy and pandas"),
        "inference.py --help": ("inference.py --help", "import numpy and pandas"),
        "main.py --help": ("main.py --help", "import numpy and pandas"),
        "read and list": (
            f"read the tables of {label_rows} extracted clips with pandas, list the folders",
            "read and list",
        ),
        "extract_ffdv.py": (f"extract_ffdv.py, {label_rows} clips already extracted", "read and list"),
    }
    rows = []
    for kind, seconds in (("processor", "cpu_s"), ("clock", "wall_s")):
        rows += [
            row(
                "start-up", f"{title}, {kind}", getattr(costs[name], seconds), "s", floor=getattr(costs[floor], seconds)
            )
            for name, (title, floor) in groups.items()
        ]
    return rows
