"""The text of one function: registers, stack and addresses; the instructions are in ops_*.py.

Terms
  register  an i64; between blocks it lives in an alloca that LLVM turns into values, within a block
            it is the name of its last value, or a symbol (flow.py), of which text is made when it
            is needed as a number
  region    what memory an access may touch, which decides how it is written

Rules, which keep the IR free of undefined behaviour whatever other threads do
  L1 Packet and stack belong to the run: plain accesses, aligned only as proved.
  L2 Everything else, and everything of which it is not proved, is shared: `unordered` atomics where
     the natural alignment is proved, otherwise volatile accesses of alignment 1.
  L3 No nsw, nuw, inbounds or noundef but where a check right before proves it.
  L4 Registers start at 0 and the stack is zeroed as far down as the function can reach it (vm.h, V6),
     so no value is undefined (frame.py).
  L5 Facts are the verifier's joins over all paths; without them more accesses count as shared.
  L6 LLVM is told that bytes of the packet exist only from where the facts prove it (_show_packet).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.native import LAYOUT
from .flow import R10, Block, Function, Symbol, step, target
from .frame import Frame
from .unit import Fact, Insn

if TYPE_CHECKING:
    from .translate import Shape

FUNC_TAG = LAYOUT["func.tag"]
NO_MAP = 0xFFFF
#: Alias classes: memory that programs reach never overlaps the engine's own structures.
PROGRAM, EXEC, FEED = "!tbaa !4", "!tbaa !5", "!tbaa !6"
ASIDE = "!prof !9"  # a way out of line: weights by measurement
RARELY, UNPREDICTABLE = "!prof !7", "!unpredictable !8"
#: Tests that jump to one block make it such an exit.
SHARED_TESTS = 3
_PLAIN = ("packet", "packet_meta", "memory", "stack", "map_key")


def signed(value: int, bits: int = 64) -> int:
    """The number as two's complement of this width."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@dataclass(frozen=True)
class Place:
    """An address and what is proved of it."""

    pointer: str
    shared: bool
    #: Bytes; at least 1, so that single bytes are always aligned.
    align: int
    #: (map, offset) when it lies in the only value of an array.
    value: tuple[int, int] | None = None
    #: The offset is not one number, as far as is known.
    variable: bool = False


class Emitter:
    """Makes the text of one function; `shape` is what all functions of the program share."""

    def __init__(self, shape: Shape, function: Function) -> None:
        self.shape = shape
        self.function = function
        self.out: list[str] = []
        self.insn: Insn
        self._block: Block
        self.state: list[Symbol | None] = []
        self._values: list[str | None] = []
        self._dirty = 0
        self._count = 0
        self._frame = Frame()
        self._own_word = False
        #: Of the block at hand, from the packet's start on; and the blocks where it is another number.
        self._known_bytes = 0
        self._changes: set[int] = set()
        self._shared: set[int] = set()

    # --- text ---

    def let(self, text: str) -> str:
        """Emits `%tN = text`; its name."""
        self._count += 1
        name = f"%t{self._count}"
        self.out.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Emits an instruction without a result."""
        self.out.append(f"  {text}")

    def label(self, hint: str) -> str:
        """A new label's name; `begin` puts it."""
        self._count += 1
        return f"{hint}{self._count}"

    def begin(self, label: str) -> None:
        """Starts a basic block."""
        self.out.append(f"{label}:")

    # --- registers ---

    def get(self, reg: int, *, reach: int | None = None) -> str:
        """The register as i64. `reach`: bytes from a stack address that are used; None: not known."""
        value = self._values[reg]
        symbol = self.state[reg]
        if symbol is not None:
            if symbol[0] == "stack":
                self._frame.expose(symbol[1], reach)
            if value is None:
                value = self._values[reg] = self._text(symbol)
        elif value is None:
            value = self._values[reg] = self.let(f"load i64, ptr %r{reg}")
        return value

    def get32(self, reg: int) -> str:
        """The register's low half as i32."""
        symbol = self.state[reg]
        if symbol is not None and symbol[0] == "const":
            return str(signed(symbol[1], 32))
        return self.let(f"trunc i64 {self.get(reg)} to i32")

    def put(self, reg: int, value: str) -> None:
        """The register's new value, an i64; symbols follow by themselves (flow.step)."""
        self._values[reg] = value
        self._dirty |= 1 << reg

    def put32(self, reg: int, value: str) -> None:
        """The same from an i32: the upper half becomes 0."""
        self.put(reg, self.let(f"zext i32 {value} to i64"))

    def known(self, reg: int) -> Symbol | None:
        """What the register is, by its computation or by the facts."""
        symbol = self.state[reg]
        if symbol is not None:
            return symbol
        fact = self.fact(reg)
        if fact is None or fact[1] or fact[9]:
            return None
        if fact[0] == "stack":
            return ("stack", signed(fact[8]))
        if fact[0] == "map" and fact[2] != NO_MAP and not fact[8]:
            return ("map", fact[2])
        return None

    def fact(self, reg: int) -> Fact | None:
        """The fact about a register before this instruction."""
        facts = self.shape.unit.facts
        return None if facts is None else facts[self.insn.at][reg]

    def _text(self, symbol: Symbol) -> str:
        if symbol[0] == "const":
            return str(signed(symbol[1]))
        if symbol[0] == "func":
            return str(signed(FUNC_TAG | symbol[1]))
        if symbol[0] == "stack":
            at = self.let(f"getelementptr i8, ptr %top, i64 {symbol[1]}")
            return self.let(f"ptrtoint ptr {at} to i64")
        if symbol[0] == "map":
            return f"ptrtoint (ptr {self.shape.map(symbol[1])} to i64)"
        return f"ptrtoint (ptr {self._value(symbol[1], symbol[2])} to i64)"

    # --- addresses ---

    def _value(self, place: int, off: int) -> str:
        return f"getelementptr (i8, ptr {self.shape.map_values(place)}, i64 {off})"

    def place(self, reg: int, off: int, size: int) -> Place:
        """Where an access of `size` bytes at the register + `off` goes."""
        symbol = self.known(reg)
        if symbol is not None and symbol[0] == "stack":
            at = symbol[1] + off
            base, offset = self._frame.address(at, size)
            pointer = self.let(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base
            return Place(pointer, False, size if at % size == 0 else 1)
        if symbol is not None and symbol[0] == "value":
            at = symbol[2] + off
            pointer = self._value(symbol[1], at)
            return Place(pointer, True, size if at % size == 0 else 1, (symbol[1], at))
        fact = self.fact(reg)
        if fact is not None and self._in_packet(fact, off, size):
            base = self.let("load ptr, ptr %packet")
            return Place(self.let(f"getelementptr i8, ptr {base}, i64 {fact[8] + off}"), False, 1)
        base = self.let(f"inttoptr i64 {self.get(reg)} to ptr")
        pointer = self.let(f"getelementptr i8, ptr {base}, i64 {off}") if off else base
        variable = fact is None or fact[9] != 0
        if fact is None or fact[0] not in (*_PLAIN, "map_value"):
            return Place(pointer, True, 1, variable=variable)
        if fact[0] in _PLAIN:
            return Place(pointer, False, 1, variable=variable)
        # Values are 8-aligned in every map (map_impl.h, M3), so the offset's low bits decide.
        aligned = (fact[8] + off & size - 1) == 0 and fact[9] & size - 1 == 0
        value = (fact[2], fact[8] + off) if fact[9] == 0 and fact[2] != NO_MAP else None
        return Place(pointer, True, size if aligned else 1, value, variable)

    # --- the packet ---

    def _seen(self, at: int) -> int:
        """Bytes of the packet from its start on that are proved to exist before this instruction."""
        facts = self.shape.unit.facts
        if facts is None or "data" not in self.shape.lean_fields():
            return 0
        fixed = [f for f in facts[at] if f[0] == "packet" and not f[1] and not f[9]]
        return max((signed(f[8]) + f[3] for f in fixed if f[3]), default=0)

    def _in_packet(self, fact: Fact, off: int, size: int) -> bool:
        """Whether an access is at a known place of those bytes."""
        if fact[0] != "packet" or fact[1] or fact[9]:
            return False
        at = signed(fact[8]) + off
        return at >= 0 and at + size <= self._known_bytes

    def _show_packet(self, block: Block) -> None:
        """Tells LLVM how much of the packet exists from here on, where that has changed.

        So loads may come before the tests that they follow, and tests can be put together. The asm,
        of which no instruction is made, keeps a load from going above the test of the length, since
        its result is another pointer to LLVM.
        """
        self._known_bytes = self._seen(block.start)
        if block.start not in self._changes:
            return
        shown = f'call dereferenceable({self._known_bytes}) ptr asm "", "=r,0"'
        self.do(f"store ptr {self.let(f'{shown}(i64 %ctx.data)')}, ptr %packet")

    def _packet_changes(self) -> set[int]:
        """Blocks where another number of bytes is known than where one of their ways began."""
        before = {start: self._seen(start) for start in self.function.blocks}
        changes = {
            to
            for block in self.function.blocks.values()
            for to in block.next
            if to in before and before[to] != before[block.start]
        }
        first = self.function.start
        return {start for start in changes | {first} if before[start]}

    def _shared_exits(self) -> set[int]:
        """Where several tests jump to, which filters have to let a packet go: laid out beside the straight way,
        which then jumps nowhere."""
        last = [block.insns[-1] for block in self.function.blocks.values() if block.insns]
        taken = Counter(
            target(insn)
            for insn in last
            if insn.form in ("JMP_IMM", "JMP_REG") and target(insn) > insn.at
        )
        return {to for to, tests in taken.items() if tests >= SHARED_TESTS}

    def apart(self, place: Place, value: str) -> str:
        """The 64-bit value for a store there, as something that LLVM cannot relate to the address.

        LLVM 22 ends the process when a store's address is made of the very value that is stored
        and that is a shifted and masked number ((x >> 59) & 30): its instruction selection folds
        the mask into the address and leaves a cycle. No instruction is made of this.
        """
        if not place.variable or not value.startswith("%"):
            return value
        return self.let(f'call i64 asm "", "=r,0"(i64 {value})')

    def load(self, reg: int, off: int, size: int) -> str:
        """Loads `size` bytes as an integer of that width."""
        place = self.place(reg, off, size)
        folded = self._folded(place, size)
        if folded is not None:
            return folded
        kind = f"i{size * 8}"
        if place.shared and place.align >= size:
            return self.let(
                f"load atomic {kind}, ptr {place.pointer} unordered, align {size}, {PROGRAM}"
            )
        how = "volatile " if place.shared else ""
        return self.let(f"load {how}{kind}, ptr {place.pointer}, align {place.align}, {PROGRAM}")

    def store(self, reg: int, off: int, size: int, value: str) -> None:
        """Stores an integer of `size` bytes."""
        place = self.place(reg, off, size)
        if size == 8:
            value = self.apart(place, value)
        text = f"i{size * 8} {value}, ptr {place.pointer}"
        if place.shared and place.align >= size:
            self.do(f"store atomic {text} unordered, align {size}, {PROGRAM}")
        else:
            how = "volatile " if place.shared else ""
            self.do(f"store {how}{text}, align {place.align}, {PROGRAM}")

    def _folded(self, place: Place, size: int) -> str | None:
        if place.value is None:
            return None
        number, at = place.value
        contents = self.shape.unit.maps[number].contents
        if contents is None or at < 0 or at + size > len(contents):
            return None
        return str(int.from_bytes(contents[at : at + size], "little"))

    # --- the function ---

    def text(self) -> list[str]:
        """The lines of the function."""
        self._changes = self._packet_changes()
        self._shared = self._shared_exits()
        for block in self.function.blocks.values():
            self._emit(block)
        return [*self._prologue(), *self.out, "}"]

    def _emit(self, block: Block) -> None:
        self._block = block
        self.begin(f"b{block.start}")
        self._show_packet(block)
        self.state = list(block.entry)
        self._values = [None] * (R10 + 1)
        self._dirty = 0
        handlers = self.shape.handlers
        ended = False
        for insn in block.insns:
            self.insn = insn
            self.do(f"; {insn.at}")  # for listings (listing.py); LLVM skips it
            if insn.form in ("ALU_IMM", "ALU_REG", "LDDW"):
                after = list(self.state)
                step(after, insn)
                if after[insn.dst] is not None:
                    self.state = after
                    self._values[insn.dst] = None
                    continue
            ended = handlers[insn.name](self, insn)
            step(self.state, insn)
        if not ended:
            self.leave()

    def leave(self) -> None:
        """Ends a block that goes on at the next; at none, where no run comes."""
        self._save()
        following = self._block.next
        self.do(f"br label %b{following[0]}" if following else "ret i64 0")

    def splits(self) -> bool:
        """Whether the block's end can go two ways."""
        return len(self._block.next) == 2

    def branch(self, condition: str) -> None:
        """Ends the block at a conditional jump, both of whose ways can be taken."""
        self._save()
        taken, other = self._block.next
        weights = f", {ASIDE}" if taken in self._shared else ""
        self.do(f"br i1 {condition}, label %b{taken}, label %b{other}{weights}")

    def _save(self) -> None:
        """Stores the registers that later blocks read and cannot know by themselves."""
        blocks, block = self.function.blocks, self._block
        for reg in range(R10):
            if not block.live_out >> reg & 1:
                continue
            symbol = self.state[reg]
            if symbol is not None:
                if any(blocks[slot].entry[reg] is None for slot in block.next):
                    self.do(f"store i64 {self.get(reg)}, ptr %r{reg}")
            elif self._dirty >> reg & 1:
                self.do(f"store i64 {self._values[reg]}, ptr %r{reg}")

    def own_word(self) -> str:
        """The address of four bytes that are not the program's."""
        self._own_word = True
        return "%word"

    def forget_arguments(self) -> None:
        """After a call: r1 to r5 are nothing a program may read."""
        for reg in range(1, 6):
            self.put(reg, "0")

    def _prologue(self) -> list[str]:
        lines = [f"define internal i64 @f{self.function.start}({self.shape.parameters}) #0 {{"]
        for reg in range(R10):
            start = f"%a{reg}" if 1 <= reg <= 5 else "0"
            lines.append(f"  %r{reg} = alloca i64")
            lines.append(f"  store i64 {start}, ptr %r{reg}")
        if self._changes:
            lines += ["  %packet = alloca ptr", "  store ptr null, ptr %packet"]
        if self._own_word:
            lines.append("  %word = alloca i32")
        return [*lines, *self._frame.lines(), f"  br label %b{self.function.start}"]


def literal(value: int, bits: int = 64) -> str:
    """A number as LLVM writes an integer of this width."""
    return str(signed(value, bits))
