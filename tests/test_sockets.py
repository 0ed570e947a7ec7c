"""References and socket lookups: verdicts and answers compared with the kernel's."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from pathlib import Path
from typing import Any

import kernel
import live_net
import pytest

import pktfilter as pf
from pktfilter.assembler import assemble
from pktfilter.objects import ProgramSpec

ENGINES = ("checked", "interp", "jit")


def code(source: str) -> bytes:
    return assemble(source, "sockets.s")[0].insns


def lookup(helper: str = "sk_lookup_tcp", size: int = 12, to: str = "r0") -> str:
    """A call with zeros as its tuple; r6 keeps the ctx."""
    return f"""
        r1 = r6
        r2 = r10
        r2 += -40
        r3 = {size}
        r4 = -1
        r5 = 0
        call bpf_{helper}
        {"" if to == "r0" else f"{to} = r0"}
    """


BEGIN = "r6 = r1\n" + "".join(f"*(u64 *)(r10 {at}) = 0\n" for at in range(-40, 0, 8))
END = "out: r0 = 2\nexit\n"
RELEASE = "call bpf_sk_release\n"

CASES = {
    "released": lookup() + "if r0 == 0 goto out\nr1 = r0\n" + RELEASE,
    "leaked": lookup(),
    "leaked_when_found": lookup() + "if r0 != 0 goto out\n",
    "not_found_then_not_released": lookup() + "if r0 == 0 goto out\n",
    "released_unchecked": lookup() + "r1 = r0\n" + RELEASE,
    "released_twice": lookup(to="r7") + "if r7 == 0 goto out\nr1 = r7\n" + RELEASE + "r1 = r7\n" + RELEASE,
    "released_by_copy": lookup(to="r7") + "r8 = r7\nif r8 == 0 goto out\nr1 = r7\n" + RELEASE,
    "copy_read_after_release": lookup(to="r7")
    + "r8 = r7\nif r7 == 0 goto out\nr1 = r7\n" + RELEASE + "r0 = *(u32 *)(r8 +4)\n",
    "copy_kept_as_number": lookup(to="r7")
    + "r8 = r7\nif r7 == 0 goto out\nr1 = r7\n" + RELEASE + "r8 += 1\n",
    "spilled_and_released": lookup()
    + "*(u64 *)(r10 -48) = r0\nif r0 == 0 goto out\nr1 = *(u64 *)(r10 -48)\n" + RELEASE,
    "spilled_released_read": lookup()
    + "*(u64 *)(r10 -48) = r0\nif r0 == 0 goto out\nr1 = r0\n" + RELEASE
    + "r1 = *(u64 *)(r10 -48)\nr0 = *(u32 *)(r1 +4)\n",
    "spill_overwritten": lookup() + "*(u64 *)(r10 -48) = r0\nr0 = 0\n*(u64 *)(r10 -48) = r0\n",
    "moved": lookup() + "if r0 == 0 goto out\nr0 += 4\nr1 = r0\n" + RELEASE,
    "moved_by_zero": lookup() + "if r0 == 0 goto out\nr0 += 0\nr1 = r0\n" + RELEASE,
    "written": lookup() + "if r0 == 0 goto out\n*(u32 *)(r0 +16) = 1\nr1 = r0\n" + RELEASE,
    "added_to": lookup(to="r7") + "if r7 == 0 goto out\nr1 = 1\nlock *(u32 *)(r7 +16) += r1\nr1 = r7\n" + RELEASE,
    "read_unchecked": lookup(to="r7") + "r1 = *(u32 *)(r7 +4)\nif r7 == 0 goto out\nr1 = r7\n" + RELEASE,
    "read": lookup(to="r7") + "if r7 == 0 goto out\nr0 = *(u32 *)(r7 +4)\nr1 = r7\n" + RELEASE,
    "read_signed": lookup(to="r7") + "if r7 == 0 goto out\nr0 = *(s32 *)(r7 +4)\nr1 = r7\n" + RELEASE,
    "two_released": lookup(to="r7") + lookup("sk_lookup_udp", to="r8")
    + "if r7 == 0 goto second\nr1 = r7\n" + RELEASE + "second: if r8 == 0 goto out\nr1 = r8\n" + RELEASE,
    "two_one_released": lookup(to="r7") + lookup("sk_lookup_udp", to="r8")
    + "if r7 == 0 goto out\nr1 = r7\n" + RELEASE,
    "wrong_one_twice": lookup(to="r7") + lookup("sk_lookup_udp", to="r8")
    + "if r7 == 0 goto second\nr1 = r7\n" + RELEASE + "second: if r8 == 0 goto out\nr1 = r7\n" + RELEASE,
    "in_a_loop": "r9 = 8\nagain:\n" + lookup()
    + "if r0 == 0 goto next\nr1 = r0\n" + RELEASE + "next: r9 += -1\nif r9 != 0 goto again\n",
    "leaked_in_a_loop": "r9 = 8\nagain:\n" + lookup() + "r9 += -1\nif r9 != 0 goto again\n",
    "merged_by_pruning": lookup(to="r7")
    + "r8 = *(u32 *)(r6 +16)\nif r7 == 0 goto out\nif r8 == 1 goto skip\nr1 = r7\n"
    + RELEASE + "skip: r8 = 0\nr7 = 0\n",
    "released_on_both": lookup(to="r7")
    + "r8 = *(u32 *)(r6 +16)\nif r7 == 0 goto out\nif r8 == 1 goto other\nr1 = r7\n" + RELEASE
    + "goto out\nother: r1 = r7\n" + RELEASE,
    "held_at_adjust": lookup(to="r7") + "if r7 == 0 goto out\nr1 = r6\nr2 = 0\ncall bpf_xdp_adjust_head\nr1 = r7\n"
    + RELEASE,
    "release_of_zero": "r1 = 0\n" + RELEASE,
    "release_of_ctx": "r1 = r6\n" + RELEASE,
    "release_of_stack": "r1 = r10\nr1 += -8\n" + RELEASE,
    "jump_of_two_sockets": lookup(to="r7") + lookup(to="r8")
    + "if r7 == 0 goto second\nif r8 == r7 goto both\nr1 = r7\n" + RELEASE
    + "goto second\nboth: r1 = r7\n" + RELEASE + "second: if r8 == 0 goto out\nr1 = r8\n" + RELEASE,
    "equal_means_found": lookup(to="r7") + lookup(to="r8")
    + "if r7 == 0 goto second\nif r8 == r7 goto both\nr1 = r7\n" + RELEASE
    + "goto second\nboth: r1 = r7\n" + RELEASE + "r1 = r8\n" + RELEASE
    + "goto out\nsecond: if r8 == 0 goto out\nr1 = r8\n" + RELEASE,
    "compared_low_half": lookup(to="r7") + "if w7 == 0 goto out\nr1 = r7\n" + RELEASE,
    "compared_above": lookup(to="r7") + "if r7 > 0 goto found\ngoto out\nfound: r1 = r7\n" + RELEASE,
    "returned": lookup() + "exit\n",
    "subprogram_acquires": "r1 = r6\ncall get\nif r0 == 0 goto out\nr1 = r0\n" + RELEASE + "goto out\n"
    "get: " + BEGIN + lookup() + "exit\n",
    "subprogram_leaks": "r1 = r6\ncall get\ngoto out\nget: " + BEGIN + lookup() + "r0 = 0\nexit\n",
    "subprogram_releases": lookup(to="r7") + "if r7 == 0 goto out\nr1 = r7\ncall put\ngoto out\nput: "
    + RELEASE + "r0 = 0\nexit\n",
    "subprogram_releases_twice": lookup(to="r7") + "if r7 == 0 goto out\nr1 = r7\ncall put\nr1 = r7\n"
    + RELEASE + "goto out\nput: " + RELEASE + "r0 = 0\nexit\n",
    "subprogram_releases_some": lookup(to="r7")
    + "if r7 == 0 goto out\nr1 = r7\nr2 = *(u32 *)(r6 +16)\ncall put\ngoto out\n"
    "put: if r2 == 1 goto keep\n" + RELEASE + "keep: r0 = 0\nexit\n",
    "mixed_kinds_at_one_load": "r8 = *(u32 *)(r6 +16)\nif r8 == 1 goto common\n" + lookup(to="r7")
    + "goto have\ncommon:\n" + lookup("skc_lookup_tcp", to="r7")
    + "have: if r7 == 0 goto out\nr0 = *(u32 *)(r7 +4)\nr1 = r7\n" + RELEASE,
    "mixed_kinds_released": "r8 = *(u32 *)(r6 +16)\nif r8 == 1 goto common\n" + lookup(to="r7")
    + "goto have\ncommon:\n" + lookup("skc_lookup_tcp", to="r7")
    + "have: if r7 == 0 goto out\nr1 = r7\n" + RELEASE,
    "tuple_too_far": "r1 = r6\nr2 = r10\nr2 += -8\nr3 = 12\nr4 = -1\nr5 = 0\ncall bpf_sk_lookup_tcp\n"
    "if r0 == 0 goto out\nr1 = r0\n" + RELEASE,
    "tuple_of_nothing": "r1 = r6\nr2 = r10\nr2 += -8\nr3 = 0\nr4 = -1\nr5 = 0\ncall bpf_sk_lookup_tcp\n"
    "if r0 == 0 goto out\nr1 = r0\n" + RELEASE,
}  # fmt: skip


def cookie_case(helper: str, sizes: tuple[int, int], socket_register: str, held: bool) -> str:
    """A call of one of the SYN cookie helpers, on stack memory."""
    body = f"r1 = {socket_register}\nr2 = r10\nr2 += -40\nr3 = {sizes[0]}\n"
    body += f"r4 = r10\nr4 += -40\nr5 = {sizes[1]}\ncall bpf_{helper}\n"
    release = "r1 = r7\n" + RELEASE
    return lookup(to="r7") + "if r7 == 0 goto out\n" + body + (release if held else "")


for _helper in ("tcp_check_syncookie", "tcp_gen_syncookie"):
    CASES[_helper] = cookie_case(_helper, (20, 20), "r7", True)
    CASES[_helper + "_no_release"] = cookie_case(_helper, (20, 20), "r7", False)
    CASES[_helper + "_of_ctx"] = cookie_case(_helper, (20, 20), "r6", True)
    CASES[_helper + "_too_long"] = cookie_case(_helper, (20, 44), "r7", True)
    CASES[_helper + "_empty"] = cookie_case(_helper, (0, 20), "r7", True)


def load_case(helper: str, width: str, at: int) -> str:
    read = f"r0 = *({width} *)(r7 +{at})\n"
    return lookup(helper, to="r7") + "if r7 == 0 goto out\n" + read + "r1 = r7\n" + RELEASE


def kernel_takes(insns: bytes, licence: str = "GPL") -> tuple[bool, str]:
    try:
        with kernel.KernelProgram.load(insns, license=licence) as loaded:
            return True, loaded.log
    except kernel.KernelError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES, errno.E2BIG, errno.EPERM):
            raise
        return False, error.log


@kernel.requires_kernel()
@pytest.mark.parametrize("name", CASES)
def test_verdict_is_linux_s(name: str) -> None:
    insns = code(BEGIN + CASES[name] + END)
    takes, log = kernel_takes(insns)
    ours = pf.verify(insns)
    assert ours.ok == takes, log + str(ours.diagnostics)


@kernel.requires_kernel()
@pytest.mark.parametrize("helper", ["sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp"])
def test_fields_that_can_be_read_are_linux_s(helper: str) -> None:
    taken = 0
    for width, at in itertools.product(("u8", "u16", "u32", "u64", "s8", "s16", "s32"), range(84)):
        insns = code(BEGIN + load_case(helper, width, at) + END)
        takes, log = kernel_takes(insns)
        assert pf.verify(insns).ok == takes, (width, at, log)
        taken += takes
    assert taken > 50


@kernel.requires_kernel()
@pytest.mark.parametrize("helper", ["tcp_check_syncookie", "tcp_gen_syncookie", "sk_release"])
def test_licenses_are_linux_s(helper: str) -> None:
    insns = code(BEGIN + CASES.get(helper, CASES["released"]) + END)
    takes, _ = kernel_takes(insns, "Proprietary")
    assert pf.verify(insns, spec=ProgramSpec("p", "xdp", insns, license="Proprietary")).ok == takes


# ---- what the lookups find ----


def ask(helper: str, size: int, netns: int = 0xFFFFFFFF, flags: int = 0) -> bytes:
    """Looks up the tuple at byte 14 of the packet, and writes the fields that it may read to byte 54 and up."""
    stores = [
        f"r1 = *(u32 *)(r6 +{at})\n*(u32 *)(r8 +{at + 54}) = r1\n"
        for at in range(0, 80, 4)
        if helper != "skc_lookup_tcp" or not 8 <= at <= 20
    ]
    return code(
        f"""
        r7 = r1
        r8 = *(u32 *)(r1 +0)
        r9 = *(u32 *)(r1 +4)
        r2 = r8
        r2 += 134
        if r2 > r9 goto none
        r2 = r8
        r2 += 14
        r1 = r7
        r3 = {size}
        r4 = {netns} ll
        r5 = {flags}
        call bpf_{helper}
        if r0 == 0 goto none
        r6 = r0
        {"".join(stores)}
        r1 = r6
        call bpf_sk_release
        r0 = 2
        exit
        none: r0 = 1
        exit
        """
    )


def tuple_of(source: str, source_port: int, target: str, target_port: int) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    return addresses + struct.pack(">HH", source_port, target_port)


def frame(asked: bytes) -> bytes:
    return bytes(14) + asked.ljust(40, b"\0") + bytes(80)


class World:
    """Sockets of the test's own, and the same as rows of a network."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._held: list[socket.socket] = []

    def bind(
        self, kind: int, address: str, port: int, *,
        v6only: bool = False, dev: str | None = None, mark: int = 0, to: tuple[str, int] | None = None,
    ) -> int:  # fmt: skip
        """A TCP socket listens unless it is connected `to` an address. Returns its port."""
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        self._held.append(made)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        if dev:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode() + b"\0")
        if mark:
            made.setsockopt(socket.SOL_SOCKET, 36, mark)  # SO_MARK
        made.bind((address, port))
        port = made.getsockname()[1]
        row: dict[str, Any] = {"proto": "tcp" if kind == socket.SOCK_STREAM else "udp"}
        row |= {"local": address, "local_port": port, "v6only": v6only, "mark": mark}
        if dev:
            row["dev"] = dev
        if to:
            made.connect(to)
            row |= {"remote": to[0], "remote_port": to[1]}
        elif kind == socket.SOCK_STREAM:
            made.listen(8)
        self.rows.append(row)
        return int(port)

    def close(self) -> None:
        for made in self._held:
            made.close()


@kernel.requires_kernel()
def test_lookups_find_what_linux_finds() -> None:
    with live_net.namespace() as net:
        net.call(_compare_lookups)


def _fill(world: World) -> list[bytes]:
    """Makes sockets; the tuples to ask for."""
    for name in ("all", "lo"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    world.bind(tcp, "127.0.0.1", 1000, mark=7)
    world.bind(tcp, "0.0.0.0", 1001)
    world.bind(tcp, "127.0.0.2", 1001)
    world.bind(tcp, "::", 1002)
    world.bind(tcp, "::", 1003, v6only=True)
    world.bind(tcp, "::1", 1004)
    world.bind(udp, "127.0.0.1", 1000)
    world.bind(udp, "0.0.0.0", 1001)
    world.bind(udp, "::", 1002)
    world.bind(udp, "::1", 1003)
    world.bind(udp, "127.0.0.1", 1005, dev="lo")
    world.bind(udp, "127.0.0.1", 1006, to=("127.0.0.1", 9))
    client = world.bind(tcp, "127.0.0.1", 0, to=("127.0.0.1", 1000))
    client6 = world.bind(tcp, "::1", 0, to=("::1", 1004))
    four, six = ("127.0.0.1", "127.0.0.2", "10.0.0.1"), ("::1", "fe80::1")
    asked = [tuple_of("127.0.0.1", 9, to, port) for to in four for port in range(999, 1008)]
    asked += [tuple_of("::1", 9, to, port) for to in six for port in range(999, 1008)]
    asked.append(tuple_of("127.0.0.1", 8, "127.0.0.1", 1006))
    asked.append(tuple_of("127.0.0.1", 1000, "127.0.0.1", client))
    asked.append(tuple_of("127.0.0.1", 1001, "127.0.0.1", client))
    asked.append(tuple_of("::1", 1004, "::1", client6))
    return asked


def _meant(packet: bytes) -> bytes:
    """The fields that mean something: addresses of the socket's own family, and not rx_queue_mapping, which is
    the queue of the last packet that it got."""
    fields = bytearray(packet[54:130])
    family = struct.unpack_from("<I", fields, 4)[0]
    for at, size in ((28, 16), (56, 16)) if family == socket.AF_INET else ((24, 4), (52, 4)):
        fields[at : at + size] = bytes(size)
    return bytes(fields)


def _compare_lookups() -> None:
    world = World()
    here = 2**64 - 1
    shapes = ((12, here, 0), (36, here, 0), (12, 2**32 - 1, 0), (12, 77, 0), (12, here, 1),
              (12, 2**40, 0), (13, here, 0), (0, here, 0))  # fmt: skip
    found = 0
    try:
        asked = _fill(world)
        network = pf.Network(link=[{"ifindex": 1, "ifname": "lo"}], socket=world.rows)
        for helper in ("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp"):
            for shape in shapes:
                insns = ask(helper, *shape)
                prog = pf.Program.from_bytes(insns)
                with kernel.KernelProgram.load(insns) as theirs:
                    for one in asked:
                        expected = theirs.test_run(frame(one))
                        found += expected.retval == 2
                        for engine in ENGINES:
                            run = prog.test_run(frame(one), network=network, engine=engine)
                            place = (helper, shape, one.hex(), engine)
                            assert run.retval == expected.retval, place
                            assert _meant(run.data) == _meant(expected.packet), place
    finally:
        world.close()
    assert found > 60


def test_an_empty_system_has_no_sockets() -> None:
    prog = pf.Program.from_bytes(ask("sk_lookup_tcp", 12))
    for network in (None, pf.Network()):
        for engine in ENGINES:
            assert prog.test_run(frame(bytes(12)), network=network, engine=engine).retval == 1


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"proto": "sctp", "local_port": 1}, "proto"),
        ({"proto": "tcp"}, "local_port"),
        ({"proto": "tcp", "local": "10.0.0.300", "local_port": 1}, "local"),
        ({"proto": "tcp", "local": "10.0.0.1", "local_port": 1, "remote": "::1"}, "local"),
        ({"proto": "tcp", "local_port": 1, "remote": "10.0.0.1"}, "remote_port"),
        ({"proto": "tcp", "local_port": 1, "state": "ASLEEP"}, "state"),
        ({"proto": "tcp", "local_port": 1, "state": 13}, "state"),
        ({"proto": "udp", "local_port": 1, "state": "LISTEN"}, "state"),
        ({"proto": "tcp", "local_port": 1, "dev": "eth9"}, "dev"),
        ({"proto": "tcp", "local_port": 1, "netns": 2**31}, "netns"),
        ({"proto": "tcp", "local_port": 1, "v6only": 1}, "v6only"),
    ],
)
def test_what_is_no_socket_is_refused(row: dict[str, Any], place: str) -> None:
    with pytest.raises(pf.InputError) as caught:
        pf.Network.from_json({"socket": [row]})
    assert f"socket[0].{place}" in str(caught.value)
