"""Loads, stores, atomics and 64-bit immediates: one entry for each instruction of insn.def."""

from __future__ import annotations

from .._core.tables import CTX_FIELDS, CtxField
from ..errors import CompileError
from .emit import PROGRAM, Emitter, literal
from .ops_alu import Handler
from .unit import Insn

CTX_LOAD = 1  # vm.h: PF_INSN_CTX_LOAD
_SIZES = {"B": 1, "H": 2, "W": 4, "DW": 8}
_FIELDS = {field.offset: field for field in CTX_FIELDS}
_RMW = {"ADD": "add", "OR": "or", "AND": "and", "XOR": "xor"}


def field_at(insn: Insn) -> CtxField:
    """The field that a load of ctx reads; raises `CompileError` where there is none."""
    field = _FIELDS.get(insn.off)
    if field is None or (insn.name == "LDSX_W" and field.kind != "SCALAR"):
        raise CompileError("no field of ctx stands here", insn=insn.at, found=insn.off)
    return field


def _ctx(e: Emitter, insn: Insn, *, extended: bool) -> bool:
    field = field_at(insn)
    value = e.shape.ctx_field(e, field)
    if extended:
        value = e.let(f"sext i32 {e.let(f'trunc i64 {value} to i32')} to i64")
    e.put(insn.dst, value)
    return False


def _load(size: int, *, extended: bool) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        if size == 4 and e.shape.unit.types[insn.at] == CTX_LOAD:
            return _ctx(e, insn, extended=extended)
        value = e.load(insn.src, insn.off, size)
        if size < 8:
            value = e.let(f"{'sext' if extended else 'zext'} i{size * 8} {value} to i64")
        e.put(insn.dst, value)
        return False

    return emit


def _store(size: int, *, by_register: bool) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        if not by_register:
            value = literal(insn.imm, size * 8)
        else:
            value = e.get(insn.src)
            if size < 8:
                value = e.let(f"trunc i64 {value} to i{size * 8}")
        e.store(insn.dst, insn.off, size, value)
        return False

    return emit


# The verifier has proved that atomics are naturally aligned (vm.h, V7).


def _acquire(size: int) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        place = e.place(insn.src, insn.off, size)
        value = e.let(
            f"load atomic i{size * 8}, ptr {place.pointer} acquire, align {size}, {PROGRAM}"
        )
        e.put(insn.dst, value if size == 8 else e.let(f"zext i{size * 8} {value} to i64"))
        return False

    return emit


def _release(size: int) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        value = e.get(insn.src)
        if size < 8:
            value = e.let(f"trunc i64 {value} to i{size * 8}")
        place = e.place(insn.dst, insn.off, size)
        if size == 8:
            value = e.apart(place, value)
        e.do(
            f"store atomic i{size * 8} {value}, ptr {place.pointer} release, align {size}, {PROGRAM}"
        )
        return False

    return emit


def _modify(word: str, bits: int, *, fetches: bool) -> Handler:
    """Without a result no order is promised (RFC 9669 section 5.3), with one it is total."""
    order = "seq_cst" if fetches else "monotonic"

    def emit(e: Emitter, insn: Insn) -> bool:
        value = e.get(insn.src) if bits == 64 else e.get32(insn.src)
        place = e.place(insn.dst, insn.off, bits // 8)
        if bits == 64:
            value = e.apart(place, value)
        old = e.let(
            f"atomicrmw {word} ptr {place.pointer}, i{bits} {value} {order}, align {bits // 8}, "
            f"{PROGRAM}"
        )
        if fetches:
            (e.put if bits == 64 else e.put32)(insn.src, old)
        return False

    return emit


def _compare(bits: int) -> Handler:
    def emit(e: Emitter, insn: Insn) -> bool:
        value, expected = (
            (e.get(insn.src), e.get(0)) if bits == 64 else (e.get32(insn.src), e.get32(0))
        )
        place = e.place(insn.dst, insn.off, bits // 8)
        if bits == 64:
            value = e.apart(place, value)
        pair = e.let(
            f"cmpxchg ptr {place.pointer}, i{bits} {expected}, i{bits} {value} seq_cst seq_cst, "
            f"align {bits // 8}, {PROGRAM}"
        )
        old = e.let(f"extractvalue {{ i{bits}, i1 }} {pair}, 0")
        (e.put if bits == 64 else e.put32)(0, old)
        return False

    return emit


def _immediate(_: Emitter, insn: Insn) -> bool:
    """Those that the program may hold are symbols (flow.py); what comes here has none."""
    raise CompileError(
        "this kind of 64-bit load is not supported", insn=insn.at, found=insn.name.lower()
    )


def _table() -> dict[str, Handler]:
    table: dict[str, Handler] = {}
    for letter, size in _SIZES.items():
        table[f"LDX_{letter}"] = _load(size, extended=False)
        if size < 8:
            table[f"LDSX_{letter}"] = _load(size, extended=True)
        table[f"ST_{letter}"] = _store(size, by_register=False)
        table[f"STX_{letter}"] = _store(size, by_register=True)
        table[f"LOAD_ACQ_{letter}"] = _acquire(size)
        table[f"STORE_REL_{letter}"] = _release(size)
    for bits in (32, 64):
        for name, word in _RMW.items():
            table[f"ATOMIC{bits}_{name}"] = _modify(word, bits, fetches=False)
            table[f"ATOMIC{bits}_FETCH_{name}"] = _modify(word, bits, fetches=True)
        table[f"ATOMIC{bits}_XCHG"] = _modify("xchg", bits, fetches=True)
        table[f"ATOMIC{bits}_CMPXCHG"] = _compare(bits)
    for name in ("", "_MAP", "_VALUE", "_BTF_ID", "_FUNC", "_MAP_IDX", "_VALUE_IDX"):
        table[f"LDDW{name}"] = _immediate
    return table


HANDLERS = _table()
