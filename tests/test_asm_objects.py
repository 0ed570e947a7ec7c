"""Objects from assembly: what is read back, and the circle from object to listing to object."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commandline import DEMO, EXAMPLES, ROOT, run
from kernel import requires_kernel

import pktfilter as pf
from pktfilter.assembler import assemble, write_object
from pktfilter.disasm import disassemble
from pktfilter.errors import AssemblerError, OutputError
from pktfilter.objects.map_spec import MapSpec
from pktfilter.objects.spec import ObjectSpec

OBJECTS = [*sorted(EXAMPLES.glob("*.o")), *sorted((ROOT / "tests" / "programs").glob("*.o"))]
#: A lock in global data has no directive: the map is left out, and writing says so.
LOCKED_DATA = ("spin_sweep",)
BPF_FS = Path("/sys/fs/bpf")
ATTRIBUTES = (
    "name", "type", "key_size", "value_size", "max_entries", "flags", "data", "frozen", "values",
    "pinning", "map_extra", "numa_node", "lock",
)  # fmt: skip
SOURCE = """\
.license GPL
.map conns lru_hash 4 8 1024
.map cfg array 4 16 1 0x80
.program fw
        r1 = map[conns]
        r2 = r10
        call helper
        if w0 s> -1 goto out
        r1 = map[cfg]
out:
        r0 = 2
        exit
helper: r2 = subprog[helper]
        r0 = 0x1122334455667788 ll
        exit
.section xdp.frags
.program second
        r0 = 1
        exit
"""
EVERYTHING = """\
.map words hash 4 8 16 0x1 numa=2 pinning=1
.map seen bloom_filter 0 8 16 0x0 extra=5
.data .rodata 20
.map apart array_of_maps 4 4 4 inner array 4 8 2 0x400
.map filled hash_of_maps 2 4 4 numa=3 inner lpm_trie 8 4 9 0x1 numa=1
.map first array 4 8 2 0x400
.data .bss 9
.map jumps prog_array 4 4 8
.data .data.hot 5
.bytes .rodata 1 010203 04           # grouped at will
.bytes .rodata 18 ff
.bytes .data.hot 4 2a
.slot apart 3 first
.slot apart 0 first
.slot jumps 7 other
.slot jumps 2 one
.section xdp/a
.program one
    r1 = map[.rodata][0]+19
    r2 = map[.bss][0]+8
    r3 = map[.data.hot][0]+4
    r4 = map[jumps]
    r5 = map[apart]
    call same
    call differs
    call other
    r0 = 2
    exit
same: r0 = subprog[differs]
    exit
differs: r0 = 1
    exit
other: r0 = 9
    exit
.section xdp.frags/b
.program other
    call same
    r0 = 2
    exit
same: r0 = subprog[differs]
    exit
differs: r0 = %s
    exit
"""


def plain(spec: MapSpec) -> dict[str, Any]:
    """What a definition says, without where it stood."""
    values = {name: getattr(spec, name) for name in ATTRIBUTES}
    return values | {"inner": plain(spec.inner) if spec.inner else None}


def circle(spec: ObjectSpec, path: Path) -> ObjectSpec:
    """The object made of the listing of all programs."""
    write_object(assemble(disassemble(list(spec.programs.values()), maps=spec.maps), "t.s"), path)
    return ObjectSpec.from_file(path)


def assert_same(spec: ObjectSpec, back: ObjectSpec) -> None:
    assert back.license == spec.license
    assert [plain(m) for m in back.maps.values()] == [plain(m) for m in spec.maps.values()]
    assert list(back.programs) == list(spec.programs)
    for name, program in spec.programs.items():
        again = back.programs[name]
        for attribute in ("section", "insns", "license", "frags", "attach", "map_refs", "helpers"):
            assert getattr(again, attribute) == getattr(program, attribute), attribute
        names = [(info.insn, info.name) for info in program.functions]
        assert [(info.insn, info.name) for info in again.functions] == names


def replayed(spec: ObjectSpec, name: str, path: Path) -> tuple[Any, bytes, dict[str, Any]]:
    """Actions, the packets that left, and what the maps hold then."""
    obj = pf.load(spec, cpus=2)
    hook = pf.Hook()
    hook.attach(obj.programs[name])
    done = pf.replay(DEMO, hook, write=path, seed=5)
    held = {
        map_name: sorted(made.items())
        for map_name, made in obj.maps.items()
        if "prog" not in made.type and "_of_maps" not in made.type
    }
    return done.actions, path.read_bytes(), held


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: str(path.stem))
def test_objects_come_full_circle(path: Path, tmp_path: Path) -> None:
    spec = ObjectSpec.from_file(path)
    if path.stem in LOCKED_DATA:
        with pytest.raises(AssemblerError, match=r"\.bss|map 1"):
            circle(spec, tmp_path / "back.o")
        return
    back = circle(spec, tmp_path / "back.o")
    assert spec.programs
    assert_same(spec, back)
    for name in spec.programs:
        want = replayed(spec, name, tmp_path / "want.pcap")
        assert replayed(back, name, tmp_path / "have.pcap") == want


def test_everything_a_listing_can_say(tmp_path: Path) -> None:
    for value in (1, 3):
        first = assemble(EVERYTHING % value, "e.s")
        maps = first[0].maps
        assert maps[".rodata"].data == bytes((0, 1, 2, 3, 4)) + bytes(13) + b"\xff\0"
        assert maps[".rodata"].frozen and maps[".rodata"].readonly_prog
        assert maps[".bss"].data is None
        assert maps[".data.hot"].data == b"\0\0\0\0*"
        assert (maps["words"].numa_node, maps["words"].pinning) == (2, 1)
        assert maps["seen"].map_extra == 5
        assert maps["apart"].values == {0: "first", 3: "first"}
        inner = maps["filled"].inner
        assert inner is not None
        assert (inner.type, inner.max_entries, inner.numa_node) == ("lpm_trie", 9, 1)
        text = disassemble(first, maps=maps)
        second = assemble(text, "e.s")
        assert second[0].maps == maps
        assert [p.insns for p in second] == [p.insns for p in first]
        write_object(first, tmp_path / "e.o")
        spec = ObjectSpec.from_file(tmp_path / "e.o")
        assert {name: plain(m) for name, m in spec.maps.items()} == {
            name: plain(m) for name, m in maps.items()
        }
        one, other = spec.programs["one"], spec.programs["other"]
        # Equal subprograms of two programs are one function; others are named apart.
        assert [f.name for f in one.functions] == ["one", "same", "differs", "one.other"]
        prefix = "" if value == 1 else "other."
        assert [f.name for f in other.functions] == ["other", f"{prefix}same", f"{prefix}differs"]
        assert other.insns == first[1].insns
        # Maps of `.maps` are together in an object, so numbers may be others; the names are not.
        assert sorted(one.map_refs.values()) == sorted(first[0].map_refs.values())


def test_data_of_assembly_is_that_of_its_object(tmp_path: Path) -> None:
    text = """
.data .rodata 8
.bytes .rodata 4 03
.data .data 8
.section xdp
r1 = map[.rodata][0]+4
r0 = *(u8 *)(r1 +0)
r2 = map[.data][0]+0
r3 = 1
lock *(u64 *)(r2 +0) += r3
exit
"""
    path = tmp_path / "d.s"
    path.write_text(text)
    run("asm", path, "-o", tmp_path / "d.o")
    want = {"aborted": 0, "drop": 0, "pass": 0, "tx": 2000, "redirect": 0}
    for prog in (path, tmp_path / "d.o"):
        actions = run("replay", prog, DEMO, "--json").json["actions"]
        assert {name: actions.get(name, 0) for name in want} == want
    obj = pf.load(tmp_path / "d.o")
    assert obj.maps[".rodata"].lookup(0) == bytes((0, 0, 0, 0, 3, 0, 0, 0))


def test_all_programs_of_an_object(tmp_path: Path) -> None:
    path = ROOT / "tests" / "programs" / "tail_stages.o"
    spec = ObjectSpec.from_file(path)
    (tmp_path / "all.s").write_text(run("disasm", "--all", path).text)
    run("asm", tmp_path / "all.s", "-o", tmp_path / "all.o")
    assert_same(spec, ObjectSpec.from_file(tmp_path / "all.o"))
    name = next(iter(spec.programs))
    alone = run("disasm", "--all", f"{path}:{name}").text
    assert alone == run("disasm", f"{path}:{name}").text
    assert alone.count(".program ") == 1
    assert "; slot 1 of stages: stage_network" not in alone  # it is this listing's program
    assert "; slot 2 of stages: stage_transport, which is not part of this listing" in alone
    assert ".slot" in alone
    assert assemble(alone, "a.s")[0].maps["stages"].values == {1: name}


def test_maps_that_directives_cannot_say() -> None:
    (program,) = assemble(".map a array 4 8 1\n.map b array 4 8 1\nr1 = map[b]\nexit", "m.s")
    hostile = {"x\nexit": MapSpec("array", 4, 8, 1, name="x\nexit"), "b": program.maps["b"]}
    text = disassemble(program, maps=hostile)
    assert ".extern b 2" in text
    assert assemble(text, "m.s")[0].insns == program.insns
    for change in ({"frozen": True}, {"data": bytes(8)}, {"type": "made_up"}):
        odd = MapSpec(
            **{"type": "array", "key_size": 4, "value_size": 8, "max_entries": 1, **change}
        )
        odd.name = "a"
        text = disassemble(program, maps={"a": odd, "b": program.maps["b"]})
        assert ".extern a 1\n.map b " in text
        assert assemble(text, "m.s")[0].insns == program.insns


def test_objects_are_read_back(tmp_path: Path) -> None:
    programs = assemble(SOURCE, "f.s")
    path = tmp_path / "f.o"
    write_object(programs, path)
    spec = ObjectSpec.from_file(path)
    assert list(spec.programs) == ["fw", "second"]
    assert spec.license == "GPL"
    for program in programs:
        back = spec.programs[program.name]
        assert (back.insns, back.map_refs) == (program.insns, program.map_refs)
        assert [f.name for f in back.functions] == [f.name for f in program.functions]
        assert back.frags == (program.section == "xdp.frags")
    for name, definition in programs[0].maps.items():
        back_map = spec.maps[name]
        assert (back_map.type, back_map.key_size, back_map.value_size) == (
            definition.type,
            definition.key_size,
            definition.value_size,
        )
        assert (back_map.max_entries, back_map.flags) == (definition.max_entries, definition.flags)


def test_objects_are_read_by_llvm(tmp_path: Path) -> None:
    tool = shutil.which("llvm-objdump-14") or shutil.which("llvm-objdump")
    if tool is None:
        pytest.skip("llvm-objdump is not installed")
    write_object(assemble(SOURCE, "f.s"), tmp_path / "f.o")
    shown = subprocess.run(
        [tool, "-d", "-r", str(tmp_path / "f.o")], capture_output=True, text=True, check=True
    )
    assert not shown.stderr
    assert "<fw>:" in shown.stdout
    assert "<helper>:" in shown.stdout
    assert "R_BPF_64_64\tconns" in shown.stdout
    assert "R_BPF_64_32\thelper" in shown.stdout
    assert "goto +2" in shown.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r1 = map[fd:7]\nexit", "map '7' has no .map or .data definition"),
        (".extern m 1\nr1 = map[m]\nexit", "map 'm' has no .map or .data definition"),
        (".map m array 4 8 1\nr1 = map[m][0]+0\nexit", "no relocation for the address of a value"),
        ("r1 = btf_var[1]@0\nexit", "no relocation for this load"),
        (".data .data 8\nr1 = map[.data]\nexit", "only addresses in it"),
        (".data .data 8\nr1 = map[.data][0]+8\nexit", "byte 8 is outside '.data', which has 8"),
        ("call kernel-function#5\nexit", "kernel functions need BTF"),
        ("call f\nexit\nf: goto pc-2", "jump out of function 'f'"),
        ("call f\nr1 = 1\nf: exit", "control runs past the end"),
        (".map p array 4 8 1\n.program p\nr1 = map[p]\nexit", "share a name"),
    ],
)
def test_what_objects_cannot_say(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AssemblerError, match=message):
        write_object(assemble(text, "x.s"), tmp_path / "x.o")
    assert not (tmp_path / "x.o").exists()


def test_object_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_object(assemble("exit", "x.s"), tmp_path / "none" / "x.o")


@requires_kernel()
@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: str(path.stem))
def test_libbpf_loads_what_is_written(path: Path, tmp_path: Path) -> None:
    """Through bpftool, as a user would; the kernel's verifier accepts what it accepted before."""
    tool = shutil.which("bpftool")
    if tool is None:
        pytest.skip("bpftool is not installed")
    if not BPF_FS.is_dir() or not any(
        line.split()[1:3] == [str(BPF_FS), "bpf"]
        for line in Path("/proc/mounts").read_text().splitlines()
    ):
        pytest.skip("the BPF file system is not mounted")
    if path.stem in LOCKED_DATA:
        pytest.skip("the object has a lock in global data, which no directive defines")
    circle(ObjectSpec.from_file(path), tmp_path / "back.o")
    pins = BPF_FS / f"pktfilter-{os.getpid()}"
    try:
        done = subprocess.run(
            [tool, "prog", "loadall", str(tmp_path / "back.o"), str(pins), "type", "xdp"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(pin.name for pin in pins.iterdir()) == sorted(
            ObjectSpec.from_file(path).programs
        )
    finally:
        shutil.rmtree(pins, ignore_errors=True)
