"""Classic BPF to eBPF, instruction by instruction, packet bounds proved as seldom as possible.

What a translated program does, and why it is the same, is in docs/expressions.md. Registers: r0 A,
r1 ctx, r2 data, r3 data_end, r5 X, r6 scratch, r7 data + X; r4, r8 and r9 hold the words of memory
that are used most (r4 counts the rounds of a program with loops), the stack the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .._core.tables import ACTIONS, CTX_FIELDS
from ..errors import ProgramError
from .cbpf import MEMORY_WORDS, Step
from .code import Code, Label
from .flow import REACH, Flow, analyse, read_before_written
from .values import Values
from .webs import is_family, raw_sizes, swapped

A, CTX, DATA, END, COUNT, X, SCRATCH, AT_X, FRAME = 0, 1, 2, 3, 4, 5, 6, 7, 10
#: How often control may go back. A round of libpcap's loops goes over at least 8 bytes of extension headers.
ROUNDS = 512

#: Instructions from which proofs are given up where paths join, so that the verifier's work stays linear.
LARGE = 500

_FIELD = {field.name: field.offset for field in CTX_FIELDS}
_ACTION = {action.name: action.value for action in ACTIONS}
_LOADS = {1: "LDX_B", 2: "LDX_H", 4: "LDX_W"}
_SIGNED_MAX, _OFFSET_MAX = 0x7FFFFFFF, 0x7FFF
#: Above it, an address family is in the other byte order.
_FAMILY_MAX = 0xFFFF


def translate(
    steps: Sequence[Step], *, wire_length: bool = True, family_first: bool = False
) -> bytes:
    """eBPF bytecode with the program's result: PASS where it accepts, DROP where it rejects.

    `wire_length`: ctx has the field `wire_len` (program type pcap); else the length of a packet is
    that of its bytes (type xdp). `family_first`: the packet begins with an address family of 4 bytes in
    either byte order; the program gets to see it as from a machine like this one.
    """
    return _Translation(analyse(steps), wire_length=wire_length, family_first=family_first).bytes()


class _Translation:
    def __init__(self, flow: Flow, *, wire_length: bool, family_first: bool) -> None:
        self.flow, self.steps, self.wire_length = flow, flow.steps, wire_length
        self.family_first = family_first
        self.raw = raw_sizes(flow, family_first=family_first)
        self.values = Values(flow)
        self.code = Code()
        self.labels = [Label() for _ in self.steps]
        self.accept, self.reject = Label(), Label()
        self.memory = self._place_memory()

    def bytes(self) -> bytes:
        self._begin()
        order = [at for at in range(len(self.steps)) if self._emitted(at)]
        following = dict(zip(order, [*order[1:], -1], strict=True))
        for at, step in enumerate(self.steps):
            if not self.flow.reached[at]:
                continue
            self.values.enter(at)
            if at in following:
                self.code.bind(self.labels[at])
                if self.values.differ and len(self.steps) > LARGE:
                    # The verifier goes on once for each length that some path proved: of a new pointer none did.
                    self.values.forget()
                    self.code.add("LDX_W", DATA, CTX, off=_FIELD["data"])
                self._step(at, step, following[at])
            elif step.op == "ja":
                self.values.leave(at)
        self._end()
        return self.code.finish()

    def _emitted(self, at: int) -> bool:
        """Whether it has code of its own. Results stand once, at the end; jumps go to where they lead."""
        if not self.flow.reached[at]:
            return False
        return at == 0 or self._resolve(at) == at

    def _place_memory(self) -> dict[int, int]:
        """Word -> register, or the negative offset of its place on the stack."""
        uses = Counter(
            step.k
            for at, step in enumerate(self.steps)
            if self.flow.reached[at] and step.op in ("mem", "st")
        )
        free = [8, 9] if self.flow.loops else [COUNT, 8, 9]
        if not any(step.op == "ind" for step in self.steps):
            free.append(AT_X)
        places = [*free, *range(-8, -8 * MEMORY_WORDS - 8, -8)]
        return dict(zip((word for word, _ in uses.most_common()), places, strict=False))

    def _begin(self) -> None:
        code, unset = self.code, read_before_written(self.flow)
        if any(step.reads_packet for step in self.steps) or not self.wire_length:
            code.add("LDX_W", DATA, CTX, off=_FIELD["data"])
            code.add("LDX_W", END, CTX, off=_FIELD["data_end"])
        if self.flow.loops:
            code.add("MOV64_IMM", COUNT)
        for name in sorted(unset):
            place = {"A": A, "X": X}.get(name)
            if place is None:
                place = self.memory[int(name[1:])]
            if place < 0:
                code.add("ST_DW", FRAME, off=place)
            else:
                code.add("MOV64_IMM", place)

    def _end(self) -> None:
        """The results that are used, first the one that the last jump goes to: it falls into it."""
        code = self.code
        ends = [(self.reject, "DROP"), (self.accept, "PASS")]
        if code.last_jump() is self.accept:
            ends.reverse()
        if code.last_jump() is ends[0][0]:
            code.drop_last()
        for at, (label, action) in enumerate(ends):
            code.bind(label)
            if at == 0 or code.used(label):
                code.add("MOV64_IMM", A, imm=_ACTION[action])
                code.add("EXIT")

    def _resolve(self, at: int) -> int | Label:
        """Where a jump to the instruction at this place ends: an instruction, or a result."""
        while True:
            step = self.steps[at]
            if self.flow.dead[at]:
                return self.reject
            if step.op == "ret" and not step.by_x:
                return self.accept
            if step.op != "ja" or step.jt <= at:
                return at
            at = step.jt

    def _label(self, at: int) -> Label:
        end = self._resolve(at)
        return end if isinstance(end, Label) else self.labels[end]

    def _go(self, target: int, following: int) -> None:
        if self._resolve(target) != following:
            self.code.jump("JA", self._label(target))

    def _step(self, at: int, step: Step, following: int) -> None:
        if self.flow.dead[at]:
            self.code.jump("JA", self.reject)
        elif step.branches:
            self._branch(at, step, following)
        elif step.op == "ret":
            self._return(step)
        elif step.op == "ja":
            self.values.leave(at)
            if step.jt <= at:
                self._next_round()
            self._go(step.jt, following)
        else:
            self._compute(at, step)
            self._go(step.jt, following)

    def _next_round(self) -> None:
        """Counts it, and makes A and X numbers of which the verifier knows nothing, as they are in the next round.

        Otherwise what it knows would grow from round to round, and no two of them be the same to it.
        """
        self.code.add("ADD64_IMM", COUNT, imm=1)
        self.code.jump("JGT64_IMM", self.reject, COUNT, imm=ROUNDS)
        self._length(SCRATCH)
        for register in (A, X):
            self.code.add("ADD32_REG", register, SCRATCH)
            self.code.add("SUB32_REG", register, SCRATCH)

    def _return(self, step: Step) -> None:
        if not step.by_x:
            self.code.jump("JA", self.accept if step.k else self.reject)
            return
        self.code.jump("JEQ64_IMM", self.reject, A, imm=0)
        self.code.jump("JA", self.accept)

    # ---- values ----

    def _compute(self, at: int, step: Step) -> None:
        code = self.code
        if step.reads_packet:
            self._load(at, step)
        elif step.op == "imm":
            self._constant(A if step.to == "A" else X, step.k)
        elif step.op == "len":
            self._length(A if step.to == "A" else X)
        elif step.op == "mem":
            self._word("A" if step.to == "A" else "X", step.k, store=False)
        elif step.op == "st":
            self._word(step.to, step.k, store=True)
        elif step.op in ("tax", "txa"):
            code.add("MOV64_REG", *((X, A) if step.op == "tax" else (A, X)))
        else:
            self._arithmetic(at, step)
        self.values.leave(at)

    def _constant(self, register: int, value: int) -> None:
        self.code.add("MOV64_IMM" if value <= _SIGNED_MAX else "MOV32_IMM", register, imm=value)

    def _length(self, register: int) -> None:
        if self.wire_length:
            self.code.add("LDX_W", register, CTX, off=_FIELD["wire_len"])
            return
        self.code.add("MOV64_REG", register, END)
        self.code.add("SUB64_REG", register, DATA)
        self.code.add("MOV32_REG", register, register)

    def _word(self, which: str, word: int, *, store: bool) -> None:
        register, place = A if which == "A" else X, self.memory[word]
        if place >= 0:
            self.code.add("MOV64_REG", *((place, register) if store else (register, place)))
        elif store:
            self.code.add("STX_DW", FRAME, register, off=place)
        else:
            self.code.add("LDX_DW", register, FRAME, off=place)

    def _arithmetic(self, at: int, step: Step) -> None:
        code, name = self.code, step.op.upper()
        if step.op == "neg":
            code.add("NEG32", A)
        elif step.op in ("lsh", "rsh"):
            self._shift(step, name)
        elif step.by_x:
            if step.op in ("div", "mod"):
                code.jump("JEQ64_IMM", self.reject, X, imm=0)
            code.add(f"{name}32_REG", A, X)
        else:
            k = step.k
            if self.raw[at]:
                k = swapped(k, self.raw[at])
            code.add(f"{name}32_IMM", A, imm=k)

    def _shift(self, step: Step, name: str) -> None:
        code = self.code
        if not step.by_x:
            if step.k < 32:
                code.add(f"{name}32_IMM", A, imm=step.k)
            else:
                code.add("MOV64_IMM", A)
            return
        if self.values.x_max < 32:
            code.add(f"{name}32_REG", A, X)
            return
        fits, done = Label(), Label()
        code.jump("JLT64_IMM", fits, X, imm=32)
        code.add("MOV64_IMM", A)
        code.jump("JA", done)
        code.bind(fits)
        code.add(f"{name}32_REG", A, X)
        code.bind(done)

    # ---- the packet ----

    def _load(self, at: int, step: Step) -> None:
        if step.op == "ind":
            self._prove_x(at, step)
            base = AT_X
        else:
            self._prove(at, step)
            base = DATA
        register = X if step.op == "msh" else A
        if step.k <= _OFFSET_MAX:
            self.code.add(_LOADS[step.size], register, base, off=step.k)
        else:
            self._far(register, base, step)
        if step.op == "msh":
            self.code.add("AND64_IMM", X, imm=15)
            self.code.add("LSH64_IMM", X, imm=2)
        elif self.family_first and is_family(step):
            there = Label()
            self.code.jump("JGT64_IMM", there, A, imm=_FAMILY_MAX)
            self.code.add("BE32", A)
            self.code.bind(there)
        elif step.size > 1 and not self.raw[at]:
            self.code.add(f"BE{8 * step.size}", A)

    def _far(self, register: int, base: int, step: Step) -> None:
        """Beyond what an instruction's offset holds."""
        self.code.add("MOV64_REG", SCRATCH, base)
        self.code.add("ADD64_IMM", SCRATCH, imm=step.k)
        self.code.add(_LOADS[step.size], register, SCRATCH)

    def _compare_end(self, base: int, length: int) -> None:
        self.code.add("MOV64_REG", SCRATCH, base)
        self.code.add("ADD64_IMM", SCRATCH, imm=length)
        self.code.jump("JGT64_REG", self.reject, SCRATCH, END)

    def _prove(self, at: int, step: Step) -> None:
        if self.values.proved < step.k + step.size:
            self.values.proved = self.flow.need[at]
            self._compare_end(DATA, self.values.proved)

    def _prove_x(self, at: int, step: Step) -> None:
        values, end, need = self.values, step.k + step.size, self.flow.need_x[at]
        if values.x_room < need:  # no pointer yet, or one that cannot be proved so far
            if values.x_max + need > REACH:
                self.code.jump("JGT64_IMM", self.reject, X, imm=REACH - need)
                values.x_max = REACH - need
            self.code.add("MOV64_REG", AT_X, X)
            self.code.add("ADD64_REG", AT_X, DATA)
            values.x_room, values.x_proved = REACH - values.x_max, 0
        if values.x_proved < end:
            values.x_proved = need
            self._compare_end(AT_X, need)

    # ---- branches ----

    def _branch(self, at: int, step: Step, following: int) -> None:
        self.values.leave(at)
        yes, no = step.jt, step.jf
        if self._resolve(yes) == self._resolve(no):
            self._go(yes, following)
            return
        k, size = step.k, self.raw[at]
        if size:
            # Of two bytes that are never equal to the constant, no swapping must make them equal.
            k = 1 << 8 * size if step.op == "jeq" and k >> 8 * size else swapped(k, size)
        if self._resolve(no) != following == self._resolve(yes) and step.op != "jset":
            self._jump_unless(step, k, no)
            return
        self._jump_if(step, k, yes)
        self._go(no, following)

    def _jump_if(self, step: Step, k: int, to: int) -> None:
        if step.by_x:
            self.code.jump(f"{step.op.upper()}64_REG", self._label(to), A, X)
        elif step.op == "jge":
            self._jump_const("JGT", k - 1, to)
        else:
            self._jump_const(step.op.upper(), k, to)

    def _jump_unless(self, step: Step, k: int, to: int) -> None:
        inverse = {"jeq": "JNE", "jgt": "JLE", "jge": "JLT"}[step.op]
        if step.by_x:
            self.code.jump(f"{inverse}64_REG", self._label(to), A, X)
        elif inverse == "JLE":
            self._jump_const("JLT", k + 1, to)
        else:
            self._jump_const(inverse, k, to)

    def _jump_const(self, op: str, k: int, to: int) -> None:
        """A's upper half is zero: the 64-bit form, which the interpreter fuses, where its constant is not negative."""
        width = 64 if k <= _SIGNED_MAX else 32
        self.code.jump(f"{op}{width}_IMM", self._label(to), A, imm=k)


def tests_length(steps: Sequence[Step]) -> bool:
    """Whether the length of the packet decides anything."""
    flow = analyse(steps)
    return any(
        step.op == "len" and flow.reached[at] and not flow.dead[at]
        for at, step in enumerate(flow.steps)
    )


def check_size(code: bytes, limit: int) -> None:
    """Raises `ProgramError` for more instructions than a program may have."""
    if len(code) // 8 > limit:
        raise ProgramError(
            "the expression is too large",
            found=f"{len(code) // 8} instructions",
            expected=f"at most {limit}",
        )
