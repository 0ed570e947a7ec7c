"""eBPF bytecode as it grows: instructions, labels, and jumps that reach them."""

from __future__ import annotations

import struct

from .._core.tables import OPS

_BY_NAME = {op.name: op for op in OPS}
_REACH = 32767  # instructions, of a jump with a 16-bit offset
#: What a conditional jump becomes when it is to be taken in the other case; JSET has no such form.
_INVERSE = {"JEQ": "JNE", "JNE": "JEQ", "JGT": "JLE", "JLE": "JGT", "JLT": "JGE", "JGE": "JLT"}


class Label:
    """A place in the code, bound once."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: int | None = None


class Code:
    """A program under construction; `finish` gives the bytes."""

    def __init__(self) -> None:
        #: (op name, dst, src, off, imm, label or None)
        self._insns: list[tuple[str, int, int, int, int, Label | None]] = []

    def __len__(self) -> int:
        return len(self._insns)

    def bind(self, label: Label) -> None:
        """The label is the place of the next instruction."""
        label.at = len(self._insns)

    def add(self, op: str, dst: int = 0, src: int = 0, *, off: int = 0, imm: int = 0) -> None:
        """One instruction by its name in insn.def; `imm` signed or unsigned 32 bits."""
        self._insns.append((op, dst, src, off, imm, None))

    def jump(self, op: str, label: Label, dst: int = 0, src: int = 0, *, imm: int = 0) -> None:
        """A jump ("JA", or a conditional one by name) to a label."""
        self._insns.append((op, dst, src, 0, imm, label))

    def last_jump(self) -> Label | None:
        """Where the last instruction goes when it is a plain jump."""
        op, *_, label = self._insns[-1] if self._insns else ("", None)
        return label if op == "JA" else None

    def drop_last(self) -> None:
        """Takes the last instruction back; labels bound to it are those of what comes next."""
        self._insns.pop()

    def used(self, label: Label) -> bool:
        """Whether any jump goes there."""
        return any(insn[5] is label for insn in self._insns)

    def finish(self) -> bytes:
        """The bytecode. Jumps that a 16-bit offset does not reach go over a 32-bit one."""
        far: set[int] = set()
        while True:
            places = self._places(far)
            more = {
                at
                for at, insn in enumerate(self._insns)
                if insn[5] is not None
                and at not in far
                and abs(self._distance(at, places)) > _REACH
            }
            if not more:
                return b"".join(
                    self._bytes(at, places, at in far) for at in range(len(self._insns))
                )
            far |= more

    def _places(self, far: set[int]) -> list[int]:
        places, place = [], 0
        for at, insn in enumerate(self._insns):
            places.append(place)
            place += _far_length(insn[0]) if at in far else 1
        return [*places, place]

    def _distance(self, at: int, places: list[int]) -> int:
        label = self._insns[at][5]
        assert label is not None and label.at is not None, "a jump to a label that is nowhere"
        return places[label.at] - places[at] - 1

    def _bytes(self, at: int, places: list[int], far: bool) -> bytes:
        op, dst, src, off, imm, label = self._insns[at]
        if label is None:
            return _encode(op, dst, src, off, imm)
        distance = self._distance(at, places)
        if not far:
            return _encode(op, dst, src, distance, imm)
        length = _far_length(op)
        goto = _encode("JA32", 0, 0, 0, distance - (length - 1))
        if op == "JA":
            return goto
        name, _, form = op.partition("_")
        if name[:-2] in _INVERSE:
            return _encode(f"{_INVERSE[name[:-2]]}{name[-2:]}_{form}", dst, src, 1, imm) + goto
        return _encode(op, dst, src, 1, imm) + _encode("JA", 0, 0, 1, 0) + goto


def _far_length(op: str) -> int:
    return 1 if op == "JA" else 3 if op.startswith("JSET") else 2


def _encode(name: str, dst: int, src: int, off: int, imm: int) -> bytes:
    op = _BY_NAME[name]
    if op.selector == "imm":
        imm = op.value
    elif op.selector == "off":
        off = op.value
    return struct.pack("<BBhI", op.opcode, src << 4 | dst, off, imm & 0xFFFFFFFF)
