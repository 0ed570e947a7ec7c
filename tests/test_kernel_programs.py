"""The corpus of real programs against BPF_PROG_TEST_RUN: return value, bytes, metadata, maps."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import kernel
import packets
import pytest
from differential import kernel_map, kernel_program

import pktfilter as pf
from pktfilter.objects import ObjectSpec

PROGRAMS = Path(__file__).parent / "programs"
PACKETS = 250
# Helpers whose answer is the kernel's own: what depends on them cannot be compared.
OWN_WORLD = {5, 7, 118, 125, 160, 208}  # ktime_get_*, get_prandom_u32, jiffies64


def objects() -> list[Path]:
    return sorted(PROGRAMS.glob("*.o"))


@kernel.requires_kernel()
@pytest.mark.parametrize("path", objects(), ids=lambda p: p.stem)
def test_program_agrees_with_the_kernel(path: Path) -> None:
    spec = ObjectSpec.from_file(path)
    try:
        spec.check_supported()
    except pf.ObjectError as error:
        pytest.skip(f"the engine does not run it yet: {error}")
    own = {name for name, p in spec.programs.items() if OWN_WORLD & set(p.helpers)}
    if own == set(spec.programs):
        pytest.skip("it asks for the kernel's own time or random numbers")
    with ExitStack() as stack:
        btf = spec.btf.raw if spec.btf else b""
        maps = {name: kernel_map(stack, map_spec, btf) for name, map_spec in spec.maps.items()}
        theirs = {n: stack.enter_context(kernel_program(p, maps)) for n, p in spec.programs.items()}
        mine = pf.load(spec, cpus=kernel.possible_cpus())
        for name, map_spec in spec.maps.items():
            for slot, target in map_spec.values.items():
                known = theirs if map_spec.inner is None else maps
                maps[name].update(slot.to_bytes(4, "little"), known[target])
        for name in spec.programs.keys() - own:
            for i, packet in enumerate(packets.varied(PACKETS, seed=len(path.stem))):
                want, got = theirs[name].test_run(packet), mine.programs[name].test_run(packet)
                assert (got.retval, got.data, got.data_meta) == (
                    want.retval,
                    want.packet,
                    want.meta,
                ), f"{name}, packet {i}: {packet.hex()}"
        for name, map_spec in spec.maps.items():
            if map_spec.inner is None and map_spec.type not in ("prog_array", "devmap", "cpumap"):
                assert dict(mine.maps[name].items()) == maps[name].items(), name
