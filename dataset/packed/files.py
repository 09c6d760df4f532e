"""Files that grow in blocks, each with a checksum."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO

from dataset.packed.index import PackedFile


class AppendedFile:
    """A file that grows in blocks, each with a checksum."""

    def __init__(self, path: Path, done: PackedFile) -> None:
        """Open the file after its complete blocks and drop anything behind them."""
        self.path = path
        self._ends, self._checksums = list(done.ends), list(done.checksums)
        self._size, self._checksum = done.size, 0
        if not done.size:
            # A reader that has mapped a damaged file of this name keeps it.
            path.unlink(missing_ok=True)
        self._stream: BinaryIO = open(path, "r+b" if done.size else "wb")  # noqa: SIM115  (closed by `close`)
        self._stream.truncate(done.size)
        self._stream.seek(done.size)

    def write(self, content: bytes) -> None:
        """Append to the current block."""
        self._stream.write(content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._size += len(content)

    def end_block(self) -> PackedFile:
        """End the current block and return the description of the file."""
        self._stream.flush()
        self._ends.append(self._size)
        self._checksums.append(self._checksum)
        self._checksum = 0
        return PackedFile(name=self.path.name, ends=self._ends, checksums=self._checksums)

    def close(self, *, sync: bool = False) -> None:
        """Close the file; with `sync`, wait until it is on the disk."""
        if sync:
            os.fsync(self._stream.fileno())
        self._stream.close()
