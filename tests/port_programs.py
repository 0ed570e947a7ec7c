"""Programs that redirect as their packets say, and such packets, for the tests of ports.

A packet says from byte 14 on: which way (WAYS), key or ifindex, flags.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pktfilter as pf
from pktfilter.assembler import assemble, write_object

WAYS = ("redirect", "devmap", "devmap_hash", "cpumap", "action")
VIA, DEV, HASH, CPU, ACTION = range(len(WAYS))
BROADCAST, EXCLUDE = 8, 16
MAPS = ".map dev devmap 4 8 16\n.map devh devmap_hash 4 8 16\n.map cpus cpumap 4 8 16\n"


def router(section: str = "xdp", name: str = "route") -> str:
    """Source of the program."""
    return (
        f".section {section}\n.license GPL\n{MAPS}.program {name}\n{name}:\n"
        "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 17\nr0 = 2\n"
        "if r4 > r3 goto out\nr6 = *(u8 *)(r2 + 14)\nr7 = *(u8 *)(r2 + 15)\nr8 = *(u8 *)(r2 + 16)\n"
        "if r6 == 1 goto dev\nif r6 == 2 goto hash\nif r6 == 3 goto cpu\nif r6 == 4 goto action\n"
        "r1 = r7\nr2 = r8\ncall bpf_redirect\nexit\n"
        "dev:\nr1 = map[dev]\ngoto map\nhash:\nr1 = map[devh]\ngoto map\ncpu:\nr1 = map[cpus]\n"
        "map:\nr2 = r7\nr3 = r8\ncall bpf_redirect_map\nexit\n"
        "action:\nr0 = r7\nout:\nexit\n"
    )


def secondary(section: str, name: str, tag: int = 0) -> str:
    """A program of an entry, to follow the router's: in packets of 42 bytes and more it writes ingress_ifindex, its
    queue, egress_ifindex (devmap only) and its tag at 22, and returns the action of byte 17; REDIRECT goes to dev's
    key of byte 21."""
    egress = "r5 = *(u32 *)(r1 + 20)\n" if section == "xdp/devmap" else "r5 = 0\n"
    return (
        f".section {section}\n.program {name}\n{name}:\n"
        "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 42\nr0 = 1\n"
        f"if r4 > r3 goto out\n{egress}*(u32 *)(r2 + 30) = r5\n"
        "r5 = *(u32 *)(r1 + 12)\n*(u32 *)(r2 + 22) = r5\n"
        "r5 = *(u32 *)(r1 + 16)\n*(u32 *)(r2 + 26) = r5\n"
        f"r5 = {tag}\n*(u32 *)(r2 + 34) = r5\nr0 = *(u8 *)(r2 + 17)\nif r0 != 4 goto out\n"
        "r1 = map[dev]\nr2 = *(u8 *)(r2 + 21)\nr3 = 0\ncall bpf_redirect_map\nout:\nexit\n"
    )


def spec_of(source: str) -> pf.ObjectSpec:
    """The object that the source describes, by way of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.o"
        write_object(assemble(source, "made.s"), path)
        return pf.ObjectSpec.from_file(path)


def packet(
    way: int, key: int, flags: int = 0, number: int = 0, size: int = 64, action: int = 0
) -> bytes:
    """A frame that says where it wants to go; the number is in bytes 18 to 21, the action of secondary
    programs in byte 17."""
    head = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x88\xb5" + bytes((way, key, flags, action))
    return (head + number.to_bytes(4, "little")).ljust(size, b"\xa5")


def numbers(packets: Iterable[bytes]) -> list[int]:
    """The numbers in such frames."""
    return [int.from_bytes(data[18:22], "little") for data in packets]
