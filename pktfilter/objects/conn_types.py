"""The types of a connection, as CO-RE relocations find them whatever target the user names.

Linux gives a program a pointer to its own `struct nf_conn`; here it is a pointer to what the engine
keeps (csrc/prog/conn.h, C1), so the fields are where the engine has them. What it does not keep is
no member, and a relocation for it says so.
"""

from __future__ import annotations

from functools import lru_cache

from ..errors import ObjectError
from .btf import Btf, StringTable
from .btf_types import Array, BtfType, Int, Member, Struct, Void

NAME = "nf_conn"
_PATH = "what the engine keeps of a connection"


class _Types:
    """Records as they are added; `members` are (name, type, byte offset)."""

    def __init__(self) -> None:
        self.records: list[BtfType] = [Void()]

    def add(self, record: BtfType) -> int:
        self.records.append(record)
        return len(self.records) - 1

    def number(self, name: str, size: int) -> int:
        return self.add(Int(name, size, 8 * size, 0, signed=False, char=False, bool=False))

    def struct(self, name: str, size: int, *members: tuple[str, int, int]) -> int:
        made = tuple(Member(one, type_id, 8 * at, 0) for one, type_id, at in members)
        return self.add(Struct(name, size, made, is_union=False))

    def union(self, name: str, size: int, *members: tuple[str, int]) -> int:
        made = tuple(Member(one, type_id, 0, 0) for one, type_id in members)
        return self.add(Struct(name, size, made, is_union=True))


@lru_cache(maxsize=1)
def conn_types() -> Btf:
    """`struct nf_conn` and `struct nf_conn___init`, with the types that they are made of."""
    t = _Types()
    u8, u16 = t.number("unsigned char", 1), t.number("unsigned short", 2)
    u32, u64 = t.number("unsigned int", 4), t.number("unsigned long", 8)
    words, bytes_ = t.add(Array(u32, u32, 4)), t.add(Array(u8, u32, 16))
    halves = t.add(Array(u16, u32, 8))
    parts = t.union("", 16, ("u6_addr8", bytes_), ("u6_addr16", halves), ("u6_addr32", words))
    address = t.union(
        "nf_inet_addr",
        16,
        ("all", words),
        ("ip", u32),
        ("ip6", words),
        ("in", t.struct("in_addr", 4, ("s_addr", u32, 0))),
        ("in6", t.struct("in6_addr", 16, ("in6_u", parts, 0))),
    )
    port = t.struct("", 2, ("port", u16, 0))
    ports = [("all", u16), ("tcp", port), ("udp", port)]
    source_port = t.union("nf_conntrack_man_proto", 2, *ports)
    source = t.struct(
        "nf_conntrack_man", 20, ("u3", address, 0), ("u", source_port, 16), ("l3num", u16, 18)
    )
    target = t.struct(
        "", 20, ("u3", address, 0), ("u", t.union("", 2, *ports), 16), ("protonum", u8, 18), ("dir", u8, 19)
    )  # fmt: skip
    both = t.struct("nf_conntrack_tuple", 40, ("src", source, 0), ("dst", target, 20))
    way = t.struct("nf_conntrack_tuple_hash", 56, ("tuple", both, 16))
    zone = t.struct("nf_conntrack_zone", 4, ("id", u16, 0), ("flags", u8, 2), ("dir", u8, 3))
    conn = t.struct(
        NAME,
        248,
        ("timeout", u32, 8),
        ("zone", zone, 12),
        ("tuplehash", t.add(Array(way, u32, 2)), 16),
        ("status", u64, 128),
        ("mark", u32, 168),
    )
    t.struct(f"{NAME}___init", 248, ("ct", conn, 0))
    return Btf(t.records, StringTable(b"\0", ObjectError), _PATH)
