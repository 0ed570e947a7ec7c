"""Write real programs as plain records that the campaign can read without an ELF reader.

A record is two little-endian words (instructions, maps), ten words for each map (type, key size,
value size, entries, flags, and the same five of the inner map, 0 when there is none), and the
instructions with map numbers replaced by places in that list.  Sources: the examples, the programs
and the rule-by-rule cases of the tests.  Usage: campaign_corpus.py OUT
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.append(str(ROOT))

import verifier_corpus  # noqa: E402
from kernel import MAP_TYPES  # noqa: E402

from pktfilter.objects import MapSpec, ObjectSpec  # noqa: E402

MAX_ENTRIES = 4
"""Elements that a map has in the campaign: few, so that lookups hit and refilling is cheap."""
MAX_INSNS = 600
_INSN = struct.Struct("<BBhi")


def _examples() -> Iterator[tuple[bytes, Mapping[int, MapSpec]]]:
    for path in sorted((ROOT / "examples").glob("*.o")):
        spec = ObjectSpec.from_file(path)
        maps = list(spec.maps.values())
        for program in spec.programs.values():
            yield program.insns, {number: maps[number - 1] for number in program.map_refs}


def _words(spec: MapSpec, entries: int) -> tuple[int, int, int, int, int]:
    return MAP_TYPES.get(str(spec.type), 0), spec.key_size, spec.value_size, entries, spec.flags


def renumbered(insns: bytes, places: Mapping[int, int]) -> bytes:
    """The instructions with places in place of map numbers; maps without a place get 0."""
    out, at = bytearray(insns), 0
    while at < len(out):
        code, registers, off, imm = _INSN.unpack_from(out, at)
        if code == 0x18:
            if registers >> 4 in (1, 2):
                _INSN.pack_into(out, at, code, registers, off, places.get(imm, 0))
            at += 8
        at += 8
    return bytes(out)


def record(insns: bytes, maps: Mapping[int, MapSpec]) -> bytes:
    """One program; maps get fewer elements, except those that a program addresses directly."""
    places = {number: place for place, number in enumerate(sorted(maps))}
    out = [struct.pack("<II", len(insns) // 8, len(maps))]
    for number in sorted(maps):
        spec = maps[number]
        own = _words(spec, min(spec.max_entries, MAX_ENTRIES))
        inner = _words(spec.inner, min(spec.inner.max_entries, MAX_ENTRIES)) if spec.inner else None
        out.append(struct.pack("<10I", *own, *(inner or (0, 0, 0, 0, 0))))
    return b"".join(out) + renumbered(insns, places)


def main(path: str) -> None:
    """Write all records to ``path``."""
    programs: list[tuple[bytes, Mapping[int, MapSpec]]] = list(_examples())
    for _, insns, maps, _, needs in verifier_corpus.corpus():
        if not needs:
            programs.append((insns, maps))
    kept = [p for p in programs if 2 <= len(p[0]) // 8 <= MAX_INSNS and len(p[1]) <= 16]
    Path(path).write_bytes(b"".join(record(*p) for p in kept))
    print(f"{len(kept)} programs of {len(programs)}")


if __name__ == "__main__":
    main(sys.argv[1])
