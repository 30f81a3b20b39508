"""Verified bytes as a file object, for libraries that take one; nothing is copied."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class ViewFile(io.RawIOBase):
    """A read-only file over bytes in memory.

    Args:
        view: The bytes, one dimension of unsigned bytes.
    """

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer from the present place; 0 at the end."""
        target = memoryview(buffer).cast("B")
        count = max(0, min(target.nbytes, self._view.nbytes - self._at))
        target[:count] = self._view[self._at : self._at + count]
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place and return it.

        Raises:
            ValueError: The place lies before the first byte.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._view.nbytes}[whence]
        if base + offset < 0:
            raise ValueError("there is nothing before the first byte")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The present place."""
        return self._at
