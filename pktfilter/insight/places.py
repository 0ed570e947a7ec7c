"""What a program's addresses mean: packet, stack, ctx, maps and their values, as a run makes them known."""

from __future__ import annotations

from dataclasses import dataclass

FRAME = 512
_FUNC_TAG, _FUNC_MASK = 0xCA11BAC000000000, 0xFFFFFFFF00000000
#: How far beyond a region's ends a pointer is still told as one into it: it may be computed, not used.
_SLACK = 64


@dataclass(frozen=True, slots=True)
class Edges:
    """Where the packet is: addresses of its metadata, its first byte and its end."""

    meta: int
    data: int
    end: int

    def name(self, address: int) -> str | None:
        """`pkt+N`, `meta+N`, or None."""
        if self.data <= address <= self.end:
            return "pkt_end" if address == self.end else _offset("pkt", address - self.data)
        if self.meta <= address < self.data:
            return _offset("meta", address - self.meta)
        return None


class Places:
    """Regions of one run's memory. Later ones win: memory of a deleted element may be another's."""

    def __init__(self, ctx: int, ctx_size: int, stack: int) -> None:
        self._regions: dict[int, tuple[int, str]] = {ctx: (ctx_size, "ctx")}
        self._stack = stack  # r10 of the outermost frame
        self._objects: dict[int, str] = {}
        self.records = 0  # of ring buffers, so far
        self.conns = 0

    def note(self, address: int, size: int, name: str) -> None:
        """`size` bytes at the address are called so from here on."""
        self._regions.pop(address, None)
        self._regions[address] = (size, name)

    def note_object(self, address: int, name: str) -> None:
        """The address stands for something that is not memory: a map."""
        self._objects[address] = name

    def name(self, value: int, edges: Edges, depth: int) -> str | None:
        """What a register's value points to; None for a number. `depth` is the running frame's."""
        if value in self._objects:
            return self._objects[value]
        if value & _FUNC_MASK == _FUNC_TAG:
            return f"func@{value & ~_FUNC_MASK}"
        known = edges.name(value)
        if known is not None:
            return known
        below = self._stack - value
        if 0 <= below <= (depth + 1) * FRAME:
            own = below == depth * FRAME  # r10; or the lowest byte of the frame above
            frame = depth if own else max(below - 1, 0) // FRAME
            return _offset("fp" if frame == depth else f"fp[{frame}]", frame * FRAME - below)
        for start, (size, name) in reversed(self._regions.items()):
            if start <= value < start + size:
                return _offset(name, value - start)
        for start, (size, name) in reversed(self._regions.items()):
            if start + size <= value < start + size + _SLACK:
                return _offset(name, value - start)
        return None


def _offset(name: str, by: int) -> str:
    return name if not by else f"{name}{by:+d}"
