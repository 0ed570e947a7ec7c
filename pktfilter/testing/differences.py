"""How two packets differ, in words: by field where scapy can read them, and in hex."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

_ROW = 16
_ROWS = 12  # of hex, at most


def packet_difference(found: bytes, expected: bytes) -> list[str]:
    """Lines that say what differs; none for equal packets."""
    if found == expected:
        return []
    out = [f"{len(found)} bytes, expected {len(expected)}"] if len(found) != len(expected) else []
    return out + _fields(found, expected) + _hex(found, expected)


def summary(packet: bytes) -> str:
    """A packet in one line: scapy's words, or its length and first bytes."""
    layers = _layers(packet)
    if layers is not None:
        return str(layers.summary())
    return f"{len(packet)} bytes: {packet[:32].hex()}{'...' if len(packet) > 32 else ''}"


def _layers(packet: bytes) -> Any:
    try:
        from scapy.layers.l2 import Ether
    except ImportError:
        return None
    try:
        return Ether(packet)
    except Exception:  # scapy on hostile bytes: any exception; hex says it then
        return None


def _fields(found: bytes, expected: bytes) -> list[str]:
    ours, theirs = _layers(found), _layers(expected)
    out: list[str] = []
    while ours and theirs:
        if type(ours) is not type(theirs):
            return [*out, f"layer {ours.name}, expected {theirs.name}"]
        for field in ours.fields_desc:
            a, b = ours.getfieldval(field.name), theirs.getfieldval(field.name)
            if a != b and not (ours.name == "Raw" and field.name == "load"):
                out.append(f"{ours.name}.{field.name} is {a!r}, expected {b!r}")
        ours, theirs = ours.payload, theirs.payload
    return out


def _hex(found: bytes, expected: bytes) -> list[str]:
    rows = [
        (at, found[at : at + _ROW], expected[at : at + _ROW])
        for at in range(0, max(len(found), len(expected)), _ROW)
        if found[at : at + _ROW] != expected[at : at + _ROW]
    ]
    out = []
    for at, a, b in rows[:_ROWS]:
        marks = ["^^" if x != y else "  " for x, y in zip_longest(a, b)]
        out += [f"{at:06x}  found     {a.hex(' ')}", f"        expected  {b.hex(' ')}"]
        out.append(f"                  {' '.join(marks)}".rstrip())
    if len(rows) > _ROWS:
        out.append(f"... and {len(rows) - _ROWS} more rows of {_ROW} bytes")
    return out
