"""Plausible contents of maps, the same for the engine and for the kernel.

Keys are those that a program asks for over its packets (``rewriting.record_keys``), so that look-ups
succeed and inner branches run; values are mostly small numbers, as indices, ports and actions are.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import kernel
import rewriting
from scored import Object

import pktfilter as pf

ARRAY_MAX = 512
"""Elements of an array that get values; the others stay zero."""
ROUNDS = 2
_PORTS = ("devmap", "devmap_hash", "cpumap")
_HASHES = ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash")
_INNER_KEYS = 48


@dataclass
class Contents:
    """What goes into the maps of one object, by map name."""

    pairs: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    pushed: dict[str, list[bytes]] = field(default_factory=dict)
    inner: dict[str, dict[bytes, list[tuple[bytes, bytes]]]] = field(default_factory=dict)


def _value(rng: random.Random, size: int) -> bytes:
    """Words of 32 bits: mostly small, some any."""
    words = (size + 3) // 4
    draw = [
        rng.choice((0, 1, 1, 2, 3, 4, 7, 16, 100, 1000, rng.getrandbits(32))) for _ in range(words)
    ]
    return b"".join(word.to_bytes(4, "little") for word in draw)[:size]


def _lpm(rng: random.Random, key: bytes) -> bytes:
    """The asked key's prefix, of any length that the key may have."""
    bits = rng.choice((8, 16, 24, (len(key) - 4) * 8, rng.randrange((len(key) - 4) * 8 + 1)))
    return min(bits, (len(key) - 4) * 8).to_bytes(4, "little") + key[4:]


def _pairs(rng: random.Random, spec: pf.MapSpec, asked: list[bytes]) -> list[tuple[bytes, bytes]]:
    room = max(spec.max_entries // 2, 1)
    if spec.type in ("array", "percpu_array"):
        keys = [i.to_bytes(4, "little") for i in range(min(spec.max_entries, ARRAY_MAX))]
    elif spec.type == "lpm_trie":
        keys = [_lpm(rng, key) for key in asked if rng.random() < 0.7][:room]
    elif spec.type in _HASHES:
        keys = [key for key in asked if rng.random() < 0.7][:room]
    else:
        return []
    return [(key, _value(rng, spec.value_size)) for key in dict.fromkeys(keys)]


def _ports(spec: pf.MapSpec, asked: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Interface 1, or a queue of 64 packets for the CPUs that there are."""
    number = 64 if spec.type == "cpumap" else 1
    limit = kernel.possible_cpus() if spec.type == "cpumap" else spec.max_entries
    keys = [i.to_bytes(4, "little") for i in range(min(limit, 8))]
    if spec.type == "devmap_hash":
        keys = list(dict.fromkeys(keys + asked))[: spec.max_entries]
    value = number.to_bytes(4, "little").ljust(spec.value_size, b"\0")
    return [(key, value) for key in keys]


def _is_data(spec: pf.MapSpec) -> bool:
    return spec.section.startswith((".bss", ".data", ".rodata")) or spec.name == rewriting.CLOCK


def contents(each: Object, packets: list[bytes]) -> Contents:
    """What to fill the object's maps with; a function of the object and the packets."""
    made = Contents()
    for _ in range(ROUNDS):
        asked = _asked(each, packets, made)
        rng = random.Random(each.stem)
        made = Contents()
        for name, spec in each.spec().maps.items():
            keys = asked.get(name, [])
            if _is_data(spec) or spec.type == "prog_array":
                continue
            if spec.type in _PORTS:
                made.pairs[name] = _ports(spec, keys)
            elif spec.type in ("queue", "stack"):
                count = max(spec.max_entries // 2, 1)
                made.pushed[name] = [_value(rng, spec.value_size) for _ in range(count)]
            elif spec.type == "bloom_filter":
                made.pushed[name] = [key for key in keys if rng.random() < 0.5]
            elif spec.inner is not None and not spec.values:
                made.inner[name] = _inner(rng, spec, keys, asked.get("", []))
            elif spec.inner is None:
                made.pairs[name] = _pairs(rng, spec, keys)
    return made


def _inner(
    rng: random.Random, spec: pf.MapSpec, asked: list[bytes], inside: list[bytes]
) -> dict[bytes, list[tuple[bytes, bytes]]]:
    assert spec.inner is not None
    keys = [i.to_bytes(spec.key_size, "little") for i in range(min(spec.max_entries, 8))]
    if spec.type == "hash_of_maps":
        keys = list(dict.fromkeys(keys + asked))[: min(spec.max_entries, 16)]
    size = spec.inner.key_size
    fitting = [key[:size] for key in inside if len(key) >= size][:_INNER_KEYS]
    return {key: _pairs(rng, spec.inner, fitting) for key in keys}


def _asked(each: Object, packets: list[bytes], before: Contents) -> dict[str, list[bytes]]:
    """Keys by map name ("" for inner maps), in the order of the first question."""
    spec = each.spec()
    rewriting.share_answers(spec)
    sites = rewriting.record_keys(spec)
    obj = pf.load(spec, cpus=kernel.possible_cpus(), verify=False)
    fill_engine(obj, before)
    sizes = [rewriting.asked_size(m.inner) for m in spec.maps.values() if m.inner]
    inner = [size for size in sizes if size]
    found: dict[str, dict[bytes, None]] = {}
    queue = obj.maps[rewriting.RECORDS]
    for packet in packets:
        for program in obj.programs.values():
            with contextlib.suppress(pf.ExecutionFault):
                program.test_run(packet, engine="checked")
        for record in drained(queue):
            name = sites[int.from_bytes(record[:4], "little")]
            size = rewriting.asked_size(spec.maps[name]) if name else inner[0]
            found.setdefault(name, {})[record[4 : 4 + size]] = None
    return {name: list(keys) for name, keys in found.items()}


def drained(queue: pf.Map) -> Iterable[bytes]:
    while True:
        try:
            yield queue.pop()
        except pf.MapError:
            return


def fill_engine(obj: pf.Object, made: Contents) -> None:
    """Puts the contents into an object's maps."""
    for name, pairs in made.pairs.items():
        for key, value in pairs:
            obj.maps[name].update(key, value)
    for name, values in made.pushed.items():
        for value in values:
            obj.maps[name].push(value)
    for name, keys in made.inner.items():
        spec = obj.maps[name].spec.inner
        assert spec is not None
        for key, pairs in keys.items():
            inner = pf.Map(spec, cpus=kernel.possible_cpus())
            for inside, value in pairs:
                inner.update(inside, value)
            obj.maps[name].update(key, inner)
