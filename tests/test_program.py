"""Programs from Python: creation, tags, test runs, execution over memory, faults."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import pktfilter as pf
from pktfilter.assembler import assemble

EXAMPLES = Path(__file__).parent.parent / "examples"


def program(text: str, **options: object) -> pf.Program:
    (made,) = assemble(text, "test.s")
    maps = {number: pf.Map(made.maps[name]) for number, name in made.map_refs.items()}
    return pf.Program(made.insns, maps=maps, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "tag"), [("filter64", "8423442d24a6cad4"), ("portfw", "b6079df288b1adea")]
)
def test_tag_is_that_of_linux(name: str, tag: str) -> None:
    """As bpftool showed them for the same objects on Linux 6.18."""
    assert pf.load(EXAMPLES / f"{name}.o").program().tag == tag


def test_program_round_trip() -> None:
    """insns and maps of a program make the same program again."""
    first = pf.load(EXAMPLES / "portfw.o").program()
    again = pf.Program.from_bytes(first.insns, maps=first.maps)
    assert again.insns == first.insns
    assert again.tag == first.tag
    assert again.id != first.id
    packet = bytes(range(60))
    assert again.test_run(packet).retval == first.test_run(packet).retval


def test_metadata_and_context() -> None:
    """Metadata goes in and comes out; the context holds interface and queue."""
    p = program("""
        r2 = *(u32 *)(r1 +8)
        r3 = *(u32 *)(r1 +0)
        r4 = r2
        r4 += 4
        r0 = 0
        if r4 > r3 goto out
        r0 = *(u8 *)(r2 +1)
        *(u8 *)(r2 +0) = 7
    out:
        r5 = *(u32 *)(r1 +12)
        r0 += r5
        r5 = *(u32 *)(r1 +16)
        r0 += r5
        exit
    """)
    run = p.test_run(bytes(60), meta=b"\1\2\3\4", ingress_ifindex=10, rx_queue=30)
    assert run.retval == 2 + 10 + 30
    assert run.action is pf.XDP.ABORTED
    assert run.data_meta == b"\7\2\3\4"
    assert run.data == bytes(60)
    assert p.test_run(bytes(60)).retval == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"packet": bytes(13)}, "13 bytes"),
        ({"packet": bytes(60), "meta": b"abc"}, "3 bytes"),
        ({"packet": bytes(60), "meta": bytes(220)}, "220 bytes"),
        ({"packet": bytes(60), "repeat": 0}, "repeat"),
        ({"packet": bytes(60), "engine": "fast"}, "engine"),
        ({"packet": bytes(60), "linear": "most"}, "geometry"),
    ],
)
def test_bad_test_runs_say_why(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(pf.InputError, match=words):
        program("r0 = 2\nexit").test_run(**arguments)  # type: ignore[arg-type]


def test_time_seed_and_cpu_are_what_was_asked_for() -> None:
    clock = program("call bpf_ktime_get_ns#5\nexit")
    assert clock.test_run(bytes(60), time_ns=123456).retval == 123456
    cpu = program("call bpf_get_smp_processor_id#8\nexit")
    assert cpu.test_run(bytes(60), cpu=1).retval == 1
    random = program("call bpf_get_prandom_u32#7\nexit")
    values = [random.test_run(bytes(60), seed=s).retval for s in (1, 2, 1)]
    assert values[0] == values[2] != values[1]


def test_fault_names_instruction_and_place() -> None:
    p = program("r2 = *(u32 *)(r1 +0)\nr0 = *(u64 *)(r2 +56)\nexit", verify=False)
    assert p.engine == "checked"
    assert p.test_run(bytes(64)).retval == 0
    with pytest.raises(pf.ExecutionFault) as caught:
        p.test_run(bytes(60))
    assert caught.value.insn == 1
    assert "packet+56" in str(caught.value)


def test_endless_program_ends() -> None:
    with pytest.raises(pf.ExecutionFault, match="did not end"):
        pf.vm.execute(struct.pack("<BBhi", 0x05, 0, -1, 0), b"", budget=10_000)


def test_memory_is_changed_in_place_for_bytearrays_only() -> None:
    code = bytes.fromhex("7201000007000000b7000000000000009500000000000000")
    memory, fixed = bytearray(4), bytes(4)
    pf.vm.execute(code, memory)
    pf.vm.execute(code, fixed)
    assert memory == b"\7\0\0\0"
    assert fixed == bytes(4)


def test_memory_bounds() -> None:
    load = bytes.fromhex("7910fc0000000000"[:4] + "0000" + "00000000" + "9500000000000000")
    assert pf.vm.execute(load, (5).to_bytes(8, "little")) == 5
    with pytest.raises(pf.ExecutionFault):
        pf.vm.execute(load, bytes(7))


def test_illegal_bytecode_is_refused_with_the_instruction() -> None:
    with pytest.raises(pf.ProgramError) as caught:
        pf.Program.from_bytes(bytes.fromhex("b700000000000000ff00000000000000"))
    assert caught.value.insn == 1
    with pytest.raises(pf.ProgramError, match="whole instructions"):
        pf.Program.from_bytes(b"abc")
    with pytest.raises(pf.ProgramError, match="no map has number 5"):
        pf.Program.from_bytes(
            bytes.fromhex("18110000050000000000000000000000b7000000000000009500000000000000")
        )


def test_trace_printk_lines() -> None:
    """The text that bpf_trace_printk would put into the trace pipe."""
    p = program("""
        r1 = 0x000a64253d78 ll
        *(u64 *)(r10 -8) = r1
        r1 = r10
        r1 += -8
        r2 = 6
        r3 = 42
        call bpf_trace_printk#6
        r0 = 2
        exit
    """)
    assert p.test_run(bytes(60)).trace == ["x=42\n"]


def test_loading_says_what_is_not_supported(tmp_path: Path) -> None:
    with pytest.raises(pf.ObjectError, match="cannot be read"):
        pf.load(tmp_path / "missing.o")
    (tmp_path / "text.o").write_text("not an object")
    with pytest.raises(pf.ObjectError, match=r"text\.o"):
        pf.load(tmp_path / "text.o")
    with pytest.raises(pf.InputError, match="no map named 'nope'"):
        pf.load(EXAMPLES / "portfw.o", max_entries={"nope": 5})


def test_specs_are_editable_before_load() -> None:
    assert (
        pf.load(EXAMPLES / "portfw.o", max_entries={"port_rules": 7}).maps["port_rules"].max_entries
        == 7
    )
    spec = pf.ObjectSpec.from_file(EXAMPLES / "ratelimit.o")
    spec.set_variable("rate_pps", 12345)
    rodata = next(m for name, m in spec.load().maps.items() if "rodata" in name)
    assert (12345).to_bytes(8, "little") in bytes(rodata[0])  # type: ignore[arg-type]
    with pytest.raises(pf.InputError, match="no global variable named 'speed'"):
        spec.set_variable("speed", 1)
    with pytest.raises(pf.InputError, match="does not fit"):
        spec.set_variable("rate_pps", b"abc")
