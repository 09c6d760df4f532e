"""Prints the peak resident memory, in bytes, of a process that has handled one clip and nothing else.

python -m benchmarks.peak_memory {nothing,floor,extraction,seed} CLIP FOLDER
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def handle(what: str, clip: Path, folder: Path) -> None:
    """Load what a worker loads, then decode the clip (`floor`), extract it as a worker does, or do the published steps."""
    from dataset.workers import prepare_worker

    prepare_worker()
    if what == "seed":
        from benchmarks.seed_steps import extract

        extract(clip, folder)
        return
    import dataset.worker_preload  # noqa: F401  (loads what every worker holds)
    from benchmarks.extraction import extract_into
    from benchmarks.floor import decode_only

    if what == "floor":
        decode_only(clip)
    elif what == "extraction":
        extract_into(folder)(clip)


if __name__ == "__main__":
    handle(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
