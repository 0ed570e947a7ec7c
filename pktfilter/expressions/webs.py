"""Which loaded values are only compared, and may stay in the byte order of the packet.

Invariant: in a web (loads of A and the masks of them that can be in A at a common reader) that is
raw, everything that reads A is a comparison with a constant, a test of bits or a mask by a constant:
the constants can be swapped instead of the value.
"""

from __future__ import annotations

import sys

from .cbpf import Step
from .flow import Flow, changes_a, forward, reads


def swapped(value: int, size: int) -> int:
    """The number that a plain load of `size` bytes gives where the packet holds `value`."""
    mask = (1 << 8 * size) - 1
    return int.from_bytes((value & mask).to_bytes(size, "big"), sys.byteorder)


def raw_sizes(flow: Flow, *, family_first: bool) -> list[int]:
    """By instruction: the size in bytes of the raw value that it reads or makes in A; 0: none is."""
    count = len(flow.steps)
    if flow.loops or sys.byteorder != "little":
        return [0] * count
    return _Webs(flow, family_first=family_first).sizes()


class _Webs:
    """Union-find over the instructions that make A."""

    def __init__(self, flow: Flow, *, family_first: bool) -> None:
        self._flow, self._family_first = flow, family_first
        count = len(flow.steps)
        self._parent = list(range(count))
        self._size = [0] * count
        self._bad = [False] * count
        self._live = _live_a(flow)
        self._after: list[int | None] = [None] * count  # the web in A behind each instruction
        self._at: list[int | None] = [None] * count
        forward(flow, self._visit)

    def sizes(self) -> list[int]:
        out = []
        for web in self._at:
            root = None if web is None else self._find(web)
            out.append(0 if root is None or self._bad[root] else self._size[root])
        return out

    def _find(self, web: int) -> int:
        while self._parent[web] != web:
            self._parent[web] = self._parent[self._parent[web]]
            web = self._parent[web]
        return web

    def _unite(self, one: int, other: int) -> int:
        one, other = self._find(one), self._find(other)
        if one != other:
            self._parent[other] = one
            self._bad[one] |= self._bad[other] or self._size[one] != self._size[other]
        return one

    def _visit(self, at: int, before: list[int]) -> None:
        flow, step = self._flow, self._flow.steps[at]
        web: int | None = None
        if self._live[at] and before:
            found = [self._after[p] for p in before]
            known = [each for each in found if each is not None]
            web = known[0] if known else None
            for each in known[1:]:
                web = self._unite(known[0], each)
            if web is not None and len(known) < len(found):
                self._bad[self._find(web)] = True
        self._after[at] = web
        if flow.dead[at]:
            return
        if web is not None and "A" in reads(step) and not _understands(step):
            self._bad[self._find(web)] = True
        self._at[at] = web
        if not changes_a(step):
            return
        self._after[at] = at
        if self._family_first and is_family(step):
            self._bad[at] = True
        elif step.op in ("abs", "ind") and step.size > 1:
            self._size[at] = step.size
            self._at[at] = at
        elif step.op == "and" and not step.by_x and web is not None:
            self._size[at] = self._size[self._find(web)]
            self._after[at] = self._unite(web, at)
        else:
            self._bad[at] = True


def is_family(step: Step) -> bool:
    """The first four bytes."""
    return step.op == "abs" and step.k == 0 and step.size == 4


def _understands(step: Step) -> bool:
    return not step.by_x and step.op in ("jeq", "jset", "and")


def _live_a(flow: Flow) -> list[bool]:
    """Whether what is in A before an instruction is read by it or behind it."""
    live = [False] * len(flow.steps)
    for at in reversed(range(len(flow.steps))):
        step = flow.steps[at]
        if flow.dead[at]:
            continue
        if "A" in reads(step):
            live[at] = True
        elif not changes_a(step):
            live[at] = any(live[target] for target in step.after)
    return live
