"""Keys and values by BTF type, against ctypes and, where it can run, bpftool on a map of the kernel."""

from __future__ import annotations

import ctypes
import ipaddress
import json
import math
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import kernel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pktfilter as pf
from pktfilter.objects.btf import Btf, parse_btf
from pktfilter.objects.codec_btf import codec_of

OBJECT = Path(__file__).parent / "objects" / "typed_maps.o"
FLOW = {"src": "10.0.0.1", "dst": "10.0.0.2", "sport": 1234, "dport": 80, "proto": 6}
FLOW_BYTES = bytes([10, 0, 0, 1, 10, 0, 0, 2, 4, 210, 0, 80, 6, 0, 0, 0])


@pytest.fixture
def obj() -> pf.Object:
    return pf.load(OBJECT, cpus=3)


def record(**changes: Any) -> dict[str, Any]:
    return {
        "s8": -1, "u8": 255, "s16": -2, "u16": 65535, "s32": -3, "u32": 1 << 31, "s64": -(1 << 63),
        "u64": (1 << 64) - 1, "on": True, "verdict": "DENY", "wide": 0x123456789A, "tiny": "HIGH",
        "name": "eth0", "mac": "02:00:00:00:00:0a", "peer": "2001:db8::1", "ports": [1, 2, 3],
        "grid": [[1, 2, 3], [-4, -5, -6]], "inner_a": 9, "halves": [7, 8], "either": {"flow": FLOW},
        "low": 5, "mid": -64, "high": (1 << 22) - 1, "across": (1 << 40) - 1, "small": 2,
    } | changes  # fmt: skip


# --- random types: hand-made BTF, with ctypes as the judge of layout and values ---


class Types:
    """Writes BTF types and their ctypes side by side; `describe` turns a ctypes value into ours."""

    def __init__(self) -> None:
        self.types, self.strings, self.count = bytearray(), bytearray(b"\0"), 0

    def name(self, text: str) -> int:
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, name: str, kind: int, low: int, size: int, tail: bytes = b"") -> int:
        self.types += struct.pack("<III", self.name(name) if name else 0, kind << 24 | low, size)
        self.types += tail
        self.count += 1
        return self.count

    def btf(self) -> Btf:
        sizes = len(self.types), len(self.types), len(self.strings)
        head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, *sizes)
        return parse_btf(head + self.types + self.strings, "made")

    def make(self, shape: Any) -> tuple[int, Any]:
        """(BTF id, ctypes type) of a shape."""
        word, *rest = shape
        if word == "int":
            size, signed = rest
            kind = getattr(ctypes, f"c_{'' if signed else 'u'}int{8 * size}")
            return self.add(
                f"i{size}", 1, 0, size, struct.pack("<I", signed << 24 | 8 * size)
            ), kind
        if word == "bool":
            return self.add("_Bool", 1, 0, 1, struct.pack("<I", 4 << 24 | 8)), ctypes.c_bool
        if word == "float":
            (size,) = rest
            return self.add("f", 16, 0, size), ctypes.c_float if size == 4 else ctypes.c_double
        if word == "array":
            inner, count = rest
            element, kind = self.make(inner)
            return self.add("", 3, 0, 0, struct.pack("<III", element, element, count)), kind * count
        members = [(f"m{i}", *self.make(each)) for i, each in enumerate(rest[0])]
        base = ctypes.Union if word == "union" else ctypes.Structure
        made = type("Made", (base,), {"_fields_": [(n, kind) for n, _, kind in members]})
        tail = b"".join(
            struct.pack("<III", self.name(n), type_id, 8 * getattr(made, n).offset)
            for n, type_id, _ in members
        )
        number = 5 if word == "union" else 4
        return self.add("s", number, len(members), ctypes.sizeof(made), tail), made


LEAVES = st.one_of(
    st.tuples(st.just("int"), st.sampled_from((1, 2, 4, 8)), st.booleans()),
    st.just(("bool",)),
    st.tuples(st.just("float"), st.sampled_from((4, 8))),
)
SHAPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("array"), inner, st.integers(1, 3)),
        st.tuples(st.just("struct"), st.lists(inner, min_size=1, max_size=4)),
    ),
    max_leaves=12,
)


def drawn(data: st.DataObject, shape: Any) -> Any:
    """A value of a shape: what we take and what ctypes holds agree on it but for tuples and dicts."""
    word, *rest = shape
    if word == "int":
        size, signed = rest
        low = -(1 << (8 * size - 1)) if signed else 0
        return data.draw(st.integers(low, low + (1 << 8 * size) - 1))
    if word == "bool":
        return data.draw(st.booleans())
    if word == "float":
        return data.draw(st.floats(width=8 * rest[0], allow_nan=False))  # type: ignore[arg-type]
    if word == "array":
        return [drawn(data, rest[0]) for _ in range(rest[1])]
    return {f"m{i}": drawn(data, each) for i, each in enumerate(rest[0])}


def store(into: Any, value: Any) -> Any:
    """Sets a ctypes struct or array from a value; simple ones are given back."""
    if isinstance(value, dict):
        for name, each in value.items():
            part = getattr(into, name)
            done = store(part, each)
            if not isinstance(each, (dict, list)):
                setattr(into, name, done)
        return into
    if isinstance(value, list):
        for i, each in enumerate(value):
            done = store(into[i], each)
            if not isinstance(each, (dict, list)):
                into[i] = done
        return into
    return value


def plain(value: Any) -> Any:
    """Addresses that arrays of bytes happen to be, as the numbers that were given."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, str):
        packed = bytes.fromhex(value.replace(":", "")) if value.count(":") == 5 else None
        return list(packed if packed is not None else ipaddress.ip_address(value).packed)
    return [plain(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=200, deadline=None)
@given(shape=SHAPES, data=st.data())
def test_random_types_are_as_ctypes_lays_them_out(shape: Any, data: st.DataObject) -> None:
    types = Types()
    type_id, kind = types.make(("struct", [shape]))
    value = {"m0": drawn(data, shape)}
    raw = bytes(store(kind(), value))
    codec = codec_of(types.btf(), type_id, ctypes.sizeof(kind))
    assert codec.encode(value) == raw
    assert plain(codec.decode(raw)) == value
    assert codec.encode(codec.decode(raw)) == raw


@settings(max_examples=100, deadline=None)
@given(members=st.lists(SHAPES, min_size=1, max_size=3), data=st.data())
def test_a_union_is_set_by_one_of_its_members(members: list[Any], data: st.DataObject) -> None:
    types = Types()
    type_id, kind = types.make(("union", members))
    which = data.draw(st.integers(0, len(members) - 1))
    value = {f"m{which}": drawn(data, members[which])}
    raw = bytes(store(kind(), value))
    codec = codec_of(types.btf(), type_id, ctypes.sizeof(kind))
    assert codec.encode(value) == raw
    assert codec.kind == "union s"


@pytest.mark.parametrize(("size", "signed", "wide"), [(1, True, False), (4, True, False), (4, False, False),
                                                     (8, True, True), (8, False, True)])  # fmt: skip
def test_enumerations_by_name_and_number(size: int, signed: bool, wide: bool) -> None:
    """Against `int.to_bytes`; enum64 holds its values in two words."""
    low = -(1 << (8 * size - 1)) if signed else 0
    high = low + (1 << 8 * size) - 1
    names = {"LOWEST": low, "ONE": 1, "HIGHEST": high}
    types = Types()
    form = "<III" if wide else "<II"
    rows = b""
    for name, value in names.items():
        words = (value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)[: 2 if wide else 1]
        rows += struct.pack(form, types.name(name), *words)
    type_id = types.add("e", 19 if wide else 6, 3, size, rows)
    if signed:  # the flag is the top bit of the second word of the record
        types.types[7] |= 0x80
    codec = codec_of(types.btf(), type_id, size)
    for name, value in names.items():
        raw = value.to_bytes(size, "little", signed=signed)
        assert codec.encode(name) == codec.encode(value) == raw
        assert codec.decode(raw) == name
    assert codec.decode(codec.encode(5)) == 5
    assert codec.decode(codec.encode(low + 2)) == low + 2


# --- a real object ---


def test_a_struct_is_a_dict_both_ways(obj: pf.Object) -> None:
    records = obj.maps["records"]
    records[FLOW] = record()
    assert list(records) == [FLOW_BYTES]
    assert isinstance(records[FLOW_BYTES], bytes), "bytes in, bytes out"
    found = records[FLOW]
    assert found["halves"] == [7, 8]
    assert found["inner_b"] == 7 | 8 << 16
    assert found["either"]["flow"] == {**FLOW, "pad": [0, 0, 0]}
    assert found["either"]["word"] == int.from_bytes(FLOW_BYTES[:8], "little")
    given_back = {name: found[name] for name in record() if name != "either"}
    assert given_back == {k: v for k, v in record(small="DENY").items() if k != "either"}
    assert records.typed[FLOW] == found
    assert list(records.typed) == [{**FLOW, "pad": [0, 0, 0]}]
    assert records.decode(records[FLOW_BYTES]) == found
    records.typed[FLOW] = found  # what was read can be written: the members of the unions agree
    assert records[FLOW] == found
    assert FLOW in records
    del records[FLOW]
    assert FLOW not in records.typed


def test_layout_is_the_compilers(obj: pf.Object) -> None:
    """Numbers at the offsets that the C standard and the System V ABI give this struct."""
    raw = obj.maps["records"].encode(record())
    assert struct.unpack_from("<bBhHiIqQ?", raw, 0)[0:4] == (-1, 255, -2, 65535)
    assert struct.unpack_from("<iIqQ?", raw, 8) == (-3, 1 << 31, -(1 << 63), (1 << 64) - 1, True)
    assert struct.unpack_from("<IQB12s6s", raw, 36) == (
        2, 0x123456789A, 200, b"eth0".ljust(12, b"\0"), bytes.fromhex("02000000000a")
    )  # fmt: skip
    assert raw[68:84] == ipaddress.ip_address("2001:db8::1").packed
    word = struct.unpack_from("<I", raw, len(raw) - 16)[0]
    assert (word & 7, word >> 3 & 127, word >> 10) == (5, 64, (1 << 22) - 1)
    assert struct.unpack_from("<Q", raw, len(raw) - 8)[0] == (1 << 40) - 1 | 2 << 40


WRONG_VALUES = [
    ({"u8": 256}, r"value\.u8: the number is out of range, found 256, expected .* 0 to 255"),
    ({"u8": -1}, r"value\.u8"),
    ({"u8": True}, r"value\.u8: .*found True"),
    ({"u8": 1.0}, r"value\.u8: .*1\.0 \(float\)"),
    ({"u64": 1 << 70000}, r"value\.u64: .*a number of 70001 bits"),
    ({"s8": 128}, r"value\.s8: .*-128 to 127"),
    ({"on": 2}, r"value\.on: .*true or false"),
    ({"verdict": "PERHAPS"}, r"value\.verdict: .*'PERHAPS'.*one of: ALLOW, DENY, NEVER"),
    ({"verdict": 1 << 32}, r"value\.verdict"),
    ({"name": "a name too long"}, r"value\.name: the text is too long, found 15 bytes.*12"),
    ({"name": "\ud800"}, r"value\.name: .*UTF-8"),
    ({"name": 5}, r"value\.name: .*text"),
    ({"mac": "02:00:00:00:00"}, r"value\.mac: the text is no MAC address"),
    ({"mac": [1, 2, 3, 4, 5, 256]}, r"value\.mac\[5\]"),
    ({"peer": "10.0.0.1"}, r"value\.peer: .*IPv6"),
    ({"ports": [1, 2]}, r"value\.ports: the number of elements is wrong, found 2, expected 3"),
    ({"ports": "abc"}, r"value\.ports: .*str"),
    ({"grid": [[1, 2, 3], [4, "5", 6]]}, r"value\.grid\[1\]\[1\]"),
    ({"either": {"flow": {**FLOW, "src": "10.0.0.256"}}}, r"value\.either\.flow\.src: .*10\.0\.0\.256"),
    ({"either": {}}, r"value\.either: no field of the union"),
    ({"either": {"word": 1, "flow": FLOW}}, r"value\.either.* do not mean the same bytes"),
    ({"inner_b": 5}, r"value.* do not mean the same bytes"),
    ({"mid": 64}, r"value\.mid: .*-64 to 63"),
    ({"extra": 1}, r"value: there is no such field, found 'extra'.*s8, u8"),
    ({"s8": None}, r"value\.s8: .*NoneType"),
    ({"u32": b"abc"}, r"value\.u32: the number of bytes is wrong, found 3 bytes, expected 4"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WRONG_VALUES, ids=[w for _, w in WRONG_VALUES])
def test_wrong_values_name_the_field(obj: pf.Object, change: dict[str, Any], words: str) -> None:
    records = obj.maps["records"]
    with pytest.raises(pf.InputError, match=f"map 'records': {words}"):
        records[FLOW] = record(**change)
    assert len(records) == 0


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
RECORDS = pf.load(OBJECT, cpus=1).maps["records"]


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(record())), value=ANYTHING)
def test_any_value_is_taken_or_an_error_that_names_its_field(name: str, value: Any) -> None:
    try:
        raw = RECORDS.encode(record(**{name: value}))
    except pf.InputError as error:
        assert str(error).startswith(f"map 'records': value.{name}") or name in (
            "halves",
            "inner_a",
        )
        assert len(str(error)) < 500
    else:
        assert len(raw) == RECORDS.value_size
        assert RECORDS.encode(RECORDS.decode(raw)) == raw
    for given_key in (value, {**FLOW, "src": value}):
        try:
            RECORDS.typed.get(given_key)
        except pf.InputError as error:
            assert str(error).startswith("map 'records': key")


def test_a_missing_field_is_named_and_padding_is_not_missed(obj: pf.Object) -> None:
    for name in ("src", "proto"):
        with pytest.raises(pf.InputError, match=rf"key\.{name}: the field is missing"):
            obj.maps["records"].encode_key({k: v for k, v in FLOW.items() if k != name})
    assert obj.maps["records"].encode_key(FLOW) == FLOW_BYTES


def test_bytes_stand_for_any_value(obj: pf.Object) -> None:
    records = obj.maps["records"]
    want = records.encode(record())
    assert records.encode(want) == want
    assert records.encode(record(mac=bytes.fromhex("02000000000a"), grid=want[92:116])) == want
    address = ipaddress.ip_address("10.0.0.1")
    assert records.encode_key({**FLOW, "src": address}) == FLOW_BYTES
    assert records.encode_key({**FLOW, "src": 0x0A000001}) == FLOW_BYTES
    with pytest.raises(pf.InputError, match="found 3 bytes, expected 16 bytes"):
        records[b"abc"]


def test_floats_and_pointers(obj: pf.Object) -> None:
    floats = obj.maps["floats"].typed
    floats[1] = {"f": 0.5, "d": math.pi, "where": None}
    assert floats[1] == {"f": 0.5, "d": math.pi, "where": 0}
    for f, where, words in (
        (1e39, 0, r"value\.f"),
        (1, 5, r"value\.where: a pointer cannot be set"),
    ):
        with pytest.raises(pf.InputError, match=words):
            floats[1] = {"f": f, "d": 1, "where": where}
    obj.maps["floats"][0] = struct.pack("<fxxxxdQ", math.nan, 1, 0xDEAD)
    assert floats[0]["where"] == 0xDEAD
    assert math.isnan(floats[0]["f"])


def test_per_cpu_values_are_lists(obj: pf.Object) -> None:
    verdicts = obj.maps["verdicts"]
    verdicts["DENY"] = [1, 2, 3]
    assert verdicts["DENY"] == [1, 2, 3]
    assert verdicts[2] == [(i).to_bytes(8, "little") for i in (1, 2, 3)], "a number: as ever"
    verdicts.typed["NEVER"] = 9
    assert verdicts.typed[-1] == [9, 9, 9]
    assert dict(verdicts.typed.items()) == {"DENY": [1, 2, 3], "NEVER": [9, 9, 9]}
    with pytest.raises(pf.InputError, match=r"value\[1\]: the number is out of range"):
        verdicts["DENY"] = [1, -1, 3]
    with pytest.raises(pf.InputError, match="found 2, expected 3"):
        verdicts["DENY"] = [1, 2]


def test_prefixes_are_keys_of_a_trie(obj: pf.Object) -> None:
    routes = obj.maps["routes"].typed
    routes["10.0.0.0/8"] = 1
    routes[{"bits": 16, "addr": "10.1.0.0"}] = 2
    assert (routes["10.9.9.9/32"], routes["10.1.9.9/32"]) == (1, 2)
    assert next(routes.keys())["addr"] in ([10, 0, 0, 0], [10, 1, 0, 0])
    for text in ("10.0.0.0/33", "10.0.0/8", "10.0.0.0/x", "::/8"):
        with pytest.raises(pf.InputError, match="key"):
            routes[text] = 3


def test_maps_without_types_hold_numbers() -> None:
    for size in (1, 2, 4, 8):
        m = pf.Map(pf.MapSpec("hash", size, size, 4)).typed
        top = (1 << 8 * size) - 1
        m[top] = top
        assert list(m.items()) == [(top, top)]
        with pytest.raises(pf.InputError, match="out of range"):
            m[top + 1] = 0
    odd = pf.Map(pf.MapSpec("hash", 3, 16, 4))
    odd.typed[b"abc"] = 5
    assert list(odd.typed.items()) == [(b"abc", (5).to_bytes(16, "little"))]
    with pytest.raises(pf.InputError, match="str"):
        odd["abc"] = 5


def test_global_data_is_a_dict_of_variables(obj: pf.Object) -> None:
    data = obj.maps[".data"].typed
    assert data[0] == {"seen": 7}
    data[0] = {"seen": 8}
    assert obj.maps[".data"][0] == (8).to_bytes(8, "little")


def test_outer_and_inner_maps_are_typed(obj: pf.Object) -> None:
    slots = obj.maps["slots"]
    inner = pf.Map(slots.spec.inner)
    slots.typed[1] = inner
    inner.typed[5] = -5
    assert slots.typed[1] is inner
    assert dict(inner.typed.items()) == {5: -5}


# --- hostile BTF ---


def refused(types: Types, type_id: int, size: int) -> str:
    with pytest.raises(pf.InputError) as caught:
        codec_of(types.btf(), type_id, size)
    return str(caught.value)


def test_types_without_a_counterpart_are_refused_and_bytes_go_on() -> None:
    types = Types()
    byte = types.add("u8", 1, 0, 1, struct.pack("<I", 8))
    word = types.add("u64", 1, 0, 8, struct.pack("<I", 64))

    def member(name: str, type_id: int, bit: int) -> bytes:
        return struct.pack("<III", types.name(name), type_id, bit)

    outside = types.add("s", 4, 1, 4, member("a", word, 0))
    twice = types.add("s", 4, 2, 2, member("a", byte, 0) + member("a", byte, 8))
    unaligned = types.add("s", 4, 1, 8, member("a", byte, 3))
    itself = types.count + 1
    types.add("s", 4, 1, 8, member("a", itself, 0))
    empty = types.add("e", 4, 0, 0)
    many_empty = types.add("", 3, 0, 0, struct.pack("<III", empty, byte, 0xFFFFFFFF))
    forward = types.add("f", 7, 0, 0)
    odd = types.add("i", 1, 0, 3, struct.pack("<I", 24))
    half = types.add("h", 16, 0, 2)
    assert "lies outside" in refused(types, outside, 4)
    assert "one name" in refused(types, twice, 2)
    assert "does not start at a byte" in refused(types, unaligned, 8)
    assert "nested too deeply" in refused(types, itself, 8)
    assert "has 0 bytes" in refused(types, many_empty, 8)
    assert "fwd" in refused(types, forward, 8)
    assert "3 bytes" in refused(types, odd, 3)
    assert "2 bytes" in refused(types, half, 2)
    assert "the map says 5" in refused(types, byte, 5)
    # Unions of unions: few bytes, and more parts than anybody could write down.
    deep = byte
    for _ in range(8):
        deep = types.add("", 5, 16, 1, b"".join(member(f"m{i}", deep, 0) for i in range(16)))
    assert "parts" in refused(types, deep, 1)
    m = pf.Map(pf.MapSpec("hash", 4, 4, 4, value_btf=outside, btf=types.btf(), name="m"))
    m[1] = bytes(4)
    assert m[1] == bytes(4)
    with pytest.raises(pf.InputError, match="map 'm': value: the type cannot be converted"):
        m.typed[1]
    assert m.to_json() == [{"key": 1, "value": "hex:00000000"}]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_types_never_do_worse_than_an_error(data: st.DataObject) -> None:
    spec = pf.ObjectSpec.from_file(OBJECT).maps["records"]
    assert spec.btf is not None
    raw = bytearray(spec.btf.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(24, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec = codec_of(parse_btf(bytes(raw), "damaged"), spec.value_btf, spec.value_size)
    except pf.InputError:
        return
    value = codec.decode(random.Random(1).randbytes(spec.value_size))
    assert value is not None


# --- the kernel's own tool ---


@kernel.requires_kernel()
@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed")
def test_bpftool_reads_the_same_from_a_map_of_the_kernel(obj: pf.Object) -> None:
    mine = obj.maps["records"]
    spec = mine.spec
    assert spec.btf is not None
    rng = random.Random(5)
    values = [mine.encode(record())]
    for _ in range(20):
        raw = bytearray(rng.randbytes(spec.value_size))
        raw[32] &= 1  # a truth value
        values.append(bytes(raw))
    types = spec.btf.raw, spec.key_btf, spec.value_btf
    with kernel.KernelMap("hash", 16, spec.value_size, 64, types=types) as theirs:
        for i, value in enumerate(values):
            key = mine.encode_key({**FLOW, "proto": i})
            theirs.update(key, value)
            mine.update(key, value)
        dumped = json.loads(
            subprocess.run(
                ["bpftool", "-j", "map", "dump", "id", str(map_id(theirs))],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
    assert len(dumped) == len(values)
    for entry in dumped:
        shown = entry["formatted"]
        raw_key = bytes(int(x, 16) for x in entry["key"])
        got_key, got = mine.decode_key(raw_key), mine.decode(mine[raw_key])
        assert shown["key"]["proto"] == got_key["proto"]
        assert raw_key[:4] == ipaddress.ip_address(got_key["src"]).packed
        compare(got, shown["value"])


def compare(got: dict[str, Any], shown: dict[str, Any]) -> None:
    """All fields; bpftool shows enumerations and addresses as numbers, and bit fields in hex without their sign."""
    numbers = {"verdict": {"ALLOW": 1, "DENY": 2, "NEVER": -1}, "tiny": {"LOW": 0, "HIGH": 200}}
    want = dict(got)
    for name, names in numbers.items():
        want[name] = names.get(got[name], got[name])
    # Without the flag that newer compilers set, enumerations show as signed numbers there.
    shown = dict(shown)
    for name, names in numbers.items():
        if isinstance(shown[name], str):
            assert shown[name] == got[name]
        shown[name] = names.get(shown[name], shown[name])
    for name, bits in (("verdict", 32), ("tiny", 8), ("wide", 64)):
        for side in (want, shown):
            side[name] = (side[name] + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
    small = numbers["verdict"].get(got["small"], got["small"])
    for name, value in (("low", got["low"]), ("mid", got["mid"] & 127), ("high", got["high"]),
                        ("across", got["across"]), ("small", small & 15)):  # fmt: skip
        want[name] = hex(value)
    nested = {name: want.pop(name) for name in ("inner_b", "halves")}
    want[""] = {"inner_a": want.pop("inner_a"), "": nested}
    want["mac"] = list(bytes.fromhex(got["mac"].replace(":", "")))
    packed = ipaddress.ip_address(want.pop("peer")).packed
    assert shown["peer"]["in6_u"]["u6_addr8"] == list(packed)
    text = got["name"] if isinstance(got["name"], bytes) else got["name"].encode()
    if isinstance(shown["name"], str):
        # As text it ends at the first zero.
        shown["name"] = list(shown["name"].encode().ljust(12, b"\0"))
        text = text.split(b"\0")[0]
    want["name"] = list(struct.unpack("12b", text.ljust(12, b"\0")))
    flow = dict(got["either"]["flow"])
    for name in ("src", "dst"):
        flow[name] = int.from_bytes(ipaddress.ip_address(flow[name]).packed, "little")
    for name in ("sport", "dport"):
        flow[name] = int.from_bytes(flow[name].to_bytes(2, "big"), "little")
    want["either"] = {"word": got["either"]["word"], "flow": flow}
    assert want == {name: value for name, value in shown.items() if name != "peer"}


def map_id(of: kernel.KernelMap) -> int:
    """The id of a kernel's map, from what the kernel says about its descriptor."""
    text = Path(f"/proc/self/fdinfo/{of.fd}").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("map_id")))
