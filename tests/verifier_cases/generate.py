"""Writes the regular families of cases: every comparison, operator, size and register in turn.

    python tests/verifier_cases/generate.py          write the .cases files named in FAMILIES

The files are frozen like the hand-written ones; this is how they came to be.  Each family states
by a rule of its own what Linux must say, and record.py holds that against the kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

FOLDER = Path(__file__).parent


@dataclass
class Case:
    """One case; ``expect`` is "accept" or "reject REASON"."""

    name: str
    expect: str
    code: list[str]
    why: str = ""
    says: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The case in the format of the .cases files."""
        lines = [f"case: {self.name}", f"expect: {self.expect}"]
        if self.why:
            lines.append(f"why: {self.why}")
        if self.says:
            lines.append(f"says: {self.says}")
        lines += [f"{key}: {value}" for key, value in self.fields.items()]
        return "\n".join([*lines, *(f"    {line}" for line in self.code)])


def verdict(accepted: bool, reason: str) -> str:
    return "accept" if accepted else f"reject {reason}"


NAMES = {
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "&": "set",
    "s<": "slt", "s<=": "sle", "s>": "sgt", "s>=": "sge",
}  # fmt: skip
PACKET = ["r2 = *(u32 *)(r1 +0)", "r3 = *(u32 *)(r1 +4)"]
META = ["r2 = *(u32 *)(r1 +8)", "r3 = *(u32 *)(r1 +0)"]
END = ["r0 = 2", "exit"]
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


# --- comparisons of packet pointers


def _proved(op: str, end_first: bool, taken: bool, ahead: int) -> int:
    """Bytes from the start that one branch of ``start+ahead OP end`` proves."""
    if end_first:
        op = {">": "<", ">=": "<=", "<": ">", "<=": ">="}[op]
    holds = op if taken else {">": "<=", ">=": "<", "<": ">=", "<=": ">"}[op]
    # With `<` the byte at start+ahead is inside as well.
    return {"<=": ahead, "<": ahead + 1}.get(holds, 0)


def _compare(start: list[str], op: str, end_first: bool, taken: bool, last: int) -> list[str]:
    jump = f"if r3 {op} r4 goto" if end_first else f"if r4 {op} r3 goto"
    load = [f"r0 = *(u8 *)(r2 +{last})"]
    body = [*start, "r4 = r2", "r4 += 14"]
    if taken:
        return [*body, f"{jump} in", *END, f"in: {load[0]}", *END]
    return [*body, f"{jump} out", *load, f"out: {END[0]}", END[1]]


def packet_compare() -> Iterator[Case]:
    for kind, start in (("packet", PACKET), ("meta", META)):
        for op in (">", ">=", "<", "<="):
            for end_first in (False, True):
                for taken in (False, True):
                    proved = _proved(op, end_first, taken, 14)
                    order = "end_first" if end_first else "start_first"
                    name = f"{kind}_{NAMES[op]}_{order}_{'taken' if taken else 'through'}"
                    says = "" if kind == "packet" else "data"
                    if proved:
                        code = _compare(start, op, end_first, taken, proved - 1)
                        yield Case(f"{name}_last_byte", "accept", code)
                    code = _compare(start, op, end_first, taken, proved)
                    yield Case(
                        f"{name}_one_past" if proved else f"{name}_unproved",
                        "reject packet-range",
                        code,
                        f"This branch proves {proved} bytes, byte {proved} is read (from 0).",
                        says,
                    )
    for op in ("==", "!=", "s<", "s<=", "s>", "s>="):
        code = _compare(PACKET, op, False, op in ("s<", "s<=", "=="), 0)
        why = "Only unsigned order comparisons in 64 bits prove anything of a packet."
        yield Case(f"packet_{NAMES[op]}_proves_nothing", "reject packet-range", code, why)
    for op in (">", ">=", "<", "<="):
        code = _compare(PACKET, op, False, op.startswith("<"), 0)
        code = [line.replace("if r4", "if w4").replace(f"{op} r3", f"{op} w3") for line in code]
        why = "A comparison of the lower halves of pointers proves nothing."
        yield Case(f"packet_{NAMES[op]}_32bit_proves_nothing", "reject packet-range", code, why)
    for name, size in SIZES.items():
        for at, accepted in ((14 - size, True), (15 - size, False)):
            for store in (False, True):
                access = f"*({name} *)(r2 +{at})"
                line = f"{access} = 0" if store else f"r0 = {access}"
                code = [
                    *PACKET,
                    "r4 = r2",
                    "r4 += 14",
                    "if r4 > r3 goto out",
                    line,
                    "out: r0 = 2",
                    "exit",
                ]
                yield Case(
                    f"{'store' if store else 'load'}_{name}_at_{at}_of_14",
                    verdict(accepted, "packet-range"),
                    code,
                    ""
                    if accepted
                    else f"14 bytes are proved, the access ends at byte {at + size}.",
                    "" if accepted else f"data_end, 14, {at + size}",
                )


# --- what a comparison proves of an index into a map value of 64 bytes

VALUE_MAP = "map: values array 4 64 1"
LOOKUP = [
    "r6 = *(u32 *)(r1 +16)", "*(u32 *)(r10 -4) = 0", "r2 = r10", "r2 += -4", "r1 = map[values]",
    "call bpf_map_lookup_elem", "if r0 == 0x0 goto out",
]  # fmt: skip
USE = ["r0 += r6", "r0 = *(u8 *)(r0 +0)", "out: r0 = 2", "exit"]
BAD_INDEX = "The index can lie outside the 64 bytes of the value."


def _index_case(name: str, middle: list[str], accepted: bool, why: str = "") -> Case:
    reason = "reject map-value-range"
    if any("SIGNED" in line for line in middle):
        middle = [line.replace("SIGNED", "").strip() for line in middle]
        reason = "reject pointer-offset"
    return Case(
        name, "accept" if accepted else reason, [*LOOKUP, *middle, *USE],
        "" if accepted else why or BAD_INDEX,
    )  # fmt: skip


def compare_bounds() -> Iterator[Case]:
    # (operator, constant) pairs whose true branch leaves 0..63, and those that leave one more.
    inside = {"<": 64, "<=": 63, "==": 63, "s<": 64, "s<=": 63}
    outside = {"<": 65, "<=": 64, "==": 64, "s<": 65, "s<=": 64}
    negated = {">=": "<", ">": "<=", "!=": "==", "s>=": "s<", "s>": "s<="}
    for width in (64, 32):
        reg = "r" if width == 64 else "w"
        for form in ("imm", "reg"):
            for op in (*inside, *negated):
                for table, good in ((inside, True), (outside, False)):
                    value = table[negated.get(op, op)]
                    operand = f"{value:#x}" if form == "imm" else f"{reg}7"
                    setup = [] if form == "imm" else [f"r7 = {value}"]
                    if op in negated:
                        code = [*setup, f"if {reg}6 {op} {operand} goto out"]
                    else:
                        code = [
                            *setup,
                            f"if {reg}6 {op} {operand} goto in",
                            "goto out",
                            "in: r8 = 0",
                        ]
                    # In 32 bits the sign bit of the index counts: negative numbers pass as well.
                    accepted = good and not (width == 32 and op.startswith("s"))
                    name = f"index_{NAMES[op]}_{form}_{width}bit_{'inside' if good else 'one_past'}"
                    yield _index_case(name, code, accepted)
                    if width == 32 and op.startswith("s") and good:
                        both = [*code, "if w6 s< 0x0 goto out"]
                        yield _index_case(f"{name}_not_negative", both, True)
        for op, mask, accepted in (("&", 0xFFFFFFC0, True), ("&", 0xFFFFFF80, False)):
            code = [f"if {reg}6 {op} {mask:#x} goto out"]
            yield _index_case(f"index_set_imm_{width}bit_{mask:x}", code, accepted)


# --- what arithmetic does to an index

ARITHMETIC: list[tuple[str, list[str], bool]] = [
    ("and_63", ["r6 &= 63"], True),
    ("and_64", ["r6 &= 64"], False),
    ("and_127", ["r6 &= 127"], False),
    ("and32_63", ["w6 &= 63"], True),
    ("and32_127", ["w6 &= 127"], False),
    ("and_reg", ["r7 = 63", "r6 &= r7"], True),
    ("and_unknown_with_63", ["r7 = 63", "r7 &= r6", "r6 = r7"], True),
    ("rsh_26", ["r6 >>= 26"], True),
    ("rsh_25", ["r6 >>= 25"], False),
    ("rsh32_26", ["w6 >>= 26"], True),
    ("rsh32_25", ["w6 >>= 25"], False),
    ("rsh_reg", ["r7 = 26", "r6 >>= r7"], True),
    ("rsh_unknown", ["r7 = r6", "r7 &= 7", "r6 &= 63", "r6 >>= r7 SIGNED"], False),
    ("lsh_then_rsh", ["r6 <<= 58", "r6 >>= 58"], True),
    ("lsh_then_rsh_57", ["r6 <<= 57", "r6 >>= 57"], False),
    ("lsh_of_masked", ["r6 &= 7", "r6 <<= 3"], True),
    ("lsh_of_masked_too_far", ["r6 &= 7", "r6 <<= 4"], False),
    ("arsh_of_positive", ["r6 s>>= 26"], True),
    ("arsh32_of_sign", ["w6 s>>= 26"], False),
    ("or_of_masked", ["r6 &= 31", "r6 |= 32"], True),
    ("or_beyond", ["r6 &= 31", "r6 |= 64"], False),
    ("or_of_two", ["r7 = r6", "r7 &= 48", "r6 &= 15", "r6 |= r7"], True),
    ("xor_of_masked", ["r6 &= 63", "r6 ^= 63"], True),
    ("xor_beyond", ["r6 &= 63", "r6 ^= 64"], False),
    ("xor_self", ["r6 ^= r6"], False),
    ("sub_self", ["r6 -= r6 SIGNED"], False),
    ("add_within", ["r6 &= 31", "r6 += 32"], True),
    ("add_beyond", ["r6 &= 31", "r6 += 33"], False),
    ("add_of_two", ["r7 = r6", "r7 &= 31", "r6 &= 31", "r6 += r7"], True),
    ("add_of_two_beyond", ["r7 = r6", "r7 &= 63", "r6 &= 31", "r6 += r7"], False),
    ("add32_within", ["w6 &= 31", "w6 += 32"], True),
    ("add32_wraps", ["w6 += -1", "w6 &= 127"], False),
    ("sub_within", ["r6 &= 31", "r7 = 63", "r7 -= r6", "r6 = r7"], True),
    ("sub_below_zero", ["r6 &= 31", "r6 -= 1 SIGNED"], False),
    ("sub32_wraps", ["w6 &= 31", "w6 -= 1"], False),
    ("mul_within", ["r6 &= 7", "r6 *= 9"], True),
    ("mul_beyond", ["r6 &= 7", "r6 *= 10"], False),
    ("mul32_within", ["w6 &= 7", "w6 *= 9"], True),
    ("mul_of_two", ["r7 = r6", "r7 &= 7", "r6 &= 7", "r6 *= r7"], True),
    ("neg_of_zero_or_one", ["r6 &= 1", "r6 = -r6", "r6 &= 63"], True),
    ("neg_below_zero", ["r6 &= 1", "r6 = -r6 SIGNED"], False),
    ("be16_then_mask", ["r6 = be16 r6", "r6 &= 63"], True),
    ("be16_alone", ["r6 = be16 r6"], False),
    ("le16_then_shift", ["r6 = le16 r6", "r6 >>= 10"], True),
    ("bswap32_then_shift", ["r6 = bswap32 r6", "r6 >>= 26"], True),
    ("mov32_truncates", ["r7 = 0x100000000 ll", "r6 &= 63", "r6 |= r7", "w6 = w6"], True),
    ("mov64_keeps", ["r7 = 0x100000000 ll", "r6 &= 63", "r6 |= r7 SIGNED"], False),
    ("sx8_of_masked", ["r6 &= 63", "r6 = (s8)r6"], True),
    ("sx8_of_unknown", ["r6 = (s8)r6 SIGNED"], False),
    ("sx16_of_masked", ["r6 &= 63", "r6 = (s16)r6"], True),
    ("sx16_of_unknown", ["r6 = (s16)r6 SIGNED"], False),
    ("sx32_of_masked", ["r6 &= 63", "r6 = (s32)r6"], True),
    ("sx32_of_unknown", ["r6 = (s32)r6 SIGNED"], False),
    ("sx8_32_of_masked", ["w6 &= 63", "w6 = (s8)w6"], True),
    ("sx8_32_of_unknown", ["w6 = (s8)w6"], False),
    ("spill_keeps_bounds", ["r6 &= 63", "*(u64 *)(r10 -16) = r6", "r6 = *(u64 *)(r10 -16)"], True),
    ("spill32_keeps_bounds", ["r6 &= 63", "*(u32 *)(r10 -16) = r6", "r6 = *(u32 *)(r10 -16)"], True),
    ("spill_read_in_part", ["r6 &= 63", "*(u64 *)(r10 -16) = r6", "r6 = *(u8 *)(r10 -16)"], True),
    ("spill_partly_overwritten",
     ["r6 &= 63", "*(u64 *)(r10 -16) = r6", "*(u8 *)(r10 -15) = 1", "r6 = *(u64 *)(r10 -16) SIGNED"], False),
    ("two_comparisons", ["if r6 < 0x8 goto out", "if r6 > 0x30 goto out"], True),
    ("copy_is_compared", ["r7 = r6", "if r7 > 0x3f goto out"], True),
    ("copy_plus_constant_is_compared", ["r7 = r6", "r7 += 1", "if r7 > 0x40 goto out"], True),
    ("changed_after_comparison", ["if r6 > 0x3f goto out", "r6 += 1"], False),
    ("load_u8_then_mask", ["r6 &= 255", "if r6 >= 0x40 goto out"], True),
]  # fmt: skip


def arithmetic() -> Iterator[Case]:
    for name, code, accepted in ARITHMETIC:
        yield _index_case(name, code, accepted)


# --- stack


def stack_matrix() -> Iterator[Case]:
    for name, size in SIZES.items():
        for label, at, reason in (
            ("top", -size, ""),
            ("bottom", -512, ""),
            ("below", -512 - size, "stack-range"),
            ("above", 0, "stack-range"),
            # The alignment is looked at first.
            ("across_top", -1 if size > 1 else 1, "stack-align" if size > 1 else "stack-range"),
            ("odd", -17, "" if size == 1 else "stack-align"),
        ):
            why = "" if not reason else f"{size} bytes at r10{at:+d}."
            access = f"*({name} *)(r10 {at:+d})"
            for kind, code in (
                ("store_imm", [f"{access} = 7"]),
                ("store_reg", ["r3 = 7", f"{access} = r3"]),
                ("load", [*([] if reason else [f"{access} = 7"]), f"r0 = {access}"]),
            ):
                yield Case(
                    f"{kind}_{name}_{label}", verdict(not reason, reason), [*code, *END], why
                )


# --- context

FIELDS = ["data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex"]


def ctx_matrix() -> Iterator[Case]:
    for number, label in enumerate(FIELDS):
        at = number * 4
        for name, size in SIZES.items():
            # The last field is for programs behind a devmap only, which cases are not.
            accepted = size == 4 and label != "egress_ifindex"
            why = "" if accepted else f"{label} is read by {size} bytes."
            if label == "egress_ifindex":
                why = "egress_ifindex is there for programs in a devmap only."
            yield Case(
                f"load_{name}_{label}", verdict(accepted, "ctx-access"),
                [f"r0 = *({name} *)(r1 +{at})", *END], why,
            )  # fmt: skip
        yield Case(
            f"store_{label}", "reject ctx-access", [f"*(u32 *)(r1 +{at}) = 1", *END],
            f"{label} is written.",
        )  # fmt: skip
    for at in (-4, 1, 2, 18, 24, 28, 4096):
        yield Case(
            f"load_u32_at_{at}".replace("-", "minus_"), "reject ctx-access",
            [f"r0 = *(u32 *)(r1 {at:+d})", *END], f"No field is at {at}.",
        )  # fmt: skip


# --- pointers and operators

POINTERS = {
    "ctx": ["r6 = r1"],
    "packet": ["r6 = *(u32 *)(r1 +0)"],
    "packet_end": ["r6 = *(u32 *)(r1 +4)"],
    "meta": ["r6 = *(u32 *)(r1 +8)"],
    "stack": ["r6 = r10"],
    "map": ["r6 = map[values]"],
    "value": [*LOOKUP[1:], "r6 = r0"],
    "maybe_value": [*LOOKUP[1:4], "r1 = map[table]", LOOKUP[5], "r6 = r0"],
}
OPERATORS = {
    "add_imm": "r6 += 4", "sub_imm": "r6 -= 4", "add_reg": "r6 += r7", "sub_reg": "r6 -= r7",
    "scalar_plus": "r7 += r6", "scalar_minus": "r7 -= r6", "plus_pointer": "r6 += r6",
    "minus_pointer": "r6 -= r6",
    "mul": "r6 *= 2", "div": "r6 /= 2", "mod": "r6 %= 2", "and": "r6 &= -8", "or": "r6 |= 1",
    "xor": "r6 ^= 1", "lsh": "r6 <<= 1", "rsh": "r6 >>= 1", "arsh": "r6 s>>= 1", "neg": "r6 = -r6",
    "be": "r6 = be64 r6", "add32": "w6 += 4", "sub32": "w6 -= 4", "mov32": "w6 = w6",
    "sx32": "r6 = (s32)r6",
}  # fmt: skip
# Operators after which the result is a mere number, which privileged programs may have.
TO_SCALAR = {"minus_pointer", "neg", "be", "mov32", "sx32"}
FORBIDDEN = {"mul", "div", "mod", "and", "or", "xor", "lsh", "rsh", "arsh"}


def _operator_verdict(pointer: str, operator: str) -> str:
    if operator in TO_SCALAR:
        return "accept"
    if operator == "add32":
        return "reject pointer-32bit"
    if operator == "sub32":
        return "accept"
    if pointer == "stack" and operator.startswith("sub_"):
        return "reject pointer-arithmetic"
    if operator in FORBIDDEN or operator in ("plus_pointer", "scalar_minus"):
        return "reject pointer-arithmetic"
    if pointer in ("map", "packet_end", "maybe_value"):
        return "reject pointer-arithmetic"
    return "accept"


def pointer_operators() -> Iterator[Case]:
    for pointer, setup in POINTERS.items():
        for operator, line in OPERATORS.items():
            code = [*setup, "r7 = 8", line, "out: r0 = 2", "exit"]
            why = f"The operator is not for this kind of pointer ({pointer.replace('_', ' ')})."
            expect = _operator_verdict(pointer, operator)
            yield Case(f"{pointer}_{operator}", expect, code, "" if expect == "accept" else why)


# --- registers


def registers() -> Iterator[Case]:
    for number in (0, *range(2, 10)):
        yield Case(
            f"read_r{number}_at_start", "reject uninit-register", [f"r0 = r{number}", "exit"],
            f"r{number} has no value at the start of a program.", f"initiali, r{number}",
        )  # fmt: skip
    for number in range(1, 6):
        code = ["r1 = 1", "r2 = 2", "r3 = 3", "r4 = 4", "r5 = 5", "call bpf_ktime_get_ns"]
        yield Case(
            f"read_r{number}_after_call", "reject uninit-register", [*code, f"r0 = r{number}", "exit"],
            f"A call leaves nothing in r{number}.", f"initiali, r{number}",
        )  # fmt: skip
    for number in range(6, 10):
        code = [f"r{number} = 5", "call bpf_ktime_get_ns", f"r0 = r{number}", "exit"]
        yield Case(f"keep_r{number}_over_call", "accept", code)
    for label, line in {
        "mov": "r10 = 1", "mov_reg": "r10 = r1", "add": "r10 += 8", "sub": "r10 -= 8",
        "neg": "r10 = -r10", "be": "r10 = be16 r10", "load": "r10 = *(u32 *)(r1 +0)", "mov32": "w10 = 1",
        "wide": "r10 = 0x1 ll", "fetch": "",
    }.items():  # fmt: skip
        raw = {
            "mov": "b7 0a 00 00 01 00 00 00", "mov_reg": "bf 1a 00 00 00 00 00 00",
            "add": "07 0a 00 00 08 00 00 00", "sub": "17 0a 00 00 08 00 00 00",
            "neg": "87 0a 00 00 00 00 00 00", "be": "dc 0a 00 00 10 00 00 00",
            "load": "61 1a 00 00 00 00 00 00", "mov32": "b4 0a 00 00 01 00 00 00",
            "fetch": "db a1 00 00 01 00 00 00",
        }.get(label)  # fmt: skip
        if label == "fetch":
            code = ["*(u64 *)(r10 -8) = 1", "r1 = r10", "r1 += -8", f"raw {raw}", *END]
        elif label == "wide":
            code = ["raw 18 0a 00 00 01 00 00 00", "raw 00 00 00 00 00 00 00 00", *END]
        else:
            code = [f"raw {raw}", *END]
        yield Case(f"write_r10_{label}", "reject write-r10", code, f"{line or 'a fetch into r10'}")
    for number in range(11, 16):
        yield Case(
            f"write_r{number}", "reject bad-register", [f"raw b7 0{number:x} 00 00 01 00 00 00", *END],
            f"There is no r{number}.",
        )  # fmt: skip
        yield Case(
            f"read_r{number}", "reject bad-register", [f"raw bf {number:x}0 00 00 00 00 00 00", *END],
            f"There is no r{number}.",
        )  # fmt: skip


# --- atomics

ATOMICS = [
    ("add64", "u64", "lock *(u64 *)({p} {o}) += r3"), ("or64", "u64", "lock *(u64 *)({p} {o}) |= r3"),
    ("and64", "u64", "lock *(u64 *)({p} {o}) &= r3"), ("xor64", "u64", "lock *(u64 *)({p} {o}) ^= r3"),
    ("fetch_add64", "u64", "r3 = atomic64_fetch_add((u64 *)({p} {o}), r3)"),
    ("fetch_or64", "u64", "r3 = atomic64_fetch_or((u64 *)({p} {o}), r3)"),
    ("xchg64", "u64", "r3 = atomic64_xchg((u64 *)({p} {o}), r3)"),
    ("cmpxchg64", "u64", "r0 = atomic64_cmpxchg((u64 *)({p} {o}), r0, r3)"),
    ("add32", "u32", "lock *(u32 *)({p} {o}) += r3"), ("and32", "u32", "lock *(u32 *)({p} {o}) &= r3"),
    ("fetch_add32", "u32", "r3 = atomic_fetch_add((u32 *)({p} {o}), r3)"),
    ("xchg32", "u32", "r3 = atomic_xchg((u32 *)({p} {o}), r3)"),
    ("cmpxchg32", "u32", "r0 = atomic_cmpxchg((u32 *)({p} {o}), r0, r3)"),
    ("load_acquire64", "u64", "r3 = load_acquire((u64 *)({p} {o}))"),
    ("load_acquire8", "u8", "r3 = load_acquire((u8 *)({p} {o}))"),
    ("store_release64", "u64", "store_release((u64 *)({p} {o}), r3)"),
    ("store_release16", "u16", "store_release((u16 *)({p} {o}), r3)"),
]  # fmt: skip


def atomics() -> Iterator[Case]:
    for label, width, template in ATOMICS:
        size = SIZES[width]
        start = ["r0 = 0", "r3 = 1"]

        def line(pointer: str, offset: str, template: str = template) -> str:
            return template.format(p=pointer, o=offset)

        stack = [*start, "*(u64 *)(r10 -8) = 0", line("r10", "-8"), *END]
        yield Case(f"{label}_stack", "accept", stack)
        value = [
            *LOOKUP[1:],
            "r6 = r0",
            "r0 = 0",
            "r3 = 1",
            line("r6", "+8"),
            "out: r0 = 2",
            "exit",
        ]
        yield Case(f"{label}_value", "accept", value)
        yield Case(
            f"{label}_value_past_end", "reject map-value-range",
            [*value[:-3], line("r6", "+64"), *value[-2:]], "The value ends at byte 64.",
        )  # fmt: skip
        if size > 1:
            yield Case(
                f"{label}_value_odd", "reject atomic-align",
                [*value[:-3], line("r6", "+1"), *value[-2:]], "The access is not aligned.",
            )  # fmt: skip
        packet = [
            *PACKET, "r4 = r2", "r4 += 16", "if r4 > r3 goto out", "r0 = 0", "r3 = 1",
            line("r2", "+0"), "out: r0 = 2", "exit",
        ]  # fmt: skip
        yield Case(f"{label}_packet", "reject atomic-target", packet, "The target is the packet.")
        yield Case(
            f"{label}_ctx", "reject atomic-target", [*start, line("r1", "+0"), *END],
            "The target is the context.",
        )  # fmt: skip
        yield Case(
            f"{label}_number", "reject bad-memory", [*start, "r4 = 64", line("r4", "+0"), *END],
            "The target is a number.",
        )  # fmt: skip


FAMILIES = {
    "packet_compare": (packet_compare, ""),
    "compare_bounds": (compare_bounds, VALUE_MAP),
    "arithmetic": (arithmetic, VALUE_MAP),
    "stack_matrix": (stack_matrix, ""),
    "ctx_matrix": (ctx_matrix, ""),
    "pointer_operators": (pointer_operators, f"{VALUE_MAP}\nmap: table hash 4 64 4"),
    "registers": (registers, ""),
    "atomics": (atomics, VALUE_MAP),
}


def write(topic: str, shared: str, cases: list[Case]) -> None:
    """One .cases file."""
    head = f"# {topic.replace('_', ' ')}: a regular family, written by generate.py and frozen."
    parts = [head if not shared else f"{head}\n\n{shared}", *(case.text() for case in cases)]
    (FOLDER / f"{topic}.cases").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    """Write every family."""
    from generate_helpers import helper_families

    for topic, (family, shared) in {**FAMILIES, **helper_families()}.items():
        cases = list(family())
        write(topic, shared, cases)
        print(f"{len(cases):4} {topic}")


if __name__ == "__main__":
    main()
