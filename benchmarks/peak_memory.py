"""Prints the peak resident memory, in bytes, of a process that has handled one clip and nothing else.

python -m benchmarks.peak_memory {nothing,floor,extraction,reference} CLIP FOLDER
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def handle(what: str, clip: Path, folder: Path) -> None:
    """Load what a worker loads, then decode the clip (`floor`), extract it as a worker does, or do the published steps."""
    from dataset.workers import prepare_worker

    prepare_worker()
    if what == "reference":
        from benchmarks.reference_implementation import extract

        extract(clip, folder)
        return
    import dataset.worker_preload  # noqa: F401  (loads what every worker holds)
    from benchmarks.extraction import extract_into
    from benchmarks.floor import decode_only

    if what == "floor":
        decode_only(clip)
    elif what == "extraction":
        extract_into(folder)(clip)


def own_peak_bytes() -> int:
    """Return the peak resident memory of this process.

    On Linux the process's own high-water mark: `ru_maxrss` outlives `exec`, so a child of a large process would report its
    parent's size.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return (
            int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))) * 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    handle(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    print(own_peak_bytes())
