"""What replays write and report: formats, verdicts, lengths, link types, swaps."""

from __future__ import annotations

import math
import struct
from collections import Counter
from pathlib import Path

import pytest
import readers
from commandline import (
    DEMO,
    EXAMPLES,
    FIRST_BYTE,
    PASS,
    PCAPS,
    PORTFW,
    assembly,
    pcap,
    pcapng,
    run,
)

import pktfilter as pf

VERDICT, COMMENT = 7, 1
ACTIONS = ("aborted", "drop", "pass", "tx", "redirect")
#: First bytes 0 to 5, so that FIRST_BYTE gives every action and an unknown one.
MIXED = [bytes([n % 6]) + bytes([n]) * (60 + n) for n in range(60)]


def hook_of(program: pf.Program) -> tuple[pf.Hook, pf.Link]:
    hook = pf.Hook()
    return hook, hook.attach(program)


def pass_all() -> pf.Hook:
    return hook_of(pf.load(PASS).program())[0]


def source(tmp_path: Path, text: str = FIRST_BYTE, name: str = "p.s") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def capture(tmp_path: Path, data: bytes, name: str = "in.pcap") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def retvals(path: Path) -> list[int]:
    """The return values that the verdict options of a pcapng hold, checked byte by byte."""
    values = []
    for record in readers.walk(path).records:
        (option,) = [value for code, value in record.options if code == VERDICT]
        assert len(option) == 9
        assert option[0] == 2  # Linux_eBPF_XDP
        values.append(struct.unpack("<Q", option[1:])[0])
    return values


# Writing


@pytest.mark.parametrize(
    "name", ["demo.pcap", "nano.pcap", "big-endian.pcap", "two-interfaces.pcapng"]
)
@pytest.mark.parametrize("extension", ["pcap", "pcapng"])
def test_a_copy_is_the_same_to_every_reader(name: str, extension: str, tmp_path: Path) -> None:
    original, out = readers.walk(PCAPS / name), tmp_path / f"out.{extension}"
    result = pf.replay(PCAPS / name, pass_all(), write=out)
    copy = readers.walk(out)
    assert (copy.damage, copy.format) == (None, extension)
    assert result.packets == len(original.records) == len(copy.records)
    for want, got in zip(original.records, copy.records, strict=True):
        assert (got.data, got.ts_ns, got.orig_len) == (want.data, want.ts_ns, want.orig_len)
    assert [data for _, data in readers.read_dpkt(out)] == [r.data for r in copy.records]
    assert readers.read_scapy(out) == [r.data for r in copy.records]


@pytest.mark.parametrize("name", ["demo.pcap", "nano.pcap", "two-interfaces.pcapng"])
def test_a_copy_is_the_same_to_wireshark(name: str, tmp_path: Path) -> None:
    for extension in ("pcap", "pcapng"):
        out = tmp_path / f"out.{extension}"
        pf.replay(PCAPS / name, pass_all(), write=out)
        want = readers.tshark_records(PCAPS / name)
        assert readers.tshark_records(out) == want
        assert readers.capinfos_count(out) == len(want)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_magic_follows_the_input(order: str, nano: bool, tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    path = capture(tmp_path, pcap(MIXED, nano=nano, order=order, wire=17))
    pf.replay(path, pass_all(), write=out)
    assert struct.unpack("=I", out.read_bytes()[:4])[0] == (0xA1B23C4D if nano else 0xA1B2C3D4)
    same = [(r.ts_ns, r.data, r.orig_len) for r in readers.walk(path).records]
    assert [(r.ts_ns, r.data, r.orig_len) for r in readers.walk(out).records] == same


def test_verdicts_are_in_every_packet(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    path, prog = capture(tmp_path, pcap(MIXED)), source(tmp_path)
    run("replay", prog, path, "--write", "all", "-w", out)
    assert retvals(out) == [n % 6 for n in range(60)]
    assert not [code for r in readers.walk(out).records for code, _ in r.options if code == COMMENT]
    wide = source(tmp_path, assembly("wide", "w0 = 0xfffffff0\nexit\n"), "wide.s")
    run("replay", wide, path, "--write", "aborted", "-w", out)
    assert set(retvals(out)) == {0xFFFFFFF0}


def test_no_program_no_verdict(tmp_path: Path) -> None:
    result = pf.replay(DEMO, pf.Hook(), write=tmp_path / "out.pcapng", comment=True)
    assert result.uncovered == result.packets == result.actions["pass"] == 2000
    assert not any(r.options for r in readers.walk(tmp_path / "out.pcapng").records)


def test_comments_name_the_program_that_decided(tmp_path: Path) -> None:
    """Across a swap: the new name with the new generation, from the very packet on."""
    out = tmp_path / "out.pcapng"
    run("replay", PASS, DEMO, "--swap", f"777={PORTFW}", "-w", out, "--comment", "--write", "all")
    comments = [dict(r.options)[COMMENT].decode() for r in readers.walk(out).records]
    assert comments[:777] == ["program pass generation 1"] * 777
    assert comments[777:] == ["program portfw generation 2"] * 1223


def test_comments_in_a_chain(tmp_path: Path) -> None:
    hook = pass_all()
    hook.attach(pf.load(PORTFW).program(), priority=60)
    pf.replay(DEMO, hook, write=tmp_path / "o.pcapng", comment=True)
    (comments,) = {dict(r.options)[COMMENT] for r in readers.walk(tmp_path / "o.pcapng").records}
    assert comments.startswith(b"program portfw generation ")


@pytest.mark.parametrize(
    ("choices", "kept"),
    [
        ((), (2, 3)), (("passed",), (2, 3)), (("drop",), (1,)), (("tx",), (3,)),
        (("redirect",), (4,)), (("aborted",), (0, 5)), (("pass",), (2,)),
        (("drop", "redirect", "tx"), (1, 3, 4)), (("all",), (0, 1, 2, 3, 4, 5)),
    ],
)  # fmt: skip
def test_write_choices(choices: tuple[str, ...], kept: tuple[int, ...], tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    path = capture(tmp_path, pcap(MIXED))
    options = [word for choice in choices for word in ("--write", choice)]
    result = run("replay", source(tmp_path), path, "-w", out, *options, "--json").json
    want = [data for data in MIXED if data[0] in kept]
    assert [r.data for r in readers.walk(out).records] == want
    assert result["written"] == {str(out): len(want)}


def test_nothing_to_write_is_a_capture_all_the_same(tmp_path: Path) -> None:
    for name in ("o.pcap", "o.pcapng"):
        run("replay", PASS, DEMO, "--write", "drop", "-w", name, cwd=tmp_path)
        walked = readers.walk(tmp_path / name)
        assert (walked.damage, walked.records) == (None, [])
        assert readers.capinfos_count(tmp_path / name) == 0


@pytest.mark.parametrize("extension", ["pcap", "pcapng"])
def test_changed_packets(extension: str, tmp_path: Path) -> None:
    """A pushed tag is written, and its length added to the original length; popping undoes both."""
    tagged, back = tmp_path / f"t.{extension}", tmp_path / f"b.{extension}"
    cut = capture(tmp_path, pcap([r.data for r in readers.walk(DEMO).records], wire=1000))
    run("replay", f"{EXAMPLES / 'vlan.o'}:vlan_push", cut, "-w", tagged)
    run("replay", f"{EXAMPLES / 'vlan.o'}:vlan_pop", tagged, "-w", back)
    original = readers.walk(cut).records
    changed = 0
    for want, got in zip(original, readers.walk(tagged).records, strict=True):
        assert got.orig_len == want.orig_len + len(got.data) - len(want.data)
        if got.data != want.data:
            changed += 1
            assert got.data[12:14] in (b"\x81\x00", b"\x88\xa8")
            assert got.data[:12] + got.data[16:] == want.data
    assert changed > 1000
    restored = [(r.data, r.orig_len, r.ts_ns) for r in readers.walk(back).records]
    same = sum(a == (b.data, b.orig_len, b.ts_ns) for a, b in zip(restored, original, strict=True))
    assert same >= changed


def test_trimmed_packets(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    run("replay", EXAMPLES / "subprog.o", DEMO, "-w", out, "--write", "all")
    trimmed = 0
    for want, got in zip(readers.walk(DEMO).records, readers.walk(out).records, strict=True):
        assert got.orig_len - want.orig_len == len(got.data) - len(want.data)
        trimmed += len(got.data) != len(want.data)
    program = pf.load(EXAMPLES / "subprog.o").program()
    assert trimmed == sum(
        len(program.test_run(r.data).data) != len(r.data) for r in readers.walk(DEMO).records
    )


# Link types


def test_mixed_link_types(tmp_path: Path) -> None:
    ip = b"\x45" + bytes(59)
    data = pcapng([(0, bytes(60)), (0, bytes(61)), (1, ip), (0, bytes(62))], linktypes=(1, 101))
    path = capture(tmp_path, data, "mixed.pcapng")
    done = run("replay", PASS, path, "-w", tmp_path / "o.pcap", "--json", code=1)
    assert "101" in done.error and "RAW" in done.error and "--as-ethernet" in done.error
    assert done.json["packets"] == len(readers.walk(tmp_path / "o.pcap").records) == 2
    done = run("replay", PASS, path, "-w", tmp_path / "o.pcap", "--as-ethernet", "--json")
    assert [len(r.data) for r in readers.walk(tmp_path / "o.pcap").records] == [60, 61, 74, 62]


@pytest.mark.parametrize(
    ("number", "name"), [(101, "RAW"), (113, "LINUX_SLL"), (105, "IEEE802_11")]
)
def test_other_link_types_are_refused_by_name(number: int, name: str, tmp_path: Path) -> None:
    path = capture(tmp_path, pcap([bytes(60)], linktype=number))
    error = run("replay", PASS, path, code=1).error
    assert f"link type {number} ({name}" in error


def test_as_ethernet(tmp_path: Path) -> None:
    four, six = b"\x45" + bytes(39), b"\x60" + bytes(49)
    sll = bytes(6) + b"\2\1\2\3\4\5\0\0" + b"\x08\x00"
    cases = {
        101: [(four, b"\x08\x00", four), (six, b"\x86\xdd", six)],
        0: [(b"\2\0\0\0" + four, b"\x08\x00", four)],
        113: [(sll + four, b"\x08\x00", four)],
    }
    for number, rows in cases.items():
        path = capture(tmp_path, pcap([packet for packet, _, _ in rows], linktype=number, wire=9))
        run("replay", PASS, path, "--as-ethernet", "-w", tmp_path / "o.pcap")
        for (_, kind, payload), got in zip(
            rows, readers.walk(tmp_path / "o.pcap").records, strict=True
        ):
            assert got.linktype == 1
            assert got.data[12:] == kind + payload
            assert got.orig_len == len(got.data) + 9


# Damaged captures


def damaged_at(data: bytes, at: int, tmp_path: Path) -> tuple[pf.ReplayResult | None, str]:
    path = tmp_path / "cut.bin"
    path.write_bytes(data[:at])
    out = tmp_path / "out.pcapng"
    want = [record.data for record in readers.walk(data[:at]).records]
    try:
        result = pf.replay(path, pass_all(), write=out)
    except pf.CaptureError as error:  # not even a header
        assert not want
        return None, str(error)
    walked = readers.walk(out)
    assert walked.damage is None
    assert [record.data for record in walked.records] == want
    assert result.packets == len(want)
    return result, str(result.errors[0]) if result.errors else ""


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_truncation_at_every_offset(form: str, tmp_path: Path) -> None:
    packets = [bytes([n]) * (20 + 3 * n) for n in range(6)]
    data = pcap(packets) if form == "pcap" else pcapng((0, p) for p in packets)
    clean = 0
    for at in range(len(data)):
        result, error = damaged_at(data, at, tmp_path)
        if result is None:
            assert str(tmp_path / "cut.bin") in error
        elif error:
            assert result.inputs[0].truncated
            assert "cut short" in error and "expected" in error and "byte" in error, error
        else:
            clean += 1
            assert not result.inputs[0].truncated
    # Cuts between two records (and behind the headers) are no damage.
    assert clean == len(packets) + (form == "pcapng")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 65 << 20, 262145])
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_absurd_lengths_do_not_allocate(form: str, length: int, tmp_path: Path) -> None:
    packets = [bytes(60)] * 10
    if form == "pcap":
        data = pcap(packets) + struct.pack("<IIII", 0, 0, length, length) + bytes(100)
    else:
        data = pcapng((0, p) for p in packets) + struct.pack("<II", 6, length & ~3) + bytes(100)
    path = tmp_path / "absurd"
    path.write_bytes(data)
    result = pf.replay(path, pass_all())
    assert result.packets == 10
    assert result.inputs[0].truncated
    assert str(len(data) - 116 if form == "pcap" else len(data) - 108) in str(result.errors[0])


# Swaps


def constant(value: int) -> pf.Program:
    insns = struct.pack("<BBhi", 0xB7, 0, 0, value) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    return pf.Program.from_bytes(insns, name=f"p{value}")


@pytest.mark.parametrize("batch", [1, 7, 256, 65536])
@pytest.mark.parametrize(
    "plan", [[(0, 1)], [(1, 1)], [(1000, 1)], [(1999, 1)], [(2000, 1)], [(3, 1), (4, 3), (777, 4)],
             [(5, 1), (5, 3)], [(900, 3), (100, 1)], [(100, 1), (5000, 3)]],
)  # fmt: skip
def test_swaps_are_exact(plan: list[tuple[int, int]], batch: int, tmp_path: Path) -> None:
    """Packets with index < N run the old program, whatever the batch."""
    hook, link = hook_of(constant(2))
    swaps = [(n, link, constant(value)) for n, value in plan]
    out = tmp_path / "out.pcapng"
    result = pf.replay(DEMO, hook, batch=batch, swaps=swaps, write=out, write_actions=tuple(pf.XDP))
    expected, current, order = [], 2, sorted(plan, key=lambda swap: swap[0])
    for index in range(2000):
        for n, value in order:
            current = value if n <= index else current
        expected.append(current)
        current = 2
    assert retvals(out) == expected
    counts = Counter(expected)
    assert result.actions == {name: counts[value] for value, name in enumerate(ACTIONS)}
    done = [n for n, _ in order if n <= 2000]
    assert [swap.first_packet for swap in result.swaps] == done
    assert [swap.generation for swap in result.swaps] == list(range(2, 2 + len(done)))
    assert result.swaps_left == [n for n, _ in order if n > 2000]
    assert link.generation == 1 + len(done)


def test_swaps_on_the_command_line(tmp_path: Path) -> None:
    drop = source(tmp_path, assembly("gone", "r0 = 1\nexit\n"))
    done = run(
        "replay", PASS, DEMO, DEMO, "--swap", f"2500={drop}", "--swap", f"9000={PASS}", "--json"
    )
    assert done.json["actions"]["drop"] == 1500
    assert "no swap at packet 9000" in done.error and "4000" in done.error
    text = run("replay", PASS, DEMO, "--swap", f"0={drop}").text
    assert "packets 0 and later ran 'gone' (generation 2" in text


def test_batch_count() -> None:
    for batch in (1, 7, 256, 65536):
        result = pf.replay(DEMO, pass_all(), batch=batch)
        # A batch also ends where a chunk of the file does.
        assert math.ceil(2000 / batch) <= result.batches <= math.ceil(2000 / batch) + 2
        assert result.bytes == sum(r.cap_len for r in readers.walk(DEMO).records)


def test_api_errors(tmp_path: Path) -> None:
    hook = pass_all()
    for options in (
        {"batch": 0}, {"batch": 65537}, {"workers": 65}, {"seed": -1}, {"seed": 1 << 64},
        {"engine": "warp"}, {"linear": "half"},
        {"swaps": [(-1, hook.links[0], constant(2))]}, {"swaps": [(1 << 64, hook.links[0], constant(2))]},
    ):  # fmt: skip
        with pytest.raises(pf.InputError):
            pf.replay(DEMO, hook, **options)  # type: ignore[arg-type]
    with pytest.raises(pf.InputError):
        next(pf.batches(DEMO, hook, linear="half"))
    with pytest.raises(pf.InputError):
        pf.replay([], hook)
    with pytest.raises(pf.OutputError) as caught:
        pf.replay(DEMO, hook, write="/dev/full")
    assert caught.value.result.packets == 256  # type: ignore[attr-defined]
