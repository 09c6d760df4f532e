"""The plan of a demo set, made before rendering: splits, groups, types, formats and file names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from dataset.demo_set.forge import FORGERS
from dataset.demo_set.performance import TAKE_S
from utils.errors import UsageError

FORMAT_VERSION = 2
REAL = "real"
SPLITS = ("trainset", "valset", "testset")
FAKES_PER_REAL = 2
MIN_CLIPS = 24
DURATION_S = (2.5, 4.5)
_PLAN_STREAM = 1_000_003

FREQUENT_KINDS = ("voice_resynthesis", "splice")
ROUND = (*FREQUENT_KINDS, None, FREQUENT_KINDS[0], None, FREQUENT_KINDS[1], None, FREQUENT_KINDS[0], None)
"""Order of the fake types, repeated until all fakes are assigned. The other types replace the `None` entries, each once.

Only the two frequent kinds leave traces in mel-spectrogram images and covariances. With equal shares, the published
models would miss most fakes, and 160 fakes would not be enough to learn these two kinds.
"""


@dataclass(frozen=True)
class DemoSettings:
    """Settings that determine the content of a demo set.

    Attributes:
        clips: Total number of clips over all splits, at least ``MIN_CLIPS``.
        seed: Seed of all random draws.
        duration_s: Shortest and longest clip in seconds.
        sizes_px: Frame sizes to draw from; even.
    """

    clips: int = 480
    seed: int = 0
    duration_s: tuple[float, float] = DURATION_S
    sizes_px: tuple[int, ...] = (128, 144, 160)

    def __post_init__(self) -> None:
        """Check the ranges and raise ``UsageError`` for an invalid value."""
        if self.clips < MIN_CLIPS:
            raise UsageError(f"a demo set needs at least {MIN_CLIPS} clips, not {self.clips}")
        if self.seed < 0:
            raise UsageError(f"the seed must be a non-negative integer, not {self.seed}")
        shortest_s, longest_s = self.duration_s
        if not 0.4 <= shortest_s <= longest_s <= TAKE_S - 1:
            raise UsageError(f"clip durations must be between 0.4 and {TAKE_S - 1:g} s, not {self.duration_s}")
        if not self.sizes_px or any(size % 2 or size < 32 for size in self.sizes_px):
            raise UsageError(f"frame sizes must be even and at least 32 px, not {self.sizes_px}")


@dataclass(frozen=True)
class ClipPlan:
    """One file: ``type`` is ``real`` or a key of ``FORGERS``; ``index`` seeds its noise and encoding."""

    index: int
    name: str
    type: str

    @property
    def target(self) -> int:
        """1 = fake, 0 = real."""
        return int(self.type != REAL)


@dataclass(frozen=True)
class GroupPlan:
    """A real clip and the fakes made from it, all of one identity, format and split.

    Attributes:
        split: One of ``SPLITS``.
        identity: Number of the identity shown. It appears in no other group, except as a donor.
        donor: Another identity of the same split, whose face, voice or footage the fakes use.
        start_s: Start of the clip within the identity's take.
        donor_start_s: Start of the donor's clip within the donor's take.
        n_frames: Number of frames per clip.
        fps: Frame rate.
        size_px: Side length of the square frames.
        clips: The real clip first.
    """

    split: str
    identity: int
    donor: int
    start_s: float
    donor_start_s: float
    n_frames: int
    fps: int
    size_px: int
    clips: tuple[ClipPlan, ...]

    @property
    def name(self) -> str:
        """Name of the group in the label files."""
        return f"g{self.identity:04d}"


def split_sizes(clips: int) -> dict[str, int]:
    """Return the clips per split: half for training, a quarter each for validation and testing."""
    quarter = round(clips / 4)
    return {"trainset": clips - 2 * quarter, "valset": quarter, "testset": quarter}


def plan_demo_set(settings: DemoSettings) -> list[GroupPlan]:
    """Plan all clips of a set. The result depends on the settings only.

    Each group is one identity with one real clip and up to two fakes of it. Fake types follow the order of `ROUND`.
    Duration, frame rate and size are drawn per group and are therefore the same for both classes.
    """
    rng = np.random.default_rng([settings.seed, _PLAN_STREAM])
    groups: list[GroupPlan] = []
    index = 0
    for split, size in split_sizes(settings.clips).items():
        n_groups = -(-size // (1 + FAKES_PER_REAL))
        kinds = _kinds_in_turn(rng, size - n_groups)
        first_identity = len(groups)
        starts_s = rng.uniform(0, TAKE_S - 0.5 - settings.duration_s[1], n_groups)
        for number in range(n_groups):
            types = [REAL, *kinds[number * FAKES_PER_REAL : (number + 1) * FAKES_PER_REAL]]
            clips = tuple(
                ClipPlan(index + k, _file_name(settings.seed, index + k), kind) for k, kind in enumerate(types)
            )
            index += len(clips)
            donor = int((number + rng.integers(1, n_groups)) % n_groups)
            fps = int(rng.choice([25, 30]))
            groups.append(
                GroupPlan(
                    split=split,
                    identity=first_identity + number,
                    donor=first_identity + donor,
                    start_s=float(starts_s[number]),
                    donor_start_s=float(starts_s[donor]),
                    n_frames=round(fps * rng.uniform(*settings.duration_s)),
                    fps=fps,
                    size_px=int(rng.choice(settings.sizes_px)),
                    clips=clips,
                )
            )
    return groups


def _kinds_in_turn(rng: np.random.Generator, count: int) -> list[str]:
    """Return `count` fake kinds in the order of `ROUND`.

    Neighbours differ, so the fakes of a group have different kinds. Because the length of `ROUND` is odd, the
    pairs differ from round to round.
    """
    others = [str(kind) for kind in rng.permutation([kind for kind in FORGERS if kind not in FREQUENT_KINDS])]
    order = [kind or others.pop() for kind in ROUND]
    return [order[position % len(order)] for position in range(count)]


def _file_name(seed: int, index: int) -> str:
    return hashlib.blake2s(f"{seed}/{index}".encode(), digest_size=8).hexdigest() + ".mp4"
