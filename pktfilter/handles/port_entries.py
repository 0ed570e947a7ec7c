"""Entries of device and CPU maps: a destination, and a program of the entry's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import IncompatibleProgram, InputError

if TYPE_CHECKING:
    from .maps import Map
    from .program import Program

#: Map type -> the use that its entries' programs must be made for (section xdp/devmap or xdp/cpumap).
PORT_TYPES = {"devmap": "devmap", "devmap_hash": "devmap", "cpumap": "cpumap"}
_WITH_PROGRAM = 8  # bytes of a value that can name a program


@dataclass(frozen=True)
class DevmapEntry:
    """Where a devmap's key leads (struct bpf_devmap_val): an interface, and the program that each packet
    passes before it leaves there (section xdp/devmap)."""

    ifindex: int
    program: Program | None = None


@dataclass(frozen=True)
class CpumapEntry:
    """What a cpumap's key means (struct bpf_cpumap_val): the length of the CPU's queue, and the program
    that each packet passes there (section xdp/cpumap)."""

    qsize: int
    program: Program | None = None


def port_entry(target: Map, value: Any) -> tuple[int, Program | None] | None:
    """The value as (first word, program); None where it is bytes or an int, as of other maps.

    Raises `InputError` for a value that the map cannot hold, `IncompatibleProgram` for a program of
    another use.
    """
    kind = PORT_TYPES.get(target.type)
    wanted = DevmapEntry if kind == "devmap" else CpumapEntry
    if kind is None or not isinstance(value, (tuple, DevmapEntry, CpumapEntry)):
        return None
    if isinstance(value, tuple) and len(value) == 2:
        value = wanted(*value)
    if not isinstance(value, wanted):
        raise _refused(target, "the value is no entry of this map", value, f"a {wanted.__name__}")
    number = value.ifindex if isinstance(value, DevmapEntry) else value.qsize
    program = value.program
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 32:
        raise _refused(
            target, "the first part of an entry is out of range", number, "0 to 2^32 - 1"
        )
    if program is not None:
        _check_program(target, program, kind)
    return number, program


def _check_program(target: Map, program: Any, kind: str) -> None:
    from .program import Program

    if not isinstance(program, Program):
        raise _refused(
            target, "the second part of an entry is no program", type(program).__name__, "a Program"
        )
    if target.value_size < _WITH_PROGRAM:
        raise _refused(
            target,
            "the map's values have no room for a program",
            f"{target.value_size} bytes",
            f"{_WITH_PROGRAM} bytes (struct bpf_{kind}_val)",
        )
    use = program.spec.attach if program.spec is not None else ""
    if program.type != "xdp" or use != kind:
        raise IncompatibleProgram(
            f"the program is not made for entries of a {target.type}",
            field="attach",
            found=use or program.type,
            expected=f"a program of section xdp/{kind}",
        )


def _refused(target: Map, what: str, found: Any, expected: str) -> InputError:
    return InputError(what, place=target._place(), found=found, expected=expected)
