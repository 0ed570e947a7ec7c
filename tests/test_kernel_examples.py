"""Every example program against BPF_PROG_TEST_RUN: return value, packet bytes, metadata, map contents."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import kernel
import packets
import pytest
from differential import kernel_map, kernel_program

import pktfilter as pf
from pktfilter.objects import ObjectSpec

EXAMPLES = Path(__file__).parent.parent / "examples"
PACKETS = 600
# Values whose bytes hold clock readings or depend on eviction order: contents are not compared.
TIMED_MAPS = {"sources", "destinations", "known"}
# Limits that depend on the wall clock in the kernel and on the test's clock here are lifted, so that both
# decide by the packets alone.
KNOBS = {
    "ratelimit": {"rate_pps": 1 << 40, "burst": 1 << 20},
    "synscrub": {"syn_limit": 1 << 40, "window_ns": 1 << 60, "known_for_ns": 1 << 60},
}


def cases() -> Iterator[tuple[str, str]]:
    for path in sorted(EXAMPLES.glob("*.o")):
        for name in ObjectSpec.from_file(path).programs:
            yield path.stem, name


def set_knobs(spec: ObjectSpec, stem: str) -> None:
    for name, value in KNOBS.get(stem, {}).items():
        spec.set_variable(name, value)


SLOTS = ("check_vlan", "check_ipv4", "check_ipv6", "check_tcp", "check_udp")


@kernel.requires_kernel()
@pytest.mark.parametrize(("stem", "name"), list(cases()), ids=lambda v: v)
def test_example_agrees_with_the_kernel(stem: str, name: str) -> None:
    spec = ObjectSpec.from_file(EXAMPLES / f"{stem}.o")
    set_knobs(spec, stem)
    obj = pf.load(spec, cpus=kernel.possible_cpus())
    with ExitStack() as stack:
        maps = {map_name: kernel_map(stack, map_spec) for map_name, map_spec in spec.maps.items()}
        programs = {
            n: stack.enter_context(kernel_program(p, maps)) for n, p in spec.programs.items()
        }
        if stem == "tailcall":
            for slot, target in enumerate(SLOTS):
                obj.maps["parsers"][slot] = obj.programs[target]
                maps["parsers"].update(struct.pack("<I", slot), programs[target])
        if stem == "stats":
            hang_in_inner_maps(stack, obj, maps)
        seen = set()
        for i, packet in enumerate(packets.varied(PACKETS, seed=len(name))):
            want = programs[name].test_run(packet)
            got = obj.programs[name].test_run(packet)
            assert got.retval == want.retval, f"packet {i}: {packet.hex()}"
            assert got.data == want.packet, f"packet {i}: {packet.hex()}"
            assert got.data_meta == want.meta, f"packet {i}: {packet.hex()}"
            seen.add(want.retval)
        assert seen, "no packet was run"
        for map_name, map_spec in spec.maps.items():
            if (
                map_name not in TIMED_MAPS
                and map_spec.inner is None
                and map_spec.type != "prog_array"
            ):
                assert dict(obj.maps[map_name].items()) == maps[map_name].items(), map_name


def hang_in_inner_maps(stack: ExitStack, obj: pf.Object, maps: dict[str, kernel.KernelMap]) -> None:
    """Gives `stats` the tables without which its map-in-map branches do nothing."""
    for outer, keys in (("classes", range(4)), ("tenants", (1, 100, 4095))):
        inner = obj.maps[outer].spec.inner
        assert inner is not None
        for key in keys:
            raw = key.to_bytes(obj.maps[outer].key_size, "little")
            obj.maps[outer][raw] = pf.Map(inner, cpus=kernel.possible_cpus())
            maps[outer].update(raw, kernel_map(stack, inner))
