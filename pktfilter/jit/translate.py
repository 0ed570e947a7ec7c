"""A unit to LLVM IR text: what the functions of a program share, and the symbols of the object.

Terms
  environment  what every function gets beside r1 to r5: the worker's state, its CPU id and clock,
               which do not change while a packet runs, and in a lean program the fields of ctx
  lean         nothing that the program calls looks at x->packet, so that fields of ctx are values
               made from the descriptor, and the packet is never set up in memory
"""

from __future__ import annotations

from .._core.native import LAYOUT
from .._core.tables import OPS, CtxField
from ..errors import CompileError
from . import ops_alu, ops_calls, ops_memory
from .emit import EXEC, Emitter
from .entry import pf_call, pf_packets, pf_run
from .flow import Function, target
from .ops_calls import BY_NUMBER, LENGTH, NUMBER
from .unit import Insn, Unit, decode

HANDLERS: dict[str, ops_alu.Handler] = {
    **ops_alu.HANDLERS,
    **ops_memory.HANDLERS,
    **ops_calls.HANDLERS,
}
_missing = {op.name for op in OPS} ^ HANDLERS.keys()
if _missing:
    raise ImportError(f"insn.def and the translator disagree on {sorted(_missing)}")

#: Instructions above which the program is not copied into the loop over the packets.
INLINE_MAX = 600
#: Conditional jumps above which nothing is compiled: LLVM 22 gives up simplifying the control flow of
#: some programs with 4,000 of them by ending the process.
BRANCHES_MAX = 2000
_HEADER = """\
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"
"""
_FOOTER = """\
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare i8 @llvm.cttz.i8(i8, i1)
declare i32 @llvm.umin.i32(i32, i32)
declare i64 @llvm.smax.i64(i64, i64)
attributes #0 = { nounwind }
attributes #1 = { nounwind noinline }
!0 = !{!"pktfilter"}
!1 = !{!"program", !0, i64 0}
!2 = !{!"exec", !0, i64 0}
!3 = !{!"feed", !0, i64 0}
!4 = !{!1, !1, i64 0}
!5 = !{!2, !2, i64 0}
!6 = !{!3, !3, i64 0}
!7 = !{!"branch_weights", i32 1, i32 1000}
!8 = !{}
!9 = !{!"branch_weights", i32 1, i32 30}
"""


class Shape:
    """What the functions of one program share."""

    handlers = HANDLERS

    def __init__(self, unit: Unit, insns: list[Insn | None]) -> None:
        self.unit = unit
        self.externs: dict[str, str] = {}
        self.functions: dict[int, Function] = {}
        #: Functions that are called through x->call.
        self.callbacks: set[int] = set()
        self.takes_address = False
        self.helpers: set[int] = set()
        self.fields: dict[str, CtxField] = {}
        self._discover(insns)
        self.measures = NUMBER["xdp_get_buff_len"] in self.helpers
        others = self.helpers - {NUMBER["xdp_get_buff_len"]}
        looks = any("CTX" in BY_NUMBER[n].args for n in others if n in BY_NUMBER)
        self.lean = unit.type != "memory" and not looks and not self.callbacks
        self.parameters = ", ".join(
            ["ptr %x", "i32 %cpu", "i64 %time"]
            + [f"i64 %ctx.{name}" for name in self.lean_fields()]
            + [f"i64 %a{n}" for n in range(1, 6)]
        )

    def _discover(self, insns: list[Insn | None]) -> None:
        todo, taken, resolved = [0], set[int](), True
        while todo:
            start = todo.pop()
            if start in self.functions:
                continue
            if not 0 <= start < len(insns):
                raise CompileError("a call leaves the program", found=start)
            function = Function(start, insns, self.unit.facts, ops_calls.arguments)
            self.functions[start] = function
            for block in function.blocks.values():
                for insn in block.insns:
                    if insn.name in ("CALL_LOCAL", "LDDW_FUNC"):
                        todo.append(target(insn))
                    elif insn.name in ops_calls.ROWS:
                        self.helpers.add(insn.imm)
                    elif self.unit.types[insn.at] == ops_memory.CTX_LOAD:
                        field = ops_memory.field_at(insn)
                        self.fields[field.name] = field
            found, known = ops_calls.callbacks(function)
            taken |= found
            resolved &= known
        # Also where the facts rule the instruction out: the loader looks at instructions alone.
        self.takes_address = any(insn is not None and insn.name == "LDDW_FUNC" for insn in insns)
        self.callbacks = set() if resolved else taken

    def lean_fields(self) -> tuple[str, ...]:
        """Fields of ctx that functions take as values, and the length that a helper gives."""
        length = (LENGTH,) if self.measures else ()
        return (*self.fields, *length) if self.lean else ()

    def big(self) -> bool:
        """Whether one body is shared by all entries."""
        return len(self.unit.insns) // 8 > INLINE_MAX

    # --- symbols of others ---

    def _extern(self, name: str, declaration: str) -> str:
        self.externs[name] = declaration
        return f"@{name}"

    def _symbol(self, place: int) -> str:
        """One map, one symbol, by whatever numbers the program and the facts call it."""
        same = self.unit.same
        return f"pf_map_{same[place] if same else place}"

    def map(self, place: int) -> str:
        """The address of the struct pf_map."""
        name = self._symbol(place)
        return self._extern(name, f"@{name} = external global i8")

    def map_values(self, place: int) -> str:
        """The address of the first element's value."""
        name = f"{self._symbol(place)}_values"
        return self._extern(name, f"@{name} = external global i8, align 8")

    def map_buckets(self, place: int) -> str:
        """The address of the first bucket of a hash map."""
        name = f"{self._symbol(place)}_buckets"
        return self._extern(name, f"@{name} = external global i8, align 64")

    def map_lookup(self, place: int) -> str:
        """The map's own lookup function."""
        name = f"{self._symbol(place)}_lookup"
        return self._extern(name, f"declare ptr @{name}(ptr, ptr, i32) #0")

    def helper(self, number: int) -> str:
        """A helper's function."""
        name = f"pf_helper_{number}"
        return self._extern(name, f"declare i64 @{name}(ptr, i64, i64, i64, i64, i64) #0")

    def tail(self) -> str:
        """The function that finds a tail call's target."""
        name = "pf_native_tail"
        return self._extern(name, f"declare ptr @{name}(ptr, i64, i64) #0")

    # --- text that needs the layout ---

    def field(self, e: Emitter, name: str) -> str:
        """The address of a field of the worker's state."""
        return e.let(f"getelementptr i8, ptr %x, i64 {LAYOUT[name]}")

    def ctx_field(self, e: Emitter, field: CtxField) -> str:
        """A field of ctx as an i64."""
        if self.lean:
            return f"%ctx.{field.name}"
        return load_field(e, field)

    def call(self, e: Emitter, start: int, arguments: list[str]) -> str:
        """Calls a subprogram in a frame of its own."""
        environment = ["ptr %x", "i32 %cpu", "i64 %time"]
        environment += [f"i64 %ctx.{name}" for name in self.lean_fields()]
        passed = ", ".join(environment + [f"i64 {a}" for a in arguments])
        return e.let(f"call i64 @f{start}({passed})")


def load_field(e: Emitter, field: CtxField) -> str:
    """The field as x->packet has it: edges are addresses, the rest 32-bit numbers."""
    at = e.let(f"getelementptr i8, ptr %x, i64 {LAYOUT[f'exec.packet.{field.name}']}")
    if field.kind != "SCALAR":
        return e.let(f"load i64, ptr {at}, {EXEC}")
    return e.let(f"zext i32 {e.let(f'load i32, ptr {at}, {EXEC}')} to i64")


def translate(unit: Unit) -> str:
    """The IR text of a verified program; raises `CompileError` for what cannot be compiled."""
    insns = decode(unit.insns)
    branches = sum(i is not None and i.form in ("JMP_IMM", "JMP_REG") for i in insns)
    if branches > BRANCHES_MAX:
        raise CompileError(
            "too many conditional jumps to compile",
            found=branches,
            expected=f"at most {BRANCHES_MAX}",
        )
    shape = Shape(unit, insns)
    lines: list[str] = []
    for start, function in shape.functions.items():
        text = Emitter(shape, function).text()
        if start == 0 and shape.big():
            text[0] = text[0].replace("#0", "#1")
        lines += text
    lines += pf_run(shape)
    if unit.type != "memory":
        lines += pf_packets(shape)
    if shape.takes_address:
        lines += pf_call(shape)
    return "\n".join([_HEADER, *shape.externs.values(), *lines, _FOOTER])
