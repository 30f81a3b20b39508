"""What a test has left open: other threads of its process open and close files of their own at the same time."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path

MEMORY_FILE = "/memfd:assay"


def opened(*below: Path | str) -> Counter[tuple[str, int]]:
    """Descriptors of this process by path and inode, which tells apart memory files of the same name.

    Args:
        below: What the paths begin with. The memory files of verified models always count.
    """
    wanted = (MEMORY_FILE, *map(str, below))
    found = Counter[tuple[str, int]]()
    for held in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile, by another thread
            path = str(held.readlink())
            if path.startswith(wanted):
                found[path, os.fstat(int(held.name)).st_ino] += 1
    return found
