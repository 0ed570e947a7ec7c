"""Object files: sections, maps, linking, refusals, damage, and the kernel as a judge of links."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import pickle
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from pktfilter import errors
from pktfilter.errors import InputError, ObjectError
from pktfilter.objects import MapSpec, ObjectSpec, ProgramSpec, set_loader
from pktfilter.objects import spec as spec_module
from pktfilter.objects.insns import ld_imm64s, walk
from pktfilter.objects.inspect import describe
from pktfilter.objects.kinds import map_type_by_name
from pktfilter.objects.parse import classify

FIXTURES = Path(__file__).parent / "objects"
EXAMPLES = Path(__file__).parent.parent / "examples"
ALL_FIXTURES = sorted(path.name for path in FIXTURES.glob("*.o"))
SMALL_PACKET = bytes(64)


def fixture(name: str) -> ObjectSpec:
    return ObjectSpec.from_file(FIXTURES / name)


def refusal(data: bytes) -> str:
    with pytest.raises(ObjectError) as caught:
        ObjectSpec.from_bytes(data, name="x.o").check_supported()
    return str(caught.value)


# --- sections and programs


def test_programs_sections_and_license() -> None:
    spec = fixture("subprogs.o")
    assert list(spec.programs) == ["all_kinds", "only_scale", "plain"]
    assert [p.section for p in spec.programs.values()] == ["xdp", "xdp", "xdp/plain"]
    assert spec.license == "GPL"
    assert all(p.license == "GPL" and p.type == "xdp" for p in spec.programs.values())
    assert spec.programs["plain"].insns == bytes.fromhex("b400000002000000 9500000000000000")
    assert spec.skipped == []
    # 56 of its own, then add_step 7, add_twice 9, outer 18 and scale 11 (llvm-objdump's counts).
    assert spec.programs["all_kinds"].insn_count == 56 + 7 + 9 + 18 + 11
    assert spec.programs["only_scale"].insn_count == 5 + 11


def test_section_names_decide_the_use() -> None:
    spec = fixture("sections.o")
    uses = {name: (p.frags, p.attach) for name, p in spec.programs.items()}
    assert uses == {
        "whole": (True, ""),
        "named": (True, ""),
        "to_device": (False, "devmap"),
        "to_cpu": (True, "cpumap"),
        "old_name": (False, ""),
        "own": (False, ""),
    }
    reasons = {item.name: item.reason for item in spec.skipped}
    assert set(reasons) == {"classifier", "old_program", "optional", "never_called"}
    assert "'tc'" in reasons["classifier"] and "'?'" in reasons["optional"]
    assert "static" in reasons["never_called"]
    assert spec.version == 0x060C00


@pytest.mark.parametrize(
    ("section", "frags", "attach"),
    [
        ("xdp", False, ""),
        ("xdp/devmap", False, "devmap"),
        ("xdp.frags/cpumap", True, "cpumap"),
        ("xdp_devmap/egress", False, "devmap"),
        ("xdp_devmap", False, ""),
        ("xdp_prog1", False, ""),
        ("xdp/firewall", False, ""),
    ],
)
def test_classify(section: str, frags: bool, attach: str) -> None:
    use = classify(section)
    assert (use.frags, use.attach, use.reason) == (frags, attach, "")


@pytest.mark.parametrize("section", ["prog", "tc", "?xdp", "socket", "maps"])
def test_other_sections_have_a_reason(section: str) -> None:
    assert classify(section).reason


# --- linking


def calls_of(program: ProgramSpec) -> dict[int, str]:
    """Instruction index to the name of the function that it calls or takes the address of."""
    starts = {info.insn: info.name for info in program.functions}
    found = {}
    for index, opcode, src, imm in walk(program.insns):
        if (opcode == 0x85 and src == 1) or (opcode == 0x18 and src == 4):
            found[index] = starts[index + 1 + imm]
    return found


def test_calls_and_callbacks_reach_their_functions() -> None:
    spec = fixture("subprogs.o")
    program = spec.programs["all_kinds"]
    assert [info.name for info in program.functions] == [
        "all_kinds",
        "add_step",
        "add_twice",
        "outer",
        "scale",
    ]
    outer = program.functions[3].insn
    # Instructions 11 and 17 load callbacks, 40 calls a static function, outer's 12th a global one.
    assert calls_of(program) == {
        11: "add_step",
        17: "add_twice",
        40: "outer",
        outer + 11: "scale",
    }
    assert calls_of(spec.programs["only_scale"]) == {3: "scale"}
    assert program.helpers == [1, 2, 181]


def test_call_within_a_program_section_has_no_relocation() -> None:
    program = fixture("sections.o").programs["own"]
    assert [info.name for info in program.functions] == ["own", "helper_of_own"]
    assert list(calls_of(program).values()) == ["helper_of_own"]


def test_map_and_data_references_carry_numbers_and_offsets() -> None:
    spec = fixture("subprogs.o")
    program = spec.programs["all_kinds"]
    fds = spec.map_fds
    assert fds == {name: number for number, name in enumerate(spec.maps, 1)}
    assert program.map_refs == {fds[n]: n for n in (".rodata", ".data", "seen", ".bss")}
    references = []
    for index, src, fd in ld_imm64s(program.insns):
        if src in (1, 2):
            (offset,) = struct.unpack_from("<I", program.insns, index * 8 + 12)
            references.append((index, src, program.map_refs[fd], offset))
    main = [row for row in references if row[0] < 56]
    # The offsets of llvm-readelf's symbols: bss_second, being static, is section plus 8.
    assert main == [
        (24, 1, "seen", 0),
        (36, 1, "seen", 0),
        (43, 2, ".rodata", 0),
        (47, 2, ".bss", 0),
        (51, 2, ".bss", 8),
    ]
    outer = program.functions[3].insn
    scale = program.functions[4].insn
    assert [row for row in references if row[0] >= 56] == [
        (outer, 2, ".bss", 0),
        (outer + 5, 2, ".bss", 8),
        (outer + 12, 2, ".data", 4),
        (scale, 2, ".data", 0),
        (scale + 5, 2, ".rodata", 4),
    ]


def test_line_info_follows_subprograms() -> None:
    program = fixture("subprogs.o").programs["all_kinds"]
    source = (FIXTURES / "subprogs.c").read_text().splitlines()
    assert len(program.lines) > 30
    for line in program.lines:
        assert line.file == "./subprogs.c"
        assert line.source == source[line.line - 1]
    assert [line.insn for line in program.lines] == sorted({line.insn for line in program.lines})
    call = next(line for line in program.lines if line.insn == 40)
    assert "return outer(5)" in call.source
    assert call.column == 9
    scale = program.functions[4]
    assert program.function_at(scale.insn - 1) == "outer"
    assert program.function_at(scale.insn) == program.function_at(len(program.insns)) == "scale"
    assert next(line for line in program.lines if line.insn == scale.insn).line > 40


# --- maps


def test_btf_maps() -> None:
    maps = fixture("maps.o").maps
    flows, totals, blocked = maps["flows"], maps["totals"], maps["blocked"]
    assert (flows.type, flows.key_size, flows.value_size, flows.max_entries) == (
        "lru_hash",
        12,
        8,
        1024,
    )
    assert (totals.type, totals.value_size) == ("percpu_array", 16)
    assert (blocked.type, blocked.flags, blocked.pinning) == ("lpm_trie", 1, 1)
    assert (totals.key_btf, totals.value_btf) == (0, 0) and flows.key_btf and flows.value_btf
    outer = maps["outer"]
    assert outer.values == {1: "inner_a", 3: "inner_b"}
    assert outer.inner is not None
    assert (outer.inner.type, outer.inner.max_entries) == ("array", 3)
    hashed = maps["outer_hash"]
    assert hashed.inner is not None
    assert (hashed.key_size, hashed.value_size, hashed.inner.value_size) == (2, 4, 12)
    assert maps["jumps"].values == {2: "on_pass", 5: "on_drop"}
    assert (maps["jumps"].key_size, maps["jumps"].value_size) == (4, 4)


def test_data_maps() -> None:
    maps = fixture("subprogs.o").maps
    rodata, data, bss = maps[".rodata"], maps[".data"], maps[".bss"]
    assert rodata.data == struct.pack("<I4B", 60, 1, 2, 3, 4)
    assert rodata.frozen and rodata.readonly_prog
    assert data.data == struct.pack("<2I", 7, 0x01020304)
    assert not data.frozen and not data.readonly_prog
    assert bss.data is None and bss.value_size == 16
    for spec in (rodata, data, bss):
        assert (spec.type, spec.key_size, spec.max_entries) == ("array", 4, 1)


@pytest.mark.parametrize("form", [20, 24, 28, 36])
def test_legacy_maps(form: int) -> None:
    spec = fixture(f"legacy{form}.o")
    assert list(spec.maps) == ["counts", "inner", "outer"]
    counts, inner, outer = spec.maps.values()
    assert (counts.type, counts.key_size, counts.value_size, counts.max_entries) == (
        "hash",
        4,
        8,
        32,
    )
    assert spec.programs["count"].map_refs == {1: "counts", 3: "outer"}
    if form == 20:
        assert outer.type == "percpu_hash" and outer.inner is None
        return
    assert outer.type == "array_of_maps" and outer.inner is not None
    assert (outer.inner.type, outer.inner.max_entries) == (inner.type, 2)
    if form == 28:
        assert (counts.flags, counts.pinning, inner.pinning) == (4, 0, 2)
    if form == 36:
        assert counts.pinning == 2 and outer.values == {1: "inner"}


def test_specs_are_editable_and_loaded_through_the_registered_loader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spec_module, "_loaders", [])
    spec = fixture("maps.o")
    with pytest.raises(RuntimeError):
        spec.load()

    def loader(given: ObjectSpec, **options: Any) -> Any:
        return given.maps["flows"].max_entries, options

    set_loader(loader)
    spec.maps["flows"].max_entries = 7
    assert spec.load(cpus=2) == (7, {"cpus": 2})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "no_such_type"}, "map type is not supported"),
        ({"max_entries": 0}, "max_entries is missing"),
        ({"key_size": -1}, "key_size is out of range"),
        ({"value_size": 1 << 32}, "value_size is out of range"),
        ({"type": "array", "key_size": 8}, "key_size is wrong"),
        ({"type": "prog_array", "value_size": 8}, "value_size is wrong"),
        ({"type": "lpm_trie", "key_size": 4, "flags": 1}, "key_size is wrong"),
        ({"type": "lpm_trie", "key_size": 8, "flags": 0}, "BPF_F_NO_PREALLOC"),
        ({"type": "array_of_maps", "value_size": 4}, "no inner map"),
        ({"inner": MapSpec("array", 4, 4, 1)}, "an inner map"),
        ({"data": b"12345"}, "does not fill"),
        ({"values": {100: "p"}}, "slot 100"),
    ],
)
def test_map_spec_validation(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"type": "hash", "key_size": 4, "value_size": 8, "max_entries": 100}
    MapSpec(**fields).validate()
    with pytest.raises(InputError) as caught:
        MapSpec(**(fields | changes)).validate()
    assert words in str(caught.value)


# --- refusals


def test_missing_and_large_files(tmp_path: Path) -> None:
    with pytest.raises(ObjectError, match=r"missing\.o: object cannot be read: No such file"):
        ObjectSpec.from_file(tmp_path / "missing.o")
    with pytest.raises(ObjectError, match="cannot be read"):
        ObjectSpec.from_file(tmp_path)
    large = tmp_path / "large.o"
    with large.open("wb") as stream:
        stream.truncate(spec_module.FILE_LIMIT + 1)
    with pytest.raises(ObjectError, match="too large for a BPF object"):
        ObjectSpec.from_file(large)


def test_header_refusals() -> None:
    good = (FIXTURES / "maps.o").read_bytes()
    assert "found an empty file" in refusal(b"")
    assert "not an ELF object" in refusal(b"not an object at all" * 10)
    assert "damaged" in refusal(good[:20])
    assert "32 bits" in refusal(good[:4] + b"\x01" + good[5:])
    assert "big endian" in refusal(good[:5] + b"\x02" + good[6:])
    assert "EM_BPF" in refusal(good[:18] + struct.pack("<H", 62) + good[20:])
    assert "ET_REL" in refusal(good[:16] + struct.pack("<H", 2) + good[18:])


def test_undefined_symbol_is_named_with_its_instruction() -> None:
    text = refusal((FIXTURES / "extern.o").read_bytes())
    assert "section 'xdp', symbol 'main_program', instruction 1" in text
    assert "somewhere_else" in text


def test_core_relocation_is_named_but_inspectable() -> None:
    spec = fixture("core.o")
    assert describe(spec)["programs"][0]["core_relocations"] == 1


def test_unsupported_helper_is_named() -> None:
    spec = fixture("core.o")
    spec.programs["with_core"].core_relos.clear()
    with pytest.raises(ObjectError, match=r"instruction 0: .*get_current_task \(35\)"):
        spec.check_supported()


def test_unsupported_map_type_is_named() -> None:
    spec = fixture("maps.o")
    spec.check_supported()
    spec.maps["flows"].type = "struct_ops"
    with pytest.raises(ObjectError, match=r"symbol 'flows': .*struct_ops"):
        spec.check_supported()
    spec = fixture("maps.o")
    with pytest.raises(ObjectError, match=r"found nothing, expected on_pass, on_drop"):
        spec.check_supported("nothing")


def sections_of(data: bytes | bytearray) -> dict[str, tuple[int, int, int]]:
    """Name to (position of the header, offset, size), read independently of the package."""
    elf = ELFFile(io.BytesIO(bytes(data)))
    start, size = elf.header["e_shoff"], elf.header["e_shentsize"]
    return {
        section.name: (start + n * size, section["sh_offset"], section["sh_size"])
        for n, section in enumerate(elf.iter_sections())
    }


def changed(name: str, change: Callable[[bytearray, dict[str, tuple[int, int, int]]], None]) -> str:
    data = bytearray((FIXTURES / name).read_bytes())
    change(data, sections_of(data))
    return refusal(bytes(data))


def test_unknown_relocation_is_named() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<I", data, sections[".relxdp"][1] + 8, 99)

    text = changed("subprogs.o", change)
    assert "type 99" in text and "instruction 11" in text and "section 'xdp'" in text


def test_relocation_inside_a_wide_instruction() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<Q", data, sections[".relxdp"][1], 12 * 8)

    assert "wide instruction" in changed("subprogs.o", change)


def test_call_into_the_middle_of_a_function() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<i", data, sections["xdp"][1] + 40 * 8 + 4, 27)

    text = changed("subprogs.o", change)
    assert "instruction 40" in text and "not to the start of a function" in text


def test_data_offset_outside_the_section() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<i", data, sections["xdp"][1] + 51 * 8 + 4, 16)

    text = changed("subprogs.o", change)
    assert "instruction 51" in text and "section '.bss' offset 16" in text


def test_map_reference_without_relocation() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        start = sections["xdp"][1]
        data[start + 24 * 8 + 1] |= 0x10  # src 1: a map number that nobody gave
        struct.pack_into("<Q", data, sections[".relxdp"][1] + 2 * 16, 43 * 8)

    assert "not at an instruction of its own" in changed("subprogs.o", change)


def test_lying_sizes_do_not_allocate() -> None:
    def bss(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<Q", data, sections[".bss"][0] + 32, 1 << 62)

    def text(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<Q", data, sections[".text"][0] + 32, 1 << 62)

    def count(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        struct.pack_into("<H", data, 60, 0xFEFF)

    assert "section '.bss': section is too large" in changed("subprogs.o", bss)
    assert "section '.text': section lies outside the file" in changed("subprogs.o", text)
    assert "too many sections" in changed("subprogs.o", count)


def test_maps_without_btf() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        start = data.index(b".BTF\0", sections[".strtab"][1])
        data[start : start + 4] = b".XYZ"

    text = changed("maps.o", change)
    assert "section '.maps'" in text and "clang -g" in text


def test_pointer_in_initialised_data() -> None:
    def change(data: bytearray, sections: dict[str, tuple[int, int, int]]) -> None:
        # Let the relocations of .text apply to .data, its number being 8.
        struct.pack_into("<I", data, sections[".rel.text"][0] + 44, 8)

    assert "pointers in initialised data" in changed("subprogs.o", change)


# --- damage


def test_truncation_anywhere() -> None:
    for name in ALL_FIXTURES:
        data = (FIXTURES / name).read_bytes()
        for length in range(0, len(data), max(1, len(data) // 100)):
            with pytest.raises(ObjectError):
                ObjectSpec.from_bytes(data[:length], name="cut.o")


@pytest.mark.parametrize("name", ALL_FIXTURES)
def test_mutations_end_in_a_spec_or_an_object_error(name: str) -> None:
    """600 damaged copies each: single bytes, words of extremes, swapped ranges, zeroed ranges."""
    good = (FIXTURES / name).read_bytes()
    generator = random.Random(f"objects:{name}")
    extremes = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8)
    outcomes = {"spec": 0, "error": 0}
    slowest = 0.0
    for number in range(600):
        data = bytearray(good)
        for _ in range(generator.choice((1, 1, 2, 8))):
            # Half of the damage goes to the tables at the end, where the structure is.
            low = 0 if generator.random() < 0.5 else len(data) // 2
            at = generator.randrange(low, len(data) - 8)
            if number % 3 == 0:
                data[at] = generator.randrange(256)
            elif number % 3 == 1:
                struct.pack_into("<I", data, at & ~3, generator.choice(extremes))
            else:
                length = generator.randrange(1, 64)
                data[at : at + length] = bytes(len(data[at : at + length]))
        began = time.perf_counter()
        try:
            spec = ObjectSpec.from_bytes(bytes(data), name="damaged.o")
            describe(spec)
            spec.check_supported()
            outcomes["spec"] += 1
        except ObjectError as error:
            assert str(error).startswith("damaged.o: ")
            outcomes["error"] += 1
        slowest = max(slowest, time.perf_counter() - began)
    assert outcomes["error"] > 50
    assert slowest < 2.0


# --- inspect, errors


def test_describe_is_plain_data() -> None:
    for name in ALL_FIXTURES:
        if name != "extern.o":
            assert json.loads(json.dumps(describe(fixture(name))))["license"]
    flows = next(m for m in describe(fixture("maps.o"))["maps"] if m["name"] == "flows")
    assert (flows["key_type"], flows["value_type"]) == ("struct flow", "counter")
    program = describe(fixture("subprogs.o"))["programs"][0]
    assert program["subprograms"] == ["add_step", "add_twice", "outer", "scale"]
    assert program["helpers"] == ["map_lookup_elem", "map_update_elem", "loop"]


@pytest.mark.parametrize(
    ("error", "number", "text"),
    [
        (errors.MapError("no such key", errno=errno.ENOENT), errno.ENOENT, "no such key"),
        (errors.LinkDetached("the link is detached"), errno.ENOLINK, "the link is detached"),
        (errors.StaleProgram("x"), errno.EPERM, "x"),
        (errors.StaleGeneration("x"), errno.ESTALE, "x"),
        (errors.IncompatibleProgram("x", field="type"), errno.EINVAL, "x"),
        (errors.GraceTimeout("x"), errno.ETIMEDOUT, "x"),
        (errors.WouldDeadlock("x"), errno.EDEADLK, "x"),
        (errors.CaptureError("cut", file="a", offset=9, expected="b"), None, "a: offset 9: cut"),
        (errors.AssemblerError("no", line=3, column=4, found="'x'"), None, "line 3:4: no, found"),
        (errors.ExecutionFault("bad load", insn=5, kind="bounds"), None, "instruction 5: bad"),
        (errors.VerifierError("refused", diagnostics=[1], log="l", hint="do"), None, "refused; do"),
    ],
)
def test_errors_render_keep_errno_and_cross_processes(
    error: errors.PktfilterError, number: int | None, text: str
) -> None:
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert str(one).startswith(text)
        assert getattr(one, "errno", None) == number
        assert isinstance(one, OSError) == (number is not None)
    assert vars(again) == vars(error)


# --- the kernel as judge


def kernel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kernel_bpf", FIXTURES / "kernel_bpf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not module.usable():
        pytest.skip("bpf(2) is not usable here (it needs root or CAP_BPF and CAP_NET_ADMIN)")
    return module


def create_in_kernel(bpf: ModuleType, spec: MapSpec, fds: list[int]) -> int:
    inner = create_in_kernel(bpf, spec.inner, fds) if spec.inner else 0
    row = map_type_by_name(spec.type)
    assert row is not None
    sizes = (spec.key_size, spec.value_size, spec.max_entries, spec.flags)
    fd: int = bpf.create_map(row.number, *sizes, inner)
    fds.append(fd)
    if spec.data is not None:
        bpf.update(fd, bytes(4), spec.data)
    if spec.frozen:
        bpf.freeze(fd)
    return fd


def run_in_kernel(bpf: ModuleType, spec: ObjectSpec, names: list[str]) -> dict[str, int]:
    """The return value of each program for a packet of zeros."""
    results = {}
    with bpf.closing([]) as fds:
        made = {n: create_in_kernel(bpf, spec.maps[m], fds) for m, n in spec.map_fds.items()}
        btf = 0
        if spec.btf:
            btf = bpf.load_btf(spec.btf.raw)
            fds.append(btf)
        for name in names:
            program = spec.programs[name]
            code = bytearray(program.insns)
            for index, src, number in ld_imm64s(program.insns):
                if src in (1, 2):
                    struct.pack_into("<i", code, index * 8 + 4, made[number])
            functions = [(info.insn, info.btf) for info in program.functions] if btf else None
            fds.append(bpf.load_program(bytes(code), program.license, btf, functions))
            results[name] = bpf.test_run(fds[-1], SMALL_PACKET)
    return results


def test_kernel_runs_what_was_linked() -> None:
    results = run_in_kernel(kernel(), fixture("subprogs.o"), ["all_kinds", "only_scale", "plain"])
    walk_sum = sum(10 + i for i in range(4)) + sum(2 * i for i in range(7))
    outer = 5 * 7 + 2 + 0x01020304
    assert results["all_kinds"] == outer + walk_sum + 60 + 5 + 3
    assert results["only_scale"] == 64 * 7 + 1
    assert results["plain"] == 2


@pytest.mark.parametrize("name", ["maps.o", "sections.o", "legacy20.o", "legacy24.o", "legacy36.o"])
def test_kernel_accepts_the_fixtures(name: str) -> None:
    spec = fixture(name)
    names = [n for n, program in spec.programs.items() if not program.attach]
    assert len(run_in_kernel(kernel(), spec, names)) == len(names)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.o")))
def test_kernel_accepts_the_examples(name: str) -> None:
    spec = ObjectSpec.from_file(EXAMPLES / name)
    spec.check_supported()
    assert len(run_in_kernel(kernel(), spec, list(spec.programs))) == len(spec.programs)
