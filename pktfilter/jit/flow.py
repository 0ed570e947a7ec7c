"""Control flow of one function: blocks, live registers, and values known without the verifier.

Terms
  symbol   a register's value where its computation alone tells it: an offset from r10, a map, a
           function, an address within the only value of a map, a number. It holds on every path,
           since it is a join over the function's own control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .unit import Facts, Insn

#: ("stack", offset from r10), ("map", place), ("func", slot), ("value", place, offset) or
#: ("const", number as an unsigned 64-bit value).
Symbol = tuple[Literal["stack", "map", "func", "const"], int] | tuple[Literal["value"], int, int]
State = tuple[Symbol | None, ...]

REGISTERS = 11
R10 = 10
MASK64 = (1 << 64) - 1
_CALLS = ("CALL", "CALL_KFUNC")
_JUMPS = ("JMP_IMM", "JMP_REG")


def target(insn: Insn) -> int:
    """Where the jump, or the call of a subprogram, goes."""
    far = insn.form in ("JA32", "CALL", "LDDW")
    return insn.at + 1 + (insn.imm if far else insn.off)


def successors(insn: Insn) -> tuple[int, ...]:
    """Slots that may run next, the one after a jump that is not taken last."""
    if insn.form in ("JA", "JA32"):
        return (target(insn),)
    if insn.form in _JUMPS:
        return (target(insn), insn.at + 1)
    if insn.form == "EXIT":
        return ()
    return (insn.at + (2 if insn.form == "LDDW" else 1),)


def written(insn: Insn) -> int:
    """Set of registers, as bits, that the instruction changes."""
    if insn.form in _CALLS:
        return 0x3F
    if insn.form in ("ALU_IMM", "ALU_REG", "UNARY", "SWAP", "LDDW", "LDX", "LOAD_ACQ"):
        return 1 << insn.dst
    if insn.form == "ATOMIC":
        if insn.name.endswith("CMPXCHG"):
            return 1
        if "FETCH" in insn.name or insn.name.endswith("XCHG"):
            return 1 << insn.src
    return 0


def read(insn: Insn, arguments: Callable[[Insn], int]) -> int:
    """Set of registers that the instruction uses; `arguments`: how many a call takes."""
    dst, src = 1 << insn.dst, 1 << insn.src
    form = insn.form
    if form in ("LDX", "LOAD_ACQ"):
        return src
    if form in ("STX", "STORE_REL", "JMP_REG"):
        return dst | src
    if form in ("ST", "JMP_IMM", "UNARY", "SWAP"):
        return dst
    if form == "ATOMIC":
        return dst | src | (1 if insn.name.endswith("CMPXCHG") else 0)
    if form in ("ALU_IMM", "ALU_REG"):
        used = src if form == "ALU_REG" else 0
        return used if insn.name.startswith("MOV") else used | dst
    if form == "EXIT":
        return 1
    if form in _CALLS:
        return ((1 << arguments(insn)) - 1) << 1
    return 0


@dataclass
class Block:
    """Instructions that run one after another, and the slots that follow the last."""

    start: int
    insns: list[Insn] = field(default_factory=list)
    next: tuple[int, ...] = ()
    entry: State = ()
    live_out: int = 0


def step(state: list[Symbol | None], insn: Insn) -> None:
    """The symbols after the instruction, in place."""
    changed = written(insn)
    if not changed:
        return
    result = _result(state, insn)
    if changed == 0x3F:
        state[:6] = [None] * 6
        return
    state[changed.bit_length() - 1] = result


def _result(state: Sequence[Symbol | None], insn: Insn) -> Symbol | None:
    name = insn.name
    if name == "MOV64_IMM":
        return ("const", insn.imm & MASK64)
    if name == "MOV32_IMM":
        return ("const", insn.imm & 0xFFFFFFFF)
    if name == "MOV64_REG":
        return state[insn.src]
    if name == "ADD64_IMM":
        return _moved(state[insn.dst], insn.imm)
    if name == "SUB64_IMM":
        return _moved(state[insn.dst], -insn.imm)
    if name == "ADD64_REG":
        by = state[insn.src]
        if by is not None and by[0] == "const":
            signed = by[1] - (1 << 64) if by[1] >> 63 else by[1]
            return _moved(state[insn.dst], signed)
        return None
    if insn.form == "LDDW":
        return _loaded(insn)
    return None


def _moved(symbol: Symbol | None, by: int) -> Symbol | None:
    if symbol is None:
        return None
    if symbol[0] == "stack":
        return ("stack", symbol[1] + by)
    if symbol[0] == "value":
        return ("value", symbol[1], symbol[2] + by)
    if symbol[0] == "const":
        return ("const", symbol[1] + by & MASK64)
    return None


def _loaded(insn: Insn) -> Symbol | None:
    if insn.name == "LDDW":
        return ("const", insn.imm & 0xFFFFFFFF | (insn.high & 0xFFFFFFFF) << 32)
    if insn.name == "LDDW_MAP_IDX":
        return ("map", insn.imm)
    if insn.name == "LDDW_VALUE_IDX":
        return ("value", insn.imm, insn.high & 0xFFFFFFFF)
    if insn.name == "LDDW_FUNC":
        return ("func", target(insn))
    return None


class Function:
    """The blocks that can be reached from a function's first slot, in an order that starts there."""

    def __init__(
        self,
        start: int,
        insns: Sequence[Insn | None],
        facts: Facts | None,
        arguments: Callable[[Insn], int],
    ) -> None:
        self.start = start
        self.blocks: dict[int, Block] = {}
        self._insns = insns
        self._facts = facts
        self._build()
        self._symbols()
        self._liveness(arguments)

    def reached(self, slot: int) -> bool:
        """Whether a run can come here: inside the program, and not ruled out by the facts."""
        if not 0 <= slot < len(self._insns) or self._insns[slot] is None:
            return False
        return self._facts is None or self._facts[slot][R10][0] != "unreached"

    def _following(self, insn: Insn) -> tuple[int, ...]:
        return tuple(dict.fromkeys(s for s in successors(insn) if self.reached(s)))

    def _build(self) -> None:
        leaders, seen, todo = {self.start}, set(), [self.start]
        while todo:
            slot = todo.pop()
            while slot not in seen:
                seen.add(slot)
                insn = self._insns[slot]
                assert insn is not None
                following = self._following(insn)
                if insn.form in (*_JUMPS, "JA", "JA32"):
                    leaders.update(following)
                if not following:
                    break
                todo.extend(following[:-1])
                slot = following[-1]
        # A slot that two fall into, or that a walk came to from elsewhere, is a leader by its jump.
        for start in sorted(leaders):
            block = Block(start)
            slot = start
            while True:
                insn = self._insns[slot]
                assert insn is not None
                block.insns.append(insn)
                block.next = self._following(insn)
                if insn.form in (*_JUMPS, "JA", "JA32") or not block.next:
                    break
                slot = block.next[0]
                if slot in leaders:
                    break
            self.blocks[start] = block
        if self.start != min(self.blocks):
            self.blocks = {self.start: self.blocks.pop(self.start), **self.blocks}

    def _symbols(self) -> None:
        entry: list[Symbol | None] = [None] * REGISTERS
        entry[R10] = ("stack", 0)
        states: dict[int, list[Symbol | None]] = {self.start: entry}
        todo = [self.start]
        while todo:
            block = self.blocks[todo.pop()]
            state = list(states[block.start])
            for insn in block.insns:
                step(state, insn)
            for slot in block.next:
                known = states.get(slot)
                if known is None:
                    states[slot] = list(state)
                    todo.append(slot)
                    continue
                joined = [a if a == b else None for a, b in zip(known, state, strict=True)]
                if joined != known:
                    states[slot] = joined
                    todo.append(slot)
        for start, block in self.blocks.items():
            block.entry = tuple(states[start])

    def _liveness(self, arguments: Callable[[Insn], int]) -> None:
        effects: dict[int, tuple[int, int]] = {}
        before: dict[int, list[int]] = {start: [] for start in self.blocks}
        for start, block in self.blocks.items():
            used = changed = 0
            for insn in block.insns:
                used |= read(insn, arguments) & ~changed
                changed |= written(insn)
            effects[start] = (used, changed)
            for slot in block.next:
                before[slot].append(start)
        live = dict.fromkeys(self.blocks, 0)
        todo = list(self.blocks)
        while todo:
            start = todo.pop()
            block = self.blocks[start]
            block.live_out = 0
            for slot in block.next:
                block.live_out |= live[slot]
            used, changed = effects[start]
            now = used | block.live_out & ~changed
            if now != live[start]:
                live[start] = now
                todo.extend(before[start])
