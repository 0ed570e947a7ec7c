"""Section `ct` of a network: what the connection table begins with."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from .row import INET, INET6, U32, Row

_PROTOCOLS = {"tcp": 6, "udp": 17}
#: Linux's bits (uapi/linux/netfilter/nf_conntrack_common.h, IPS_*).
STATUS = {
    "expected": 0x1,
    "seen_reply": 0x2,
    "assured": 0x4,
    "confirmed": 0x8,
    "src_nat": 0x10,
    "dst_nat": 0x20,
    "seq_adjust": 0x40,
    "src_nat_done": 0x80,
    "dst_nat_done": 0x100,
    "fixed_timeout": 0x400,
    "helper": 0x2000,
    "offload": 0x4000,
    "hw_offload": 0x8000,
}
_CONFIRMED = STATUS["confirmed"]
_ESTABLISHED = ("seen_reply", "assured")
#: Seconds: what Linux gives an established TCP connection and an assured UDP one.
_TIMEOUTS = {6: 432_000, 17: 120}
_TIMEOUT_MAX = 4_000_000
_BOTH_WAYS = 3

Entry = tuple[bytes, bytes, int, int, int, int, int, int]


def read_connections(file: str | None, rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Rows for the core: both tuples, zone, its ways, namespace, status, mark, milliseconds.

    Raises `InputError` with row and key. Both tuples are struct nf_conntrack_tuple; two rows that
    Linux could not hold at a time are refused as well.
    """
    seen: dict[tuple[bytes, int, int], int] = {}
    found = []
    for at, data in enumerate(rows):
        row = Row(file, "ct", at, data)
        entry = _entry(row)
        for way, packed in enumerate(entry[:2]):
            zone = entry[2] if entry[3] >> way & 1 else 0
            before = seen.setdefault((packed[:39], zone, entry[4]), at)
            if before != at:
                row.refuse(
                    "a connection has the same addresses and ports as another",
                    "src" if way == 0 else "reply",
                    f"those of ct[{before}]",
                    "each tuple once in a zone",
                )
        found.append(entry)
    return found


def _entry(row: Row) -> Entry:
    protocol = _PROTOCOLS.get(row.text("proto"), 0)
    if not protocol:
        row.refuse("no such protocol", "proto", repr(row.data["proto"]), "tcp or udp")
    family = INET6 if ":" in row.text("src") else INET
    ends = _ends(row, family)
    back = (*ends[2:], *ends[:2])
    if "reply" in row.data:
        back = _ends(row.row("reply"), family)
    return (
        _tuple(ends, family, protocol, 0),
        _tuple(back, family, protocol, 1),
        row.number("zone", 0, 0xFFFF, 0),
        row.number("zone_dir", 1, _BOTH_WAYS, _BOTH_WAYS),
        row.number("netns", -1, 2**31 - 1, -1),
        _status(row),
        row.number("mark", 0, U32, 0),
        1000 * row.number("timeout", 1, _TIMEOUT_MAX, _TIMEOUTS[protocol]),
    )


def _ends(row: Row, family: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Source address and port, destination address and port."""
    source, target = row.address("src", family), row.address("dst", family)
    ports = [row.number(key, 0, 65535).to_bytes(2, "big") for key in ("sport", "dport")]
    return source, ports[0], target, ports[1]


def _tuple(ends: tuple[bytes, ...], family: int, protocol: int, way: int) -> bytes:
    source, source_port, target, target_port = ends
    return struct.pack(
        "=16s2sH16s2sBB", source, source_port, family, target, target_port, protocol, way
    )


def _status(row: Row) -> int:
    value = row.data.get("status", list(_ESTABLISHED))
    if isinstance(value, int) and not isinstance(value, bool):
        return row.number("status", 0, 0xFFFF) | _CONFIRMED
    bits = _CONFIRMED
    for name in row.texts("status") if "status" in row.data else _ESTABLISHED:
        if name not in STATUS:
            row.refuse("no such status", "status", f"'{name}'", ", ".join(STATUS))
        bits |= STATUS[name]
    return bits


def spell(entry: Entry) -> dict[str, Any]:
    """A row as section `ct` has it, of what the core lists."""
    import socket

    def side(packed: bytes) -> dict[str, Any]:
        source, source_port, family, target, target_port, _, _ = struct.unpack(
            "=16s2sH16s2sBB", packed
        )
        width = 16 if family == INET6 else 4
        kind = socket.AF_INET6 if family == INET6 else socket.AF_INET
        return {
            "src": socket.inet_ntop(kind, source[:width]),
            "sport": int.from_bytes(source_port, "big"),
            "dst": socket.inet_ntop(kind, target[:width]),
            "dport": int.from_bytes(target_port, "big"),
        }

    original, reply, zone, zone_dir, netns, status, mark, left = entry
    return {
        "proto": "tcp" if original[38] == _PROTOCOLS["tcp"] else "udp",
        **side(original),
        "reply": side(reply),
        "zone": zone,
        "zone_dir": zone_dir,
        "netns": netns,
        "status": [name for name, bit in STATUS.items() if status & bit],
        "mark": mark,
        # Whole seconds, so that what is listed can be given again.
        "timeout": max(left // 1000, 1),
    }
