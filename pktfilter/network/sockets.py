"""Section `socket` of a network: what bpf_sk_lookup_tcp and its like find."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .row import INET, INET6, U32, Row

_PROTOCOLS = {"tcp": 6, "udp": 17}
_TYPES = {6: 1, 17: 2}  # SOCK_STREAM, SOCK_DGRAM
#: Linux's numbers (uapi/linux/bpf.h, BPF_TCP_*), by the names that `ss` prints.
STATES = {
    "ESTABLISHED": 1,
    "SYN-SENT": 2,
    "SYN-RECV": 3,
    "FIN-WAIT-1": 4,
    "FIN-WAIT-2": 5,
    "TIME-WAIT": 6,
    "CLOSE": 7,
    "CLOSE-WAIT": 8,
    "LAST-ACK": 9,
    "LISTEN": 10,
    "CLOSING": 11,
    "NEW-SYN-RECV": 12,
}
_ESTABLISHED, _TIME_WAIT, _CLOSE, _LISTEN = 1, 6, 7, 10


def read_sockets(
    file: str | None,
    rows: Sequence[Mapping[str, Any]],
    device: Callable[[Row, str], int],
) -> list[tuple[bytes, int, bool, bool]]:
    """Rows for the core: struct bpf_sock, namespace, IPv6 only, SYN cookies.

    Raises `InputError` with section, row and key. `device` finds a link's number by its name.
    """
    return [_socket(Row(file, "socket", at, data), device) for at, data in enumerate(rows)]


def _socket(row: Row, device: Callable[[Row, str], int]) -> tuple[bytes, int, bool, bool]:
    protocol = _PROTOCOLS.get(row.text("proto"), 0)
    if not protocol:
        row.refuse("no such protocol", "proto", repr(row.data["proto"]), "tcp or udp")
    local, remote = row.data.get("local"), row.data.get("remote")
    family = INET6 if any(isinstance(a, str) and ":" in a for a in (local, remote)) else INET
    width = 16 if family == INET6 else 4
    source = bytes(width) if local is None else row.address("local", family)
    target = bytes(width) if remote is None else row.address("remote", family)
    source_port = row.number("local_port", 1, 65535)
    target_port = row.number("remote_port", 1, 65535) if remote is not None else 0
    state = _state(row, protocol, connected=remote is not None)
    dev = device(row, "dev") if "dev" in row.data else 0
    image = struct.pack(
        "=6I4s16sI2s2x4s16sIi",
        dev,
        socket.AF_INET6 if family == INET6 else socket.AF_INET,
        _TYPES[protocol],
        protocol,
        row.number("mark", 0, U32, 0),
        row.number("priority", 0, U32, 0),
        source if family == INET else bytes(4),
        source if family == INET6 else bytes(16),
        source_port,
        struct.pack(">H", target_port),
        target if family == INET else bytes(4),
        target if family == INET6 else bytes(16),
        state,
        row.number("rx_queue", -1, 65534, -1),
    )
    only6 = row.flag("v6only", default=False)
    return (
        image,
        row.number("netns", -1, 2**31 - 1, -1),
        only6,
        row.flag("syncookies", default=False),
    )


def _state(row: Row, protocol: int, *, connected: bool) -> int:
    """The state's number; what is not given follows from the remote end."""
    if protocol == _PROTOCOLS["udp"]:
        default = _ESTABLISHED if connected else _CLOSE
    else:
        default = _ESTABLISHED if connected else _LISTEN
    state = row.choice("state", STATES, default)
    if state not in STATES.values():
        row.refuse("no such state", "state", str(state), ", ".join(STATES))
    fits = state in (_ESTABLISHED, _CLOSE) if protocol == _PROTOCOLS["udp"] else True
    if not fits or (state == _LISTEN and connected):
        row.refuse(
            "a socket cannot be in this state",
            "state",
            next(name for name, number in STATES.items() if number == state),
            "LISTEN only without `remote`, and only of TCP; UDP is CLOSE or ESTABLISHED",
        )
    return state
