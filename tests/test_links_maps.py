"""What becomes of a program's maps in an update: carried, converted, or left behind (docs/links.md)."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

import pktfilter as pf

PROGRAMS = Path(__file__).parent / "programs"


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def counter(m: pf.Map, action: int = 2) -> pf.Program:
    """Adds 1 to the first 8 bytes of the value at key 0, when there is one; then returns `action`."""
    code = [
        insn(0x62, 10, 0, -4, 0),  # *(u32 *)(r10 - 4) = 0
        insn(0xBF, 2, 10),
        insn(0x07, 2, imm=-4),
        insn(0x18, 1, 1, imm=7),
        insn(0),
        insn(0x85, imm=1),  # map_lookup_elem
        insn(0x15, 0, off=3),
        insn(0x79, 1, 0),
        insn(0x07, 1, imm=1),
        insn(0x7B, 0, 1),
        insn(0xB7, 0, imm=action),
        insn(0x95),
    ]
    return pf.Program.from_bytes(b"".join(code), name=f"count{action}", maps={7: m})


def counts(
    value_size: int = 8, kind: str = "hash", entries: int = 4, name: str = "counts"
) -> pf.Map:
    return pf.Map(pf.MapSpec(kind, 4, value_size, entries, name=name))


@pytest.fixture
def first() -> pf.Map:
    m = counts()
    m[0] = 10
    m[1] = 77
    return m


@pytest.fixture
def link(first: pf.Map) -> pf.Link:
    return pf.Hook().attach(counter(first))


def value(m: pf.Map, key: int = 0) -> int:
    raw = m[key]
    assert isinstance(raw, bytes)
    return int.from_bytes(raw, "little")


def only(program: pf.Program | None) -> pf.Map:
    assert program is not None
    return next(iter(program.maps.values()))


def test_carry_shares_the_map(link: pf.Link, first: pf.Map, demo: str) -> None:
    packets = pf.replay(demo, link.hook).packets
    new = counter(counts(), 1)
    update = link.update(new, maps="carry")
    assert update.new is not new
    assert (update.new.name, update.new.insns) == (new.name, new.insns)
    assert update.new.verification is not None
    assert only(link.program) is first
    assert pf.replay(demo, link.hook).actions["drop"] == packets
    assert value(first) == 10 + 2 * packets
    link.rollback()
    assert value(first) == 10 + 2 * packets  # contents are never rolled back


def test_fresh_and_none_keep_the_new_programs_own(link: pf.Link) -> None:
    for maps in ("fresh", None):
        own = counts()
        new = counter(own)
        assert link.update(new, maps=maps).new is new
        assert only(link.program) is own


def test_a_map_of_another_name_is_fresh(link: pf.Link) -> None:
    new = counter(counts(name="others"))
    assert link.update(new, maps="carry").new is new


@pytest.mark.parametrize(
    ("changed", "field", "pair"),
    [
        (counts(value_size=16), "value_size", (8, 16)),
        (counts(kind="lru_hash"), "type", ("hash", "lru_hash")),
        (counts(entries=8), "max_entries", (4, 8)),
    ],
)
def test_a_different_definition_is_refused_with_its_diff(
    link: pf.Link, changed: pf.Map, field: str, pair: tuple[object, object]
) -> None:
    before = (link.info, link.history)
    with pytest.raises(pf.MapMismatch) as caught:
        link.update(counter(changed), maps="carry")
    assert caught.value.errno == errno.EINVAL
    assert caught.value.differences == (("counts", field, *pair),)
    assert f"map 'counts': {field} {pair[0]} -> {pair[1]}" in str(caught.value)
    assert (link.info, link.history) == before


def test_checks_come_before_the_maps(link: pf.Link) -> None:
    bad = counter(counts(value_size=16))
    with pytest.raises(pf.StaleProgram):
        link.update(bad, expect=bad, maps="carry")
    with pytest.raises(pf.StaleGeneration):
        link.update(bad, expect_generation=5, maps="carry")
    link.detach()
    with pytest.raises(pf.LinkDetached):
        link.update(bad, maps="carry")


def test_migrate_converts(link: pf.Link, first: pf.Map, demo: str) -> None:
    wide = counts(value_size=16)

    def widen(key: bytes, old: bytes) -> tuple[bytes, bytes] | None:
        return None if key == struct.pack("<I", 1) else (key, old + old)

    link.update(counter(wide), maps="migrate", migrate={"counts": widen})
    assert dict(wide.items()) == {struct.pack("<I", 0): struct.pack("<QQ", 10, 10)}
    assert only(link.program) is wide
    packets = pf.replay(demo, link.hook).packets
    assert wide[0] == struct.pack("<QQ", 10 + packets, 10)
    assert value(first) == 10


def test_a_failing_conversion_changes_nothing(link: pf.Link) -> None:
    before = (link.info, link.history)

    def broken(key: bytes, old: bytes) -> tuple[bytes, bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        link.update(counter(counts(16)), maps="migrate", migrate={"counts": broken})
    with pytest.raises(pf.MapError) as caught:  # two elements into a map of one
        link.update(
            counter(counts(16, entries=1)),
            maps="migrate",
            migrate={"counts": lambda key, old: (key, old * 2)},
        )
    assert caught.value.errno == errno.E2BIG
    assert (link.info, link.history) == before


def test_catch_up_after_the_grace_period(link: pf.Link, first: pf.Map) -> None:
    """What changed in the old map between its copy and the end of the grace period."""
    wide = counts(16, entries=8)
    for key in (2, 3):
        first[key] = key
    update = link.update(
        counter(wide),
        maps="migrate",
        migrate={"counts": lambda key, old: (key, old * 2)},
        wait=False,
    )
    first[0] = 11  # changed: comes over
    del first[1]  # deleted: goes
    first[2] = 22  # changed, but the new program wrote it too: the new one's stays
    wide[2] = 222
    del first[3]  # deleted, but the new program wrote it too
    wide[3] = 333
    first[4] = 44  # new: comes over (room was made by the deletions)
    first[5] = 55  # new, but the new program made it too
    wide[5] = 555
    update.wait()
    got = {int.from_bytes(k, "little"): v for k, v in wide.items()}
    narrow = {key: struct.unpack("<QQ", v) for key, v in got.items() if isinstance(v, bytes)}
    assert narrow == {0: (11, 11), 2: (222, 0), 3: (333, 0), 4: (44, 44), 5: (555, 0)}
    first[0] = 99
    update.wait()  # once is enough
    assert wide[0] == struct.pack("<QQ", 11, 11)


def test_catch_up_with_other_keys(link: pf.Link, first: pf.Map) -> None:
    wide = counts(16)

    def by_value(key: bytes, old: bytes) -> tuple[int, bytes]:
        return int.from_bytes(old, "little") % 100, old * 2

    update = link.update(counter(wide), maps="migrate", migrate={"counts": by_value}, wait=False)
    first[0] = 12  # moves from key 10 to key 12
    update.wait()
    assert sorted(int.from_bytes(k, "little") for k in wide) == [12, 77]


def test_migrating_arrays(demo: str) -> None:
    old, new = counts(kind="array", entries=2), counts(16, "array", 2)
    old[1] = 5
    link = pf.Hook().attach(counter(old))
    update = link.update(
        counter(new),
        maps="migrate",
        migrate={"counts": lambda key, value: (key, value + bytes(8))},
        wait=False,
    )
    old[1] = 6
    update.wait()
    assert [new[0], new[1]] == [bytes(16), struct.pack("<QQ", 6, 0)]


@pytest.mark.parametrize(
    "options",
    [
        {"maps": "keep"},
        {"maps": "migrate"},
        {"maps": "carry", "migrate": {"counts": lambda key, old: (key, old)}},
        {"maps": "migrate", "migrate": {"nothing": lambda key, old: (key, old)}},
        {"maps": "carry", "program": "count2"},
    ],
)
def test_options_that_do_not_go_together(link: pf.Link, options: dict[str, object]) -> None:
    with pytest.raises(pf.InputError):
        link.update(counter(counts()), **options)  # type: ignore[arg-type]
    assert link.generation == 1


def test_an_object_carries_state_and_not_constants() -> None:
    spec = pf.ObjectSpec.from_file(PROGRAMS / "port_knock.o")
    obj = spec.load()
    link = pf.Hook().attach(obj.program())
    obj.maps["visitors"][5] = bytes(16)
    update = link.update(pf.ObjectSpec.from_file(PROGRAMS / "port_knock.o"), maps="carry")
    maps = {m.name: m for m in update.new.maps.values()}
    assert maps["visitors"] is obj.maps["visitors"]
    assert maps[".rodata"] is not obj.maps[".rodata"]
    edited = pf.ObjectSpec.from_file(PROGRAMS / "port_knock.o")
    edited.maps["visitors"].max_entries = 10
    with pytest.raises(pf.MapMismatch, match="max_entries 4096 -> 10"):
        link.update(edited, maps="carry")
    fresh = link.update(edited, maps="fresh").new
    assert {m.name: m.max_entries for m in fresh.maps.values()}["visitors"] == 10


def test_an_object_of_tail_calls_carries_what_its_stages_hold() -> None:
    spec = pf.ObjectSpec.from_file(PROGRAMS / "tail_stages.o")
    obj = spec.load()
    link = pf.Hook().attach(obj.programs["stage_link"])
    obj.maps["refused"][7] = b"\x01"
    with pytest.raises(pf.InputError, match="stage_network"):
        link.update(pf.ObjectSpec.from_file(PROGRAMS / "tail_stages.o"), program="nope")
    new = link.update(pf.ObjectSpec.from_file(PROGRAMS / "tail_stages.o"), maps="carry").new
    assert new.name == "stage_link"
    stages = {m.name: m for m in new.maps.values()}["stages"]
    assert stages is not obj.maps["stages"]  # tail calls are part of the program
    targets = [program for program in stages.values() if isinstance(program, pf.Program)]
    carried = {m.name: m for program in targets for m in program.maps.values()}
    assert carried["refused"] is obj.maps["refused"]


def test_carry_within_a_transaction(link: pf.Link, first: pf.Map) -> None:
    with pf.transaction():
        link.update(counter(counts(), 1), maps="carry")
        link.update(counter(counts(), 0), maps="carry")  # from the one before it
    assert only(link.program) is first
    wide = counts(16)
    with pf.transaction(wait=False) as transaction:
        link.update(
            counter(wide), maps="migrate", migrate={"counts": lambda key, old: (key, old * 2)}
        )
    first[0] = 12
    transaction.wait()
    assert wide[0] == struct.pack("<QQ", 12, 12)


def test_carry_is_from_the_program_that_is_replaced(link: pf.Link) -> None:
    other = counter(counts(), 3)
    with pytest.raises(pf.StaleProgram), pf.transaction():
        link.update(counter(counts(), 1), maps="carry")
        _elsewhere(link, other)
    assert link.program is other


def _elsewhere(link: pf.Link, program: pf.Program) -> None:
    import threading

    thread = threading.Thread(target=link.update, args=(program,))
    thread.start()
    thread.join()


def test_carry_is_from_the_expected_program(link: pf.Link, first: pf.Map) -> None:
    current = link.program
    update = link.update(counter(counts(), 1), expect=current, maps="carry")
    assert only(update.new) is first
    with pytest.raises(pf.StaleProgram):
        link.update(counter(counts(), 0), expect=current, maps="carry")


def test_load_uses_given_maps() -> None:
    spec = pf.ObjectSpec.from_file(PROGRAMS / "port_knock.o")
    visitors = pf.Map(spec.maps["visitors"])
    assert pf.load(spec, maps={"visitors": visitors}).maps["visitors"] is visitors
    with pytest.raises(pf.InputError, match="no map named 'x'"):
        pf.load(spec, maps={"x": visitors})
    with pytest.raises(pf.MapMismatch):
        pf.load(spec, maps={"visitors": counts()})
