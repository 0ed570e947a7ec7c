"""BTF and BTF.ext: every kind, look-ups, sizes, and damaged input."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pktfilter.errors import ObjectError
from pktfilter.objects import ObjectSpec
from pktfilter.objects.btf import Btf, parse_btf
from pktfilter.objects.btf_ext import ExtRow, parse_btf_ext, rows_between
from pktfilter.objects.btf_types import (
    Array,
    DataSec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Modifier,
    Param,
    Ptr,
    SecVar,
    Struct,
    Var,
)

FIXTURES = Path(__file__).parent / "objects"
VMLINUX = Path("/sys/kernel/btf/vmlinux")


class Builder:
    """Writes a `.BTF` section, type by type."""

    def __init__(self) -> None:
        self.strings = bytearray(b"\0")
        self.types = bytearray()
        self.count = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def add(
        self, kind: int, name: str, word: int, tail: bytes = b"", vlen: int = 0, flag: bool = False
    ) -> int:
        info = flag << 31 | kind << 24 | vlen
        self.types += struct.pack("<III", self.name(name), info, word) + tail
        self.count += 1
        return self.count

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(1, name, size, struct.pack("<I", encoding << 24 | size * 8))

    def array(self, element: int, count: int) -> int:
        return self.add(3, "", 0, struct.pack("<III", element, 1, count))

    def bytes(self) -> bytes:
        types, strings = len(self.types), len(self.strings)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, types, types, strings)
        return header + self.types + self.strings

    def parse(self) -> Btf:
        return parse_btf(self.bytes(), "built.o")


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def test_every_kind() -> None:
    b = Builder()
    number = b.integer("int", 4, 1)
    assert number == 1
    pointer = b.add(2, "", number)
    array = b.array(number, 6)
    members = words(b.name("a"), 1, 0, b.name("b"), 2, 64)
    struct_id = b.add(4, "pair", 16, members, vlen=2)
    fields = words(b.name("low"), 1, 3 << 24 | 0, b.name("high"), 1, 5 << 24 | 3)
    union_id = b.add(5, "bits", 4, fields, vlen=2, flag=True)
    enum = b.add(6, "sign", 4, words(b.name("MINUS"), -1, b.name("PLUS"), 1), vlen=2, flag=True)
    unsigned = b.add(6, "mask", 4, words(b.name("ALL"), -1), vlen=1)
    fwd = b.add(7, "later", 0, flag=True)
    typedef = b.add(8, "number", number)
    volatile = b.add(9, "", typedef)
    const = b.add(10, "", volatile)
    restrict = b.add(11, "", const)
    proto = b.add(13, "", number, words(b.name("x"), 2, 0, 0), vlen=2)
    func = b.add(12, "call", proto, vlen=1)
    var = b.add(14, "total", number, words(1))
    datasec = b.add(15, ".data", 4, words(var, 0, 4), vlen=1)
    real = b.add(16, "double", 8)
    tag = b.add(17, "user", struct_id, words(-1))
    type_tag = b.add(18, "rcu", number)
    wide = b.add(19, "wide", 8, words(b.name("BIG"), 0xFFFFFFFE, 0xFFFFFFFF), vlen=1, flag=True)
    btf = b.parse()
    assert len(btf) == b.count + 1
    expected = {
        number: Int("int", 4, 32, 0, True, False, False),
        pointer: Ptr(number),
        array: Array(number, 1, 6),
        struct_id: Struct("pair", 16, (Member("a", 1, 0, 0), Member("b", 2, 64, 0)), False),
        union_id: Struct("bits", 4, (Member("low", 1, 0, 3), Member("high", 1, 3, 5)), True),
        enum: Enum("sign", 4, True, (("MINUS", -1), ("PLUS", 1))),
        unsigned: Enum("mask", 4, False, (("ALL", 0xFFFFFFFF),)),
        fwd: Fwd("later", True),
        typedef: Modifier("typedef", number, "number"),
        volatile: Modifier("volatile", typedef),
        const: Modifier("const", volatile),
        restrict: Modifier("restrict", const),
        proto: FuncProto(number, (Param("x", 2), Param("", 0))),
        func: Func("call", proto, "global"),
        var: Var("total", number, "global"),
        datasec: DataSec(".data", 4, (SecVar(var, 0, 4),)),
        real: Float("double", 8),
        tag: DeclTag("user", struct_id, -1),
        type_tag: Modifier("type_tag", number, "rcu"),
        wide: Enum("wide", 8, True, (("BIG", -2),)),
    }
    for type_id, record in expected.items():
        assert btf.get(type_id) == record
    assert btf.resolve_id(restrict) == number
    assert [btf.sizeof(i) for i in (restrict, array, pointer, struct_id, wide)] == [4, 24, 8, 16, 8]
    assert btf.find("pair", Struct) == struct_id and btf.find("pair", Int) is None
    assert [type_id for type_id, _ in btf.find_all("call")] == [func]
    for sizeless in (0, fwd, proto, func):
        with pytest.raises(ObjectError, match="has no size"):
            btf.sizeof(sizeless)
    with pytest.raises(ObjectError, match="does not exist"):
        btf.get(b.count + 1)


def test_cycles_end() -> None:
    b = Builder()
    b.add(8, "a", 2)
    b.add(8, "b", 1)
    b.array(4, 2)
    b.array(3, 2)
    btf = b.parse()
    for type_id in (1, 2, 3, 4):
        with pytest.raises(ObjectError, match="refers to itself"):
            btf.sizeof(type_id)


def test_complete_datasec_sorts_and_patches_the_bytes() -> None:
    b = Builder()
    number = b.integer("int", 4)
    first = b.add(14, "x", number, words(1))
    second = b.add(14, "y", number, words(1))
    datasec = b.add(15, ".bss", 0, words(second, 4, 4, first, 0, 4), vlen=2)
    btf = b.parse()
    btf.complete_datasec(datasec, 8)
    again = parse_btf(btf.raw, "again.o").get(datasec)
    assert again == btf.get(datasec)
    assert again == DataSec(".bss", 8, (SecVar(first, 0, 4), SecVar(second, 4, 4)))
    with pytest.raises(TypeError):
        btf.complete_datasec(number, 8)


def test_damage_is_named() -> None:
    b = Builder()
    b.integer("int", 4)
    good = b.bytes()
    cases = {
        "shorter than its header": good[:10],
        "not that of version 1": b"\x9f\xeb\x02" + good[3:],
        "header length": good[:4] + words(8) + good[8:],
        "outside the section": good[:12] + words(1 << 30) + good[16:],
    }
    for message, data in cases.items():
        with pytest.raises(ObjectError, match=message):
            parse_btf(data, "x.o")
    for kind, text in ((0, "unknown kind 0"), (20, "unknown kind 20"), (4, "is cut off")):
        bad = Builder()
        bad.add(kind, "", 0, vlen=0xFFFF)
        with pytest.raises(ObjectError, match=text):
            bad.parse()
    dangling = Builder()
    dangling.add(2, "", 7)
    with pytest.raises(ObjectError, match="type 1 refers to type 7"):
        dangling.parse()
    nameless = Builder()
    nameless.types += words(500, 1 << 24, 4, 32)
    with pytest.raises(ObjectError, match="string offset 500"):
        nameless.parse()


def test_overlapping_strings_are_bounded() -> None:
    b = Builder()
    b.strings += b"x" * 100_000 + b"\0"
    for offset in range(2000):
        b.types += words(1 + offset, 16 << 24, 8)
    with pytest.raises(ObjectError, match="overlap"):
        b.parse()


def ext_section(rows: list[tuple[int, int, int, int]], name_at: int) -> bytes:
    lines = words(16, name_at, len(rows)) + b"".join(words(*row) for row in rows)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, len(lines)) + lines


def test_btf_ext_lines() -> None:
    b = Builder()
    section = b.name("xdp")
    btf = b.parse()
    rows = [(24, 0, 0, 3 << 10), (0, 0, 0, 1 << 10), (8, 0, 0, 2 << 10), (8, 0, 0, 9 << 10)]
    ext = parse_btf_ext(ext_section(rows, section), btf, "x.o")
    assert [row.insn for row in ext.lines["xdp"]] == [0, 1, 3]
    assert rows_between(ext.lines, "xdp", 1, 3) == [ExtRow(1, (0, 0, 2 << 10))]
    assert rows_between(ext.lines, "other", 0, 9) == []
    assert ext.funcs == {} and ext.core == {}
    good = ext_section(rows, section)
    for message, data in {
        "shorter": good[:20],
        "lies outside": good[:-1],
        "not at an instruction": ext_section([(4, 0, 0, 0)], section),
        "more than its length": good[:32] + words(99) + good[36:],
        "record length": good[:24] + words(6) + good[28:],
        "string offset": ext_section(rows, 900),
    }.items():
        with pytest.raises(ObjectError, match=message):
            parse_btf_ext(data, btf, "x.o")


@settings(max_examples=300, deadline=None)
@given(types=st.binary(max_size=200), strings=st.binary(max_size=40), fuzz=st.binary(max_size=60))
@example(types=words(0, 15 << 24 | 1, 0, 0, 0, 0), strings=b"\0", fuzz=b"")
def test_random_types_end_in_types_or_an_error(types: bytes, strings: bytes, fuzz: bytes) -> None:
    lengths = (0, len(types), len(types), len(strings))
    data = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *lengths) + types + strings
    try:
        btf = parse_btf(data, "x.o")
    except ObjectError:
        return
    for type_id in range(len(btf)):
        try:
            assert btf.sizeof(type_id) >= 0
        except ObjectError:
            continue
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(fuzz), 0, len(fuzz))
    try:
        parse_btf_ext(header + fuzz, btf, "x.o")
    except ObjectError:
        return


@pytest.mark.parametrize("name", ["maps.o", "subprogs.o", "sections.o"])
def test_types_agree_with_bpftool(name: str) -> None:
    tool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin")
    if tool is None:
        pytest.skip("bpftool is not installed")
    path = FIXTURES / name
    listing = subprocess.run(
        [tool, "btf", "dump", "file", str(path)], capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip(f"bpftool cannot list BTF here: {listing.stderr.strip()}")
    rows = [line for line in listing.stdout.splitlines() if line.startswith("[")]
    btf = ObjectSpec.from_file(path).btf
    assert btf is not None and len(rows) == len(btf) - 1
    for type_id, row in enumerate(rows, 1):
        kind, name_text = row.split("] ", 1)[1].split("'", 2)[:2]
        record = btf.get(type_id)
        assert name_text == (record.name or "(anon)")
        known = record.kind if isinstance(record, Modifier) else type(record).__name__
        expected = "struct" if kind.strip() == "UNION" else kind.strip().lower().replace("_", "")
        assert known.lower().replace("_", "") == expected
        if " size=" in row and not isinstance(record, DataSec):
            assert btf.sizeof(type_id) == int(row.split(" size=")[1].split()[0])


def test_the_running_kernels_types() -> None:
    try:
        data = VMLINUX.read_bytes()
    except OSError:
        pytest.skip("this kernel shows no BTF")
    btf = parse_btf(data, str(VMLINUX))
    found = btf.find("sk_buff", Struct)
    assert found is not None
    record = btf.get(found)
    assert isinstance(record, Struct) and record.size == btf.sizeof(found) > 100
    assert {"data", "len", "head"} <= {member.name for member in record.members}
