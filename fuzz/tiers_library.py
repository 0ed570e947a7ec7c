"""libtiers.so: the campaign's programs and the comparison loop of the engines, through ctypes.

One library holds one pool of maps and runs one thing at a time.  `make -C fuzz tiers` builds it.
"""

from __future__ import annotations

import ctypes as c
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pktfilter._core.native import LAYOUT
from pktfilter._core.tables import MAP_TYPES
from pktfilter._core.verifier import FACT_KINDS
from pktfilter.jit.unit import Fact, MapConstants, Unit, by_place

FORMS = ("checked", "unchecked", "compiled", "plain")
"""Ways to run a program: the two interpreters, compiled with facts, compiled without."""
FOUND = ("nothing", "difference", "signal", "fault")
_TYPE_NAMES = {row.number: row.name for row in MAP_TYPES}
_FACT = struct.Struct("<6Q2q2Q")
_ROW = 11


class Plan(c.Structure):
    """struct pf_tier_plan."""

    _fields_ = [
        ("seed", c.c_uint64), ("singles", c.c_uint32), ("feeds", c.c_uint32), ("feed", c.c_uint32),
        ("forms", c.c_uint32), ("limit_ms", c.c_uint32), ("memory", c.c_char_p),
        ("memory_len", c.c_uint32),
    ]  # fmt: skip


class Report(c.Structure):
    """struct pf_tier_report."""

    _fields_ = [
        ("pairs", c.c_uint64), ("runs", c.c_uint64), ("executed", c.c_uint64),
        ("addresses", c.c_uint64), ("budget", c.c_uint64), ("covered", c.c_uint32),
        ("reachable", c.c_uint32), ("found", c.c_uint32), ("form", c.c_uint32),
        ("feed", c.c_uint32), ("packet", c.c_uint32), ("text", c.c_char * 384),
    ]  # fmt: skip


@dataclass(frozen=True)
class MapShape:
    """A map as the library makes it: numbers as in bpf(2)."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0

    def words(self) -> tuple[int, int, int, int, int]:
        """The five words of struct pf_map_def."""
        return self.type, self.key_size, self.value_size, self.max_entries, self.flags


class Library:
    """The functions of libtiers.so, with what Python needs of their types."""

    def __init__(
        self, path: Path, corpus: Path | None = None, mutate: int = 10, dense: int = 0
    ) -> None:
        self._c = lib = c.CDLL(str(path))
        pointer = c.c_void_p
        for name, result, arguments in (
            ("open", c.c_uint32, [c.c_char_p, c.c_uint32, c.c_uint32]),
            ("pool", pointer, []),
            ("world", pointer, [pointer, pointer, c.c_uint32]),
            ("world_free", None, [pointer]),
            ("data", c.c_int, [pointer, c.c_uint32, c.c_char_p, c.c_uint32, c.c_int]),
            ("lock", c.c_int, [pointer, c.c_uint32, c.c_uint32, c.c_int]),
            ("bind", c.c_int, [pointer, c.c_uint32, c.c_uint32, pointer]),
            ("unbind", None, [pointer, c.c_uint32]),
            ("map", pointer, [pointer, c.c_uint32, pointer]),
            ("map_count", c.c_uint32, [pointer]),
            ("target", pointer, [pointer, c.c_uint32, c.c_uint32]),
            ("code_of", pointer, [pointer, pointer, pointer]),
            ("program", pointer, [pointer, c.c_int, c.c_int, c.c_char_p, c.c_uint32, c.c_int]),
            ("program_free", None, [pointer]),
            ("accepted", c.c_int, [pointer, c.c_char_p, c.c_size_t]),
            ("prog", pointer, [pointer, c.c_int]),
            ("facts", c.c_uint32, [pointer, pointer]),
            ("stage", c.c_int, [pointer, c.c_char_p, c.c_size_t, c.c_char_p, c.c_size_t]),
            ("compare", None, [pointer, c.POINTER(Plan), c.POINTER(Report)]),
            ("sample", c.c_uint64, [c.c_uint64, c.c_uint64, pointer]),
            ("sample_program", pointer, []),
            ("sample_world", pointer, []),
            ("sample_code", pointer, [pointer]),
            ("shrink", None, [pointer]),
            ("show", c.c_uint32, [c.c_char_p, c.c_uint32, c.c_char_p, c.c_uint32]),
            ("sizes", None, [pointer]),
            ("layout", c.c_char_p, [c.c_uint32, c.POINTER(c.c_uint64)]),
        ):  # fmt: skip
            function = getattr(lib, f"pf_tiers_{name}")
            function.restype, function.argtypes = result, arguments
        self._check()
        self.corpus: int = lib.pf_tiers_open(
            str(corpus).encode() if corpus else None, mutate, dense
        )

    def _check(self) -> None:
        sizes = (c.c_uint32 * 2)()
        self._c.pf_tiers_sizes(sizes)
        if list(sizes) != [c.sizeof(Plan), c.sizeof(Report)]:
            raise RuntimeError("tiers_library.py and tiers.h disagree: rebuild with make tiers")
        layout: dict[str, int] = {}
        value = c.c_uint64()
        while (name := self._c.pf_tiers_layout(len(layout), value)) is not None:
            layout[name.decode()] = value.value
        if layout != LAYOUT:
            raise RuntimeError("libtiers.so and the package were built from different sources")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._c, f"pf_tiers_{name}")

    def world(self, maps: Sequence[MapShape], inner: MapShape | None = None) -> int | None:
        """Maps with these definitions, or None when they cannot be made."""
        words = [word for shape in maps for word in shape.words()]
        one = (inner or MapShape(2, 4, 8, 1)).words()
        defs = (c.c_uint32 * max(1, len(words)))(*words)
        made: int | None = self._c.pf_tiers_world(defs, (c.c_uint32 * 5)(*one), len(maps))
        return made

    def maps(self, world: int) -> tuple[MapConstants, ...]:
        """What the translator may know of a world's maps, in the order of their places."""
        return tuple(self._map(world, place) for place in range(self._c.pf_tiers_map_count(world)))

    def _map(self, world: int, place: int) -> MapConstants:
        row = (c.c_int64 * 12)()
        contents = self._c.pf_tiers_map(world, place, row)
        kind, key, value, entries, flags, cpus, percpu, stride, step, cpu_step, lock, _ = row
        return MapConstants(
            type=_TYPE_NAMES[kind], key_size=key, value_size=value, max_entries=entries,
            flags=flags, cpus=cpus, percpu=bool(percpu), stride=stride, value_step=step,
            cpu_step=cpu_step, lock=None if lock < 0 else lock,
            contents=c.string_at(contents, value) if contents else None,
        )  # fmt: skip

    def code(self, prog: int) -> tuple[bytes, bytes]:
        """Instructions and instruction types of a struct pf_prog."""
        count, types = c.c_uint32(), c.c_void_p()
        insns = self._c.pf_tiers_code_of(prog, c.byref(count), c.byref(types))
        return c.string_at(insns, 8 * count.value), c.string_at(types.value or 0, count.value)

    def facts(self, program: int, count: int) -> list[list[Fact]] | None:
        """The verifier's facts as `Unit` takes them; None when there are none."""
        raw = c.create_string_buffer(_FACT.size * _ROW * count)
        if not self._c.pf_tiers_facts(program, raw):
            return None
        rows = [(FACT_KINDS[f[0]], bool(f[1]), *f[2:]) for f in _FACT.iter_unpack(raw.raw)]
        return [rows[at : at + _ROW] for at in range(0, len(rows), _ROW)]

    def unit(self, prog: int, world: int, facts: list[list[Fact]] | None, **more: Any) -> Unit:
        """What a struct pf_prog of this world is to the translator."""
        insns, types = self.code(prog)
        maps = self.maps(world)
        return Unit(
            insns=by_place(insns, {i: i for i in range(len(maps))}),
            type=more.get("type", "xdp"),
            frags=more.get("frags", False),
            types=types,
            maps=maps,
            facts=facts,
        )

    def refusal(self, program: int) -> str | None:
        """Why the verifier refused the program; None: it did not."""
        text = c.create_string_buffer(256)
        return None if self._c.pf_tiers_accepted(program, text, 256) else text.value.decode()

    def stage(self, prog: int, code: bytes) -> str | None:
        """Loads compiled code; why not, or None."""
        text = c.create_string_buffer(512)
        done = self._c.pf_tiers_stage(prog, code, len(code), text, 512)
        return None if done else text.value.decode()

    def compare(self, program: int, plan: Plan) -> Report:
        """One program over the packets of a plan."""
        report = Report()
        self._c.pf_tiers_compare(program, plan, report)
        return report

    def sample(self, seed: int, index: int) -> int:
        """Program `index` of `seed` becomes the sample; the seed of its runs."""
        made: int = self._c.pf_tiers_sample(seed, index, c.byref(c.c_uint32()))
        return made

    def sample_code(self) -> bytes:
        """The sample's instructions."""
        count = c.c_uint32()
        insns = self._c.pf_tiers_sample_code(c.byref(count))
        return c.string_at(insns, 8 * count.value)

    def shrink(self, still: Callable[[], bool]) -> None:
        """Makes the sample smaller while ``still()`` says that it is of interest."""
        call = c.CFUNCTYPE(c.c_int)(lambda: int(still()))
        self._c.pf_tiers_shrink(c.cast(call, c.c_void_p))

    def text(self, insns: bytes) -> str:
        """A listing."""
        out = c.create_string_buffer(1 << 17)
        length = self._c.pf_tiers_show(insns, len(insns) // 8, out, len(out))
        return out.raw[:length].decode()
