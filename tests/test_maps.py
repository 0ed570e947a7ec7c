"""Maps from Python: flags and errors of bpf(2), against the kernel where it is there."""

from __future__ import annotations

import errno
import random
import struct

import kernel
import pytest

import pktfilter as pf
from pktfilter import BPF_ANY, BPF_EXIST, BPF_NOEXIST, Map, MapSpec

SPECS = {
    "array": MapSpec("array", 4, 8, 8),
    "percpu_array": MapSpec("percpu_array", 4, 12, 5),
    "hash": MapSpec("hash", 4, 8, 6),
    "percpu_hash": MapSpec("percpu_hash", 6, 4, 6),
    "lru_hash": MapSpec("lru_hash", 4, 8, 64),
    "lpm_trie": MapSpec("lpm_trie", 8, 4, 6, 1),
}
IN_KERNEL = kernel.requires_kernel()


def key_for(spec: MapSpec, rng: random.Random) -> bytes:
    if spec.type == "lpm_trie":
        return struct.pack("<I", rng.choice((0, 8, 16, 24, 32))) + rng.choice(
            (b"\x0a\0\0\0", b"\x0a\x01\0\0")
        )
    if spec.type.endswith("array"):
        return struct.pack("<I", rng.randrange(spec.max_entries + 2))
    return rng.randrange(12 if spec.max_entries < 64 else 40).to_bytes(spec.key_size, "little")


@IN_KERNEL
@pytest.mark.parametrize("name", SPECS)
def test_operations_agree_with_the_kernel(name: str) -> None:
    """Random operations with all flags give the same result, errno and contents."""
    spec, rng = SPECS[name], random.Random(7)
    mine = Map(spec, cpus=kernel.possible_cpus())
    with kernel.KernelMap(
        spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags
    ) as theirs:
        for step in range(600):
            key = key_for(spec, rng)
            value: bytes | list[bytes] = rng.randbytes(spec.value_size)
            if "percpu" in spec.type:
                value = [rng.randbytes(spec.value_size) for _ in range(kernel.possible_cpus())]
            flags = rng.choice((BPF_ANY, BPF_ANY, BPF_NOEXIST, BPF_EXIST, 3, 8))
            if rng.random() < 0.7:
                want, got = (
                    outcome(theirs.update, key, value, flags),
                    outcome(mine.update, key, value, flags=flags),
                )
            else:
                want, got = outcome(theirs.delete, key), outcome(mine.delete, key)
            assert got == want, f"step {step}: key {key.hex()}, flags {flags}"
            assert dict(mine.items()) == theirs.items(), f"step {step}"
            assert len(mine) == len(theirs.items())


def outcome(function: object, *arguments: object, **named: object) -> int:
    assert callable(function)
    try:
        function(*arguments, **named)
    except OSError as error:
        return error.errno or 0
    return 0


BAD_DEFINITIONS = [
    MapSpec("array", 8, 8, 8),
    MapSpec("array", 4, 0, 8),
    MapSpec("array", 4, 8, 0),
    MapSpec("hash", 0, 8, 8),
    MapSpec("hash", 4, 8, 8, 1 << 31),
    MapSpec("lpm_trie", 8, 4, 6, 0),
    MapSpec("lpm_trie", 4, 4, 6, 1),
    MapSpec("lpm_trie", 261, 4, 6, 1),
    MapSpec("prog_array", 4, 8, 1),
    MapSpec("array", 4, 8, 8, 1),
    MapSpec("percpu_array", 4, 1 << 20, 8),
    MapSpec("lru_hash", 4, 8, 8, 1),
]


@pytest.mark.parametrize("spec", BAD_DEFINITIONS, ids=repr)
def test_bad_definitions_are_refused(spec: MapSpec) -> None:
    with pytest.raises((pf.InputError, pf.MapError)):
        Map(spec)
    if kernel.available() is None:
        with pytest.raises(kernel.KernelError):
            kernel.KernelMap(
                spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags
            ).close()


def test_dictionary_manners() -> None:
    m = Map(MapSpec("hash", 4, 8, 100), name="conns")
    m[1] = 2
    m[b"\x02\0\0\0"] = bytes(8)
    assert m[1] == (2).to_bytes(8, "little")
    assert 1 in m
    assert 3 not in m
    assert sorted(m) == [b"\x01\0\0\0", b"\x02\0\0\0"]
    del m[1]
    assert len(m) == 1
    with pytest.raises(KeyError, match="no such key"):
        m[1]
    with pytest.raises(pf.MapError) as caught:
        del m[1]
    assert caught.value.errno == errno.ENOENT
    assert "conns" in str(caught.value)


def test_wrong_sizes_and_types_say_what_was_expected() -> None:
    m = Map(MapSpec("hash", 4, 8, 100), name="conns")
    for key, value, words in (
        (b"abc", bytes(8), "3 bytes, expected 4 bytes"),
        (1, b"", "0 bytes, expected 8 bytes"),
        (1 << 32, bytes(8), "expected 4 bytes"),
        ("text", bytes(8), "str"),
        (1, 1.5, "float"),
    ):
        with pytest.raises(pf.InputError, match=words):
            m.update(key, value)  # type: ignore[arg-type]


def test_per_cpu_values() -> None:
    m = Map(MapSpec("percpu_array", 4, 4, 2), cpus=3)
    m[0] = [b"aaaa", b"bbbb", b"cccc"]
    assert m[0] == [b"aaaa", b"bbbb", b"cccc"]
    m[1] = b"same"
    assert m[1] == [b"same"] * 3
    with pytest.raises(pf.InputError, match="found 2, expected 3"):
        m[0] = [b"aaaa", b"bbbb"]


def test_freeze() -> None:
    m = Map(MapSpec("array", 4, 4, 2))
    m[0] = 1
    m.freeze()
    with pytest.raises(pf.MapError) as caught:
        m[0] = 2
    assert caught.value.errno == errno.EPERM
    assert m[0] == b"\1\0\0\0"


def test_outer_maps_give_back_what_was_put_in() -> None:
    inner_spec = MapSpec("hash", 4, 8, 10)
    for outer in (
        Map(MapSpec("array_of_maps", 4, 4, 3, inner=inner_spec)),
        Map(MapSpec("hash_of_maps", 4, 4, 3, inner=inner_spec)),
    ):
        inner = Map(inner_spec)
        outer[1] = inner
        assert outer[1] is inner
        assert len(outer) == 1
        with pytest.raises(pf.MapError):
            outer[2] = Map(MapSpec("hash", 4, 16, 10))
        with pytest.raises(pf.InputError, match="holds maps"):
            outer[2] = 5
        del outer[1]
        with pytest.raises(KeyError):
            outer[1]


def test_prog_array_holds_programs() -> None:
    program = pf.Program.from_bytes(bytes.fromhex("b7000000020000009500000000000000"), name="two")
    array = Map(MapSpec("prog_array", 4, 4, 4))
    array[2] = program
    assert array[2] is program
    assert [key for key, _ in array.items()] == [b"\2\0\0\0"]
    with pytest.raises(pf.MapError) as caught:
        array[9] = program
    assert caught.value.errno == errno.E2BIG
    with pytest.raises(pf.IncompatibleProgram):
        array[0] = pf.Program.from_bytes(program.insns, type="memory")
