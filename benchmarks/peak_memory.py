"""Print the peak resident memory, in bytes, of a process that handles one clip.

python -m benchmarks.peak_memory {nothing,floor,extraction,reference} CLIP FOLDER
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def handle(task: str, clip: Path, folder: Path) -> None:
    """Prepare the process as a worker and run one task on the clip.

    Args:
        task: `nothing`, `floor` (decode only), `extraction` (as a worker does it) or `reference` (the published steps).
        clip: the clip.
        folder: where features are written.
    """
    from dataset.worker_pool import prepare_worker

    prepare_worker()
    if task == "reference":
        from benchmarks.reference_implementation import extract

        extract(clip, folder)
        return
    import dataset.worker_preload  # noqa: F401  (imports the modules that every worker imports)
    from benchmarks.extraction import extract_into
    from benchmarks.floor import decode_only

    if task == "floor":
        decode_only(clip)
    elif task == "extraction":
        extract_into(folder)(clip)


def own_peak_bytes() -> int:
    """Return the peak resident memory of this process.

    On Linux this is the process's own high-water mark from `/proc`. `ru_maxrss` survives `exec`: the child of a large
    process would report the size of its parent.
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
