"""Example clips of the web page: clips of the demo set, drawn and spoken by the code. They show no person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset.demo_set.build import make_group
from dataset.demo_set.plan import REAL, DemoSettings, GroupPlan, plan_demo_set
from dataset.workers import run_in_worker
from utils.errors import WorkError

SETTINGS = DemoSettings(clips=24)
TIMEOUT_S, MEMORY_GB = 120.0, 4.0


@dataclass(frozen=True)
class Example:
    """One example: the type of its forgery in the demo set, and its name on the page."""

    type: str
    label: str


EXAMPLES = (
    Example(REAL, "Unaltered"),
    Example("splice", "Spliced words"),
    Example("voice_resynthesis", "Copied voice"),
    Example("face_swap", "Swapped face"),
    Example("lip_sync", "Redrawn lips"),
)


def example_path(folder: Path, example: Example) -> Path:
    """Return the clip of an example, which is generated if it is missing.

    Args:
        folder: folder of the examples.
        example: the example.

    Raises:
        WorkError: the clip could not be generated.
    """
    group = next(group for group in plan_demo_set(SETTINGS) if example.type in types_of(group))
    clip = next(clip for clip in group.clips if clip.type == example.type)
    made, final = folder / group.split / clip.name, folder / f"example_{example.type}.mp4"
    if not final.exists():
        made.parent.mkdir(exist_ok=True)
        done, reason = run_in_worker(make_clips, (folder, group), timeout_s=TIMEOUT_S, memory_gb=MEMORY_GB)
        if done is None:
            raise WorkError(f"the example could not be generated ({reason})")
        made.replace(final)
    return final


def types_of(group: GroupPlan) -> Iterator[str]:
    """Yield the types of the clips of a group."""
    return (clip.type for clip in group.clips)


def make_clips(task: tuple[Path, GroupPlan]) -> int:
    """Generate the missing clips of a group in a worker; return their number."""
    folder, group = task
    return make_group(folder, SETTINGS, group)
