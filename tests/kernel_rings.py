"""The reader's side of a ring buffer in the running kernel, by mmap(2) (Documentation/bpf/ringbuf.rst)."""

from __future__ import annotations

import mmap
import struct

from kernel import KernelMap

BUSY, DISCARDED = 1 << 31, 1 << 30


class KernelRing(KernelMap):
    """A ring buffer of `size` bytes that this process reads."""

    def __init__(self, size: int, flags: int = 0) -> None:
        super().__init__("ringbuf", 0, 0, size, flags)
        self._consumer = mmap.mmap(self.fd, mmap.PAGESIZE)
        self._producer = mmap.mmap(
            self.fd, mmap.PAGESIZE + 2 * size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
        )

    def consume(self) -> list[bytes]:
        """Takes out all records up to the first busy one."""
        found = []
        (at,) = struct.unpack_from("<Q", self._consumer)
        while at < struct.unpack_from("<Q", self._producer)[0]:
            place = mmap.PAGESIZE + at % self.max_entries
            (head,) = struct.unpack_from("<I", self._producer, place)
            if head & BUSY:
                break
            size = head & ~DISCARDED
            if not head & DISCARDED:
                found.append(bytes(self._producer[place + 8 : place + 8 + size]))
            at += (size + 8 + 7) & ~7
        struct.pack_into("<Q", self._consumer, 0, at)
        return found

    def close(self) -> None:
        """Unmaps and closes."""
        self._consumer.close()
        self._producer.close()
        super().close()
