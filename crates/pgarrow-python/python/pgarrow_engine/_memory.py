"""Memory that several reads share."""

from __future__ import annotations

from . import _native
from ._options import size


class Memory:
    """Bytes for buffers and batches, which the reads and exports of several connections share.

    Args:
        limit: Bytes as a number, or a text as in `"256M"`. At least 16 MiB.
    """

    def __init__(self, limit: str | int) -> None:
        self._native = _native.Memory(size("limit", limit))

    @property
    def limit(self) -> int:
        """All bytes."""
        return self._native.limit

    @property
    def free(self) -> int:
        """Bytes that no read has."""
        return self._native.free

    @property
    def used(self) -> int:
        """Bytes that reads have."""
        return self._native.used

    @property
    def peak(self) -> int:
        """The most bytes that reads had at once."""
        return self._native.peak

    def __repr__(self) -> str:
        return repr(self._native)
