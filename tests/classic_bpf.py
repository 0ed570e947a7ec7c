"""A machine for classic BPF in a page: what programs of `pktfilter.expressions` are compared with.

Written from the description of the machine, not from the translator: rows (code, jt, jf, k) are
executed as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[int, int, int, int]
WORD = 0xFFFFFFFF


class Rejected(Exception):
    """A load outside the packet, or a division by zero."""


def load(packet: bytes, at: int, size: int) -> int:
    if at + size > len(packet):
        raise Rejected
    return int.from_bytes(packet[at : at + size], "big")


def run(rows: Sequence[Row], packet: bytes, wire_len: int, budget: int = 1 << 20) -> int:
    """The program's 32-bit result: 0 rejects."""
    try:
        return _run(rows, packet, wire_len, budget)
    except Rejected:
        return 0


def _run(rows: Sequence[Row], packet: bytes, wire_len: int, budget: int) -> int:
    a = x = pc = 0
    words = [0] * 16
    while budget:
        budget -= 1
        code, jt, jf, k = rows[pc]
        pc += 1
        kind, mode, size = code & 7, code & 0xE0, {0: 4, 8: 2, 16: 1}.get(code & 0x18, 0)
        if kind in (0, 1):
            if mode == 0xA0:
                value = 4 * (load(packet, k, 1) & 15)
            elif mode in (0x20, 0x40):
                value = load(packet, k if mode == 0x20 else x + k, size)
            else:
                value = {0x00: k, 0x60: words[k & 15], 0x80: wire_len}[mode]
            if kind == 0:
                a = value
            else:
                x = value
        elif kind == 2:
            words[k] = a
        elif kind == 3:
            words[k] = x
        elif kind == 4:
            a = arithmetic(code & 0xF0, a, x if code & 8 else k)
        elif kind == 5:
            operand = x if code & 8 else k
            test = code & 0xF0
            if test == 0:
                pc += k - (1 << 32) if k >> 31 else k
                continue
            taken = {
                0x10: a == operand,
                0x20: a > operand,
                0x30: a >= operand,
                0x40: a & operand != 0,
            }[test]
            pc += jt if taken else jf
        elif kind == 6:
            return a if code & 0x18 == 0x10 else k
        elif code & 0xF8 == 0x80:
            a = x
        else:
            x = a
    raise AssertionError("the program does not end")


def arithmetic(op: int, a: int, b: int) -> int:
    if op in (0x30, 0x90) and b == 0:
        raise Rejected
    value = {
        0x00: lambda: a + b,
        0x10: lambda: a - b,
        0x20: lambda: a * b,
        0x30: lambda: a // b,
        0x40: lambda: a | b,
        0x50: lambda: a & b,
        0x60: lambda: a << b if b < 32 else 0,
        0x70: lambda: a >> b if b < 32 else 0,
        0x80: lambda: -a,
        0x90: lambda: a % b,
        0xA0: lambda: a ^ b,
    }[op]()
    return value & WORD
