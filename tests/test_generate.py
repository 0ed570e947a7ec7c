"""The generator, the committed captures, and the oracles that other tests rely on."""

from __future__ import annotations

import errno
import hashlib
import runpy
import struct
import tracemalloc
from collections import Counter
from pathlib import Path

import kernel
import packets
import pytest
import readers

from pktfilter import generate as generate_module
from pktfilter.generate import START_S, blocks, generate
from pktfilter.generate_profiles import profiles

PCAPS = Path(__file__).resolve().parents[1] / "pcaps"


def capture(*arguments: object, **options: object) -> readers.Capture:
    made = b"".join(blocks(*arguments, **options))  # type: ignore[arg-type]
    found = readers.walk(made)
    assert found.damage is None
    return found


# --- the generator ---------------------------------------------------------------------------


@pytest.mark.parametrize("profile", sorted(profiles()))
def test_same_seed_same_bytes_whatever_the_block(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = generate(tmp_path / "a.pcap", 3000, profile, seed=7)
    data = (tmp_path / "a.pcap").read_bytes()
    assert hashlib.sha256(data).hexdigest() == first.sha256
    assert first.bytes == len(data)
    found = readers.walk(data)
    assert found.damage is None
    assert first.packets == len(found.records) == 3000
    assert first.captured == sum(record.cap_len for record in found.records)
    monkeypatch.setattr(generate_module, "BLOCK", 701)
    assert generate(tmp_path / "b.pcap", 3000, profile, seed=7).sha256 == first.sha256
    assert generate(tmp_path / "c.pcap", 3000, profile, seed=8).sha256 != first.sha256


def _layers(frame: bytes) -> tuple[list[int], int, int]:
    """Ethertypes up to the network layer, that layer's type, and where it begins."""
    at, seen = 12, []
    while True:
        (kind,) = struct.unpack_from(">H", frame, at)
        seen.append(kind)
        at += 2
        if kind not in (0x8100, 0x88A8):
            return seen, kind, at
        at += 2


def _transport_error(pseudo: bytes, proto: int, segment: bytes) -> bool:
    if proto == packets.UDP and segment[6:8] == b"\0\0":
        return False
    covered = segment if proto == packets.ICMP else pseudo + segment
    return proto in (packets.TCP, packets.UDP, packets.ICMP, packets.ICMP6) and (
        packets.checksum(covered) != 0
    )


def checksum_error(frame: bytes) -> str | None:
    """Which checksum of a whole frame is wrong, by a parser of the tests' own."""
    _, kind, at = _layers(frame)
    if kind == 0x0800:
        length, _, fragment = struct.unpack_from(">HHH", frame, at + 2)
        if packets.checksum(frame[at : at + 20]):
            return "IPv4 header"
        proto, pair = frame[at + 9], frame[at + 12 : at + 20]
        if fragment & 0x3FFF:
            return None
        segment = frame[at + 20 : at + length]
        pseudo = pair + struct.pack(">BBH", 0, proto, len(segment))
        return f"protocol {proto}" if _transport_error(pseudo, proto, segment) else None
    if kind == 0x86DD:
        length, proto = struct.unpack_from(">HB", frame, at + 4)
        segment = frame[at + 40 : at + 40 + length]
        if len(segment) != length:
            return "IPv6 length"
        if proto == 0:
            proto, segment = segment[0], segment[8 + 8 * segment[1] :]
        pseudo = frame[at + 8 : at + 40] + struct.pack(">II", len(segment), proto)
        return f"IPv6 protocol {proto}" if _transport_error(pseudo, proto, segment) else None
    return None


@pytest.mark.parametrize("profile", sorted(profiles()))
def test_lengths_and_checksums_are_valid(profile: str) -> None:
    for number, record in enumerate(capture(4000, profile, seed=3).records):
        assert record.linktype == 1
        assert record.cap_len == record.orig_len >= 60
        assert checksum_error(record.data) is None, f"packet {number}"


def test_the_checksum_test_can_fail() -> None:
    frame = bytearray(capture(1, "64").records[0].data)
    frame[50] ^= 1
    assert checksum_error(bytes(frame)) == "protocol 17"
    frame[16] ^= 1
    assert checksum_error(bytes(frame)) == "IPv4 header"


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024, 1280, 1518])
def test_rfc2544_frames_have_one_size_and_benchmark_addresses(size: int) -> None:
    found = capture(500, f"rfc2544_{size}").records
    assert {record.cap_len for record in found} == {size - 4}
    assert {record.data[26:28] for record in found} == {b"\xc6\x12"}
    assert {record.data[30:32] for record in found} == {b"\xc6\x13"}


def test_imix_shares_and_cyclic_order() -> None:
    cyclic = capture(96, "imix_csit_v4_1", order="cyclic").records
    sizes = [record.cap_len for record in cyclic]
    assert Counter(sizes) == {60: 56, 566: 32, 1514: 8}
    # 28:16:4 reduces to a cycle of 12.
    assert sizes[:12] == sizes[12:24] == [60] * 7 + [566] * 4 + [1514]
    shuffled = Counter(record.cap_len for record in capture(24000, "imix_csit_v4_1").records)
    for size, share in ((60, 28 / 48), (566, 16 / 48), (1514, 4 / 48)):
        assert abs(shuffled[size] / 24000 - share) < 0.015


def test_backbone_is_bimodal() -> None:
    sizes = [record.cap_len for record in capture(20000, "backbone").records]
    assert abs(sum(size <= 66 for size in sizes) / 20000 - 0.385) < 0.02
    assert abs(sum(size > 1038 for size in sizes) / 20000 - 0.378) < 0.02


def test_mix_has_its_shares() -> None:
    count = 20000
    seen: Counter[str] = Counter()
    for record in capture(count, "mix").records:
        tags, kind, at = _layers(record.data)
        seen["vlan"] += len(tags) > 1
        seen["ipv6"] += kind == 0x86DD
        seen["arp"] += kind == 0x0806
        if kind == 0x0800:
            (fragment,) = struct.unpack_from(">H", record.data, at + 6)
            seen["fragment"] += bool(fragment & 0x3FFF)
            proto = record.data[at + 9]
            seen[f"proto {proto}"] += 1
            if proto == packets.TCP:
                ports = struct.unpack_from(">HH", record.data, at + 20)
                seen.update(f"port {port}" for port in ports if port in (23, 80, 445))
    for name, share, margin in (
        ("vlan", 0.03, 0.005), ("ipv6", 0.10, 0.01), ("fragment", 0.005, 0.002),
        ("arp", 0.01, 0.003), ("port 23", 0.02, 0.005), ("port 445", 0.025, 0.005),
    ):  # fmt: skip
        assert abs(seen[name] / count - share) < margin, (name, seen[name])
    assert all(seen[f"proto {proto}"] for proto in (1, 2, 4, 6, 17, 41, 47))


@pytest.mark.parametrize(
    ("flows", "low", "high"),
    [("one", 1, 1), ("zipf", 600, 1000), ("per-packet", 14990, 15000), (50, 50, 50)],
)
def test_flows(flows: str | int, low: int, high: int) -> None:
    found = Counter(
        record.data[26:38] for record in capture(15000, "imix_simple", flows=flows).records
    )
    assert low <= len(found) <= high
    if flows == "zipf":
        sizes = [count for _, count in found.most_common()]
        assert sizes[0] > 5 * sizes[len(sizes) // 10] > 5 * sizes[-1]


def test_synflood_is_syns_from_everywhere() -> None:
    found = capture(2000, "synflood").records
    assert {record.cap_len for record in found} == {60}
    assert {record.data[47] for record in found} == {2}
    assert len({record.data[26:30] for record in found}) > 1990
    assert len({record.data[30:34] for record in found}) == 1


@pytest.mark.parametrize(("kind", "unit"), [("pcap", 1000), ("pcap-ns", 1)])
@pytest.mark.parametrize("order", ["little", "big"])
def test_timestamps_and_byte_order(kind: str, unit: int, order: str) -> None:
    found = capture(50, "mix", format=kind, byte_order=order, rate=3_000_000)
    assert found.byte_order == {"little": "<", "big": ">"}[order]
    for number, record in enumerate(found.records):
        expected = number * 10**9 // 3_000_000 // unit * unit
        assert record.ts_ns == START_S * 10**9 + expected
    plain = capture(50, "mix").records
    assert [record.data for record in found.records] == [record.data for record in plain]


def test_snaplen_cuts_and_keeps_the_length() -> None:
    whole, cut = capture(500, "mix").records, capture(500, "mix", snaplen=77).records
    assert [record.data[:77] for record in whole] == [record.data for record in cut]
    assert [record.orig_len for record in whole] == [record.orig_len for record in cut]


def test_memory_does_not_grow_with_the_capture() -> None:
    tracemalloc.start()
    try:
        pieces = blocks(20_000_000, "rfc2544_1518")
        for _ in range(4):
            next(pieces)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"profile": "nothing"}, "imix_simple"),
        ({"packets": -1}, "packets is -1"),
        ({"flows": "many"}, "per-packet"),
        ({"flows": 0}, "flows is 0"),
        ({"format": "pcapng"}, "pcap-ns"),
        ({"byte_order": "native"}, "little or big"),
        ({"rate": 0}, "rate is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"snaplen": 13}, "snaplen is 13"),
        ({"order": "random"}, "cyclic"),
        ({"profile": "mix", "order": "cyclic", "packets": 5}, None),
    ],
)
def test_bad_parameters_leave_the_file_alone(
    options: dict[str, object], word: str | None, tmp_path: Path
) -> None:
    target = tmp_path / "kept.pcap"
    target.write_bytes(b"precious")
    if word is None:
        generate(target, **options)  # type: ignore[arg-type]
        assert len(readers.walk(target).records) == 5
        return
    with pytest.raises(ValueError, match=word):
        generate(target, **options)  # type: ignore[arg-type]
    assert target.read_bytes() == b"precious"


def test_no_packets_is_an_empty_capture(tmp_path: Path) -> None:
    assert generate(tmp_path / "empty.pcap", 0).bytes == 24
    assert readers.walk(tmp_path / "empty.pcap").records == []


def test_a_full_disk_is_an_oserror() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as caught:
        generate("/dev/full", 10)
    assert caught.value.errno == errno.ENOSPC


# --- the committed captures ------------------------------------------------------------------


def test_committed_captures_are_what_regenerate_builds(tmp_path: Path) -> None:
    built = runpy.run_path(str(PCAPS / "regenerate.py"))["build"](tmp_path)
    table = (PCAPS / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in PCAPS.iterdir() if path.suffix in (".pcap", ".pcapng")}
    assert names == set(built)
    for name, digest in built.items():
        assert (tmp_path / name).read_bytes() == (PCAPS / name).read_bytes(), name
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        assert digest in row, name
        assert (PCAPS / name).stat().st_size <= 200_000, name


@pytest.mark.parametrize(
    ("name", "count"),
    [("demo.pcap", 2000), ("imix.pcap", 480), ("nano.pcap", 200), ("big-endian.pcap", 200),
     ("two-interfaces.pcapng", 120)],
)  # fmt: skip
def test_other_programs_read_the_committed_captures_alike(name: str, count: int) -> None:
    path = PCAPS / name
    mine = readers.walk(path)
    assert mine.damage is None
    assert len(mine.records) == count
    data = [record.data for record in mine.records]
    assert [packet for _, packet in readers.read_dpkt(path)] == data
    assert readers.read_scapy(path) == data
    assert readers.tcpdump_count(path) == readers.capinfos_count(path) == count
    expected = [(r.ts_ns, r.cap_len, r.orig_len) for r in mine.records]
    assert readers.tshark_records(path) == expected


def test_the_truncated_capture_is_damaged() -> None:
    found = readers.walk(PCAPS / "truncated.pcap")
    assert len(found.records) == 39
    assert found.damage is not None and "the file 20 more" in found.damage
    with pytest.raises(ValueError, match="truncated"):
        readers.tcpdump_count(PCAPS / "truncated.pcap")


# --- the walker against the shared manifest --------------------------------------------------


def test_walker_agrees_with_the_manifest() -> None:
    rows = [r for r in readers.manifest() if r.oracle == "agree" and r.category != "hostile"]
    assert len(rows) > 300
    wrong = []
    for row in rows:
        found = readers.walk(row.path)
        if (len(found.records), found.sha256) != (row.packets, row.data_sha256) or found.damage:
            wrong.append((row.file, row.packets, len(found.records), found.damage))
    assert wrong == []


# --- packets ---------------------------------------------------------------------------------


def test_varied_packets_are_deterministic_and_within_bounds() -> None:
    found = packets.varied(1500, seed=5)
    assert found == packets.varied(1500, seed=5)
    assert found != packets.varied(1500, seed=6)
    assert found[:100] == packets.varied(100, seed=5)
    sizes = {len(frame) for frame in found}
    assert min(sizes) == packets.MIN_FRAME
    assert max(sizes) == packets.MAX_FRAME
    assert len(sizes) > 150
    kinds = Counter(frame[12:14] for frame in found)
    for kind in (0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8, 0x8847):
        assert kinds[struct.pack(">H", kind)] > 20, hex(kind)


def test_whole_varied_packets_have_valid_ipv4_headers() -> None:
    whole = packets.varied(len(packets.MAKERS), seed=9)
    for name, frame in zip(sorted(packets.MAKERS), whole, strict=True):
        if frame[12:14] == b"\x08\0" and name not in ("garbage", "constant"):
            header = frame[14 : 14 + (frame[14] & 15) * 4]
            assert packets.checksum(header) == 0, name


# --- the kernel as it was measured -----------------------------------------------------------

XDP_PASS = bytes.fromhex("b700000002000000 9500000000000000")
HEAD, TAIL, META = 44, 65, 54


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm)


EXIT = insn(0x95)


def adjust(helper: int, delta: int) -> bytes:
    """``return helper(ctx, delta)``"""
    return insn(0xB7, 2, 0, 0, delta) + insn(0x85, imm=helper) + EXIT


def load_field(offset: int) -> bytes:
    """``return ctx->field``"""
    return insn(0x61, 0, 1, offset) + EXIT


LINEAR = insn(0x61, 2, 1, 4) + insn(0x61, 3, 1, 0) + insn(0xBF, 0, 2) + insn(0x1F, 0, 3) + EXIT


def refused(prog: kernel.KernelProgram, data: bytes, **options: object) -> int | None:
    try:
        prog.test_run(data, **options)  # type: ignore[arg-type]
    except kernel.KernelError as error:
        return error.errno
    return None


@kernel.requires_kernel()
class TestKernel:
    def test_sizes(self) -> None:
        with kernel.KernelProgram.load(LINEAR) as prog:
            assert refused(prog, bytes(13)) == errno.EINVAL
            for size, linear in ((14, 14), (3520, 3520), (3521, 3520), (9000, 3520)):
                run = prog.test_run(bytes(size))
                assert (run.retval, len(run.packet)) == (linear, size)
            assert refused(prog, bytes(73152)) is None
            assert refused(prog, bytes(73153)) == errno.ENOMEM
            assert refused(prog, bytes(60), out_size=59) == errno.ENOSPC

    @pytest.mark.parametrize(
        ("helper", "delta", "result"),
        [
            (HEAD, -216, 276), (HEAD, -217, -22), (HEAD, 46, 14), (HEAD, 47, -22),
            (TAIL, 3460, 3520), (TAIL, 3461, -22), (TAIL, -46, 14), (TAIL, -47, -22),
            (META, -4, 64), (META, -216, 276), (META, -220, -22), (META, -6, -13), (META, 4, -22),
        ],
    )  # fmt: skip
    def test_room(self, helper: int, delta: int, result: int) -> None:
        with kernel.KernelProgram.load(adjust(helper, delta)) as prog:
            run = prog.test_run(b"\xff" * 60)
        if result < 0:
            assert run.retval == result & 0xFFFFFFFF
            assert run.data_out == b"\xff" * 60
        else:
            assert (run.retval, len(run.data_out)) == (0, result)
            assert run.meta_len == (-delta if helper == META else 0)
            if helper == TAIL and delta > 0:
                assert run.packet == b"\xff" * 60 + bytes(delta)

    def test_metadata(self) -> None:
        with kernel.KernelProgram.load(XDP_PASS) as prog:
            run = prog.test_run(bytes(range(60)), meta=b"12345678")
            assert (run.meta, run.packet) == (b"12345678", bytes(range(60)))
            assert run.ctx_out == (8, 68, 0, 1, 0, 0)
            assert refused(prog, bytes(60), meta=bytes(6)) == errno.EINVAL
            assert refused(prog, bytes(60), meta=bytes(220)) == errno.EINVAL
            assert refused(prog, bytes(13), meta=bytes(4)) == errno.EINVAL
        with kernel.KernelProgram.load(adjust(HEAD, -184)) as prog:
            assert prog.test_run(bytes(60), meta=bytes(32)).retval == 0
            assert prog.test_run(bytes(60), meta=bytes(36)).retval == -errno.EINVAL & 0xFFFFFFFF

    def test_context(self) -> None:
        with (
            kernel.KernelProgram.load(load_field(12)) as ifindex,
            kernel.KernelProgram.load(load_field(16)) as queue,
        ):
            assert ifindex.test_run(bytes(60), ctx_in=b"").retval == 1
            assert ifindex.test_run(bytes(60), ingress_ifindex=0).retval == 1
            assert queue.test_run(bytes(60)).retval == 0
            assert refused(queue, bytes(60), rx_queue=1, ingress_ifindex=0) == errno.EINVAL
            assert refused(queue, bytes(60), ingress_ifindex=1 << 30) == errno.ENODEV
            egress = struct.pack("<6I", 0, 60, 0, 1, 0, 1)
            assert refused(queue, bytes(60), ctx_in=egress) == errno.EINVAL

    def test_repeat_accumulates(self) -> None:
        with kernel.KernelProgram.load(adjust(HEAD, -4)) as prog:
            assert len(prog.test_run(bytes(60), repeat=3).packet) == 72

    def test_refusal_keeps_errno_and_log(self) -> None:
        with pytest.raises(kernel.KernelError) as caught:
            kernel.KernelProgram.load(EXIT)
        assert caught.value.errno == errno.EACCES
        assert "R0 !read_ok" in caught.value.log

    def test_calls_and_callbacks(self) -> None:
        local = insn(0x85, 0, 1, 0, 1) + EXIT + insn(0xB7, imm=7) + EXIT
        with kernel.KernelProgram.load(local) as prog:
            assert prog.test_run(bytes(60)).retval == 7
        loop = insn(0xB7, 1, imm=5) + insn(0x18, 2, 4, 0, 5) + insn(0) + insn(0xB7, 3)
        loop += insn(0xB7, 4) + insn(0x85, imm=181) + EXIT + insn(0xB7) + EXIT
        with kernel.KernelProgram.load(loop) as prog:
            assert prog.test_run(bytes(60)).retval == 5

    def test_maps(self) -> None:
        with kernel.KernelMap("hash", 4, 8, 2) as table:
            table.update(b"aaaa", b"12345678")
            assert table.lookup(b"aaaa") == b"12345678"
            assert table.lookup(b"bbbb") is None
            for key, flags, expected in (
                (b"aaaa", kernel.BPF_NOEXIST, errno.EEXIST),
                (b"bbbb", kernel.BPF_EXIST, errno.ENOENT),
            ):
                with pytest.raises(kernel.KernelError) as caught:
                    table.update(key, bytes(8), flags)
                assert caught.value.errno == expected
            assert table.items() == {b"aaaa": b"12345678"}
            table.delete(b"aaaa")
            assert list(table.keys()) == []
        with pytest.raises(ValueError, match="closed"):
            table.lookup(b"aaaa")

    def test_maps_in_programs(self) -> None:
        zero = bytes(4)
        count = (
            insn(0x62, 10, 0, -4) + insn(0xBF, 2, 10) + insn(0x07, 2, imm=-4)
            + insn(0x18, 1, 1, 0, 77) + insn(0) + insn(0x85, imm=1) + insn(0x15, 0, 0, 2)
            + insn(0xB7, 1, imm=1) + insn(0xDB, 0, 1) + insn(0xB7, imm=2) + EXIT
        )  # fmt: skip
        with (
            kernel.KernelMap("percpu_array", 4, 8, 1) as counter,
            kernel.KernelProgram.load(count, maps={77: counter}) as prog,
        ):
            prog.test_run(bytes(60), repeat=3, cpu=0)
            values = counter.lookup_percpu(zero)
            assert values is not None
            assert values == [struct.pack("<Q", 3)] + [bytes(8)] * (kernel.possible_cpus() - 1)
        tail = insn(0x18, 2, 1, 0, 5) + insn(0) + insn(0xB7, 3) + insn(0x85, imm=12)
        tail += insn(0xB7, imm=1) + EXIT
        with (
            kernel.KernelMap("prog_array", 4, 4, 1) as programs,
            kernel.KernelProgram.load(XDP_PASS) as target,
            kernel.KernelProgram.load(tail, maps={5: programs}) as prog,
        ):
            assert prog.test_run(bytes(60)).retval == 1
            programs.update(zero, target)
            assert prog.test_run(bytes(60)).retval == 2
        constant = insn(0x18, 1, 2, 0, 9) + insn(0) + insn(0x71, 0, 1) + EXIT
        with kernel.KernelMap("array", 4, 8, 1, kernel.BPF_F_RDONLY_PROG) as rodata:
            rodata.update(zero, b"\7" + bytes(7))
            rodata.freeze()
            with pytest.raises(kernel.KernelError):
                rodata.update(zero, bytes(8))
            with (
                kernel.KernelProgram.load(constant, maps={9: rodata}) as prog,
                kernel.KernelMap("array_of_maps", 4, 4, 1, inner=rodata) as outer,
            ):
                assert prog.test_run(bytes(60)).retval == 7
                outer.update(zero, rodata)
                assert outer.lookup(zero) is not None

    def test_every_varied_packet_runs_unchanged(self) -> None:
        with kernel.KernelProgram.load(XDP_PASS) as prog:
            for frame in packets.varied(500):
                run = prog.test_run(frame)
                assert (run.retval, run.packet) == (2, frame)
