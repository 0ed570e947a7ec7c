"""Programs with dynptrs, for `test_dynptr`: whether a verifier takes them, and what those that it takes do."""

from __future__ import annotations

import re

from pktfilter.assembler import assemble
from pktfilter.objects.kinds import kfunc_by_name

VALUE_SIZE = 64


def code(text: str) -> bytes:
    """The program with its begin and, where it needs one, its end; kernel functions go by name, the map is `fd:1`."""

    def number(match: re.Match[str]) -> str:
        row = kfunc_by_name(match[1])
        return f"call kernel-function#{row.number}" if row else match[0]

    if "out:" not in text and ("goto out" in text or not text.endswith(RETURN)):
        text += END
    return assemble(re.sub(r"call (bpf_\w+)", number, BEGIN + text), "dynptr.s")[0].insns


BEGIN = "r6 = r1\n"
END = "\nout: r0 = 2\nexit\n"
RETURN = "exit\n"
CHECK = "if r0 == 0 goto out\n"
BYTE = "r0 = *(u8 *)(r0 +1)\n" + RETURN
FORGET = "*(u64 *)(r10 -16) = 0\n"


def address(register: str, off: int) -> str:
    return f"{register} = r10\n{register} += {off}\n"


def from_xdp(at: int = -16, flags: int = 0) -> str:
    return f"r1 = r6\nr2 = {flags}\n{address('r3', at)}call bpf_dynptr_from_xdp\n"


def part(
    off: object = 0, size: int = 8, buffer: int = -40, rdwr: bool = False, of: int = -16
) -> str:
    """A slice; `buffer` 0 passes none, `off` may be a register."""
    where = address("r3", buffer) if buffer else "r3 = 0\n"
    name = "bpf_dynptr_slice_rdwr" if rdwr else "bpf_dynptr_slice"
    return f"{address('r1', of)}r2 = {off}\n{where}r4 = {size}\ncall {name}\n"


def value(to: str = "r7") -> str:
    return f"*(u32 *)(r10 -4) = 0\n{address('r2', -4)}r1 = map[fd:1]\ncall bpf_map_lookup_elem\n{CHECK}{to} = r0\n"


def from_mem(size: int = VALUE_SIZE, at: int = -24, flags: int = 0, off: int = 0) -> str:
    return f"{value()}r1 = r7\nr1 += {off}\nr2 = {size}\nr3 = {flags}\n{address('r4', at)}call bpf_dynptr_from_mem\n"


def data(off: int = 0, size: int = 8, of: int = -24) -> str:
    return f"{address('r1', of)}r2 = {off}\nr3 = {size}\ncall bpf_dynptr_data\n"


def read(off: object = 0, size: int = 8, to: int = -40, of: int = -16, flags: int = 0) -> str:
    return f"{address('r1', to)}r2 = {size}\n{address('r3', of)}r4 = {off}\nr5 = {flags}\ncall bpf_dynptr_read\n"


def write(off: object = 0, size: int = 8, source: int = -40, of: int = -16, flags: int = 0) -> str:
    return (
        f"{address('r1', of)}r2 = {off}\n{address('r3', source)}r4 = {size}\nr5 = {flags}\n"
        "call bpf_dynptr_write\n"
    )


def adjust(start: int, end: int, of: int = -16) -> str:
    return f"{address('r1', of)}r2 = {start}\nr3 = {end}\ncall bpf_dynptr_adjust\n"


def ask(name: str, of: int = -16) -> str:
    return f"{address('r1', of)}call bpf_dynptr_{name}\n"


def clone(to: int = -32, of: int = -16) -> str:
    return f"{address('r1', of)}{address('r2', to)}call bpf_dynptr_clone\n"


def move(helper: str, by: int) -> str:
    return f"r1 = r6\nr2 = {by}\ncall bpf_xdp_adjust_{helper}\n"


PACKET = "r7 = *(u32 *)(r6 +0)\nr8 = *(u32 *)(r6 +4)\nr0 = r7\nr0 += 8\nif r0 > r8 goto out\n"
UNKNOWN = "r9 = *(u32 *)(r6 +16)\nr9 &= 7\n"
WORD = "*(u64 *)(r10 -40) = 0x11223344\n"

CASES = {
    "made": from_xdp(),
    "made_result": from_xdp() + RETURN,
    "made_with_flags": from_xdp(flags=1) + RETURN,
    "made_unaligned": from_xdp(-20),
    "made_above_the_frame": from_xdp(-8),
    "made_lowest": from_xdp(-512),
    "made_below_the_frame": from_xdp(-520),
    "made_anywhere": UNKNOWN + "r9 &= 0\n" + "r9 = *(u32 *)(r6 +16)\nr9 &= 8\nr1 = r6\nr2 = 0\n"
    + address("r3", -32) + "r3 += r9\ncall bpf_dynptr_from_xdp\n",
    "made_in_a_value": value() + "r1 = r6\nr2 = 0\nr3 = r7\ncall bpf_dynptr_from_xdp\n",
    "made_of_no_ctx": "r1 = r10\nr2 = 0\n" + address("r3", -16) + "call bpf_dynptr_from_xdp\n",
    "made_again": from_xdp() + from_xdp() + part() + CHECK + BYTE,
    "slice": from_xdp() + part() + CHECK + BYTE,
    "slice_unchecked": from_xdp() + part() + "r0 = *(u8 *)(r0 +1)\n",
    "slice_too_far": from_xdp() + part() + CHECK + "r0 = *(u8 *)(r0 +8)\n",
    "slice_before": from_xdp() + part() + CHECK + "r0 = *(u8 *)(r0 -1)\n",
    "slice_written": from_xdp() + part() + CHECK + "*(u8 *)(r0 +1) = 1\n",
    "slice_added_to": from_xdp() + part() + CHECK + "r1 = 1\nlock *(u32 *)(r0 +0) += r1\n",
    "slice_rdwr_written": from_xdp() + part(rdwr=True) + CHECK + "*(u8 *)(r0 +1) = 99\n",
    "slice_rdwr_added_to": from_xdp() + part(rdwr=True) + CHECK + "r1 = 1\nlock *(u32 *)(r0 +0) += r1\n",
    "slice_without_buffer": from_xdp() + part(buffer=0) + CHECK + BYTE,
    "slice_large_without_buffer": from_xdp() + part(buffer=0, size=100000) + CHECK + BYTE,
    "slice_of_minus_one": from_xdp() + part(buffer=0, size=-1) + CHECK + BYTE,
    "slice_of_minus_one_in_buffer": from_xdp() + part(size=-1) + CHECK + BYTE,
    "slice_size_above_32_bits": from_xdp() + address("r1", -16)
    + "r2 = 0\nr3 = 0\nr4 = 4294967304 ll\ncall bpf_dynptr_slice\n" + CHECK + "r0 = *(u8 *)(r0 +8)\n",
    "slice_size_low_32_bits": from_xdp() + address("r1", -16)
    + "r2 = 0\nr3 = 0\nr4 = 4294967304 ll\ncall bpf_dynptr_slice\n" + CHECK + "r0 = *(u8 *)(r0 +7)\n" + RETURN,
    "slice_of_nothing": from_xdp() + part(buffer=0, size=0) + CHECK + "r0 = 7\n" + RETURN,
    "slice_of_nothing_read": from_xdp() + part(size=0) + CHECK + BYTE,
    "slice_of_unknown_size": from_xdp() + UNKNOWN + address("r1", -16)
    + "r2 = 0\nr3 = 0\nr4 = r9\ncall bpf_dynptr_slice\n",
    "slice_at_unknown": from_xdp() + UNKNOWN + part("r9") + CHECK + BYTE,
    "slice_of_no_dynptr": part(),
    "slice_of_second_word": from_xdp() + part(of=-8),
    "slice_of_word_before": from_xdp() + part(of=-24),
    "slice_buffer_short": from_xdp() + part(size=48),
    "slice_buffer_over_dynptr": from_xdp() + part(buffer=-20),
    "slice_buffer_ctx": from_xdp() + address("r1", -16) + "r2 = 0\nr3 = r6\nr4 = 8\ncall bpf_dynptr_slice\n",
    "slice_buffer_number": from_xdp() + address("r1", -16) + "r2 = 0\nr3 = 8\nr4 = 8\ncall bpf_dynptr_slice\n",
    "slice_buffer_packet": from_xdp() + PACKET + address("r1", -16)
    + "r2 = 30\nr3 = r7\nr4 = 8\ncall bpf_dynptr_slice\n" + CHECK + BYTE,
    "slice_buffer_value": value() + from_xdp(-24) + address("r1", -24)
    + "r2 = 0\nr3 = r7\nr4 = 64\ncall bpf_dynptr_slice\n" + CHECK + BYTE,
    "slice_buffer_slice": from_xdp() + part(rdwr=True) + CHECK + "r7 = r0\n" + address("r1", -16)
    + "r2 = 0\nr3 = r7\nr4 = 8\ncall bpf_dynptr_slice\n",
    "slice_buffer_anywhere": from_xdp() + UNKNOWN + address("r1", -16) + "r2 = 0\n" + address("r3", -64)
    + "r3 += r9\nr4 = 8\ncall bpf_dynptr_slice\n" + CHECK + BYTE,
    "slice_moved_in": from_xdp() + part() + CHECK + UNKNOWN + "r0 += r9\n" + "r0 = *(u8 *)(r0 +0)\n" + RETURN,
    "slice_moved_out": from_xdp() + part() + CHECK + UNKNOWN + "r0 += r9\n" + BYTE,
    "slice_as_source": from_xdp() + part() + CHECK
    + "r3 = r0\nr1 = r6\nr2 = 8\nr4 = 8\ncall bpf_xdp_store_bytes\n" + RETURN,
    "slice_as_destination": from_xdp() + part() + CHECK
    + "r3 = r0\nr1 = r6\nr2 = 8\nr4 = 8\ncall bpf_xdp_load_bytes\n" + RETURN,
    "slice_rdwr_as_destination": from_xdp() + part(rdwr=True) + CHECK
    + "r3 = r0\nr1 = r6\nr2 = 8\nr4 = 8\ncall bpf_xdp_load_bytes\n" + RETURN,
    "slice_as_key": from_xdp() + part(rdwr=True) + CHECK + "r2 = r0\nr1 = map[fd:1]\ncall bpf_map_lookup_elem\n",
    "slice_against_end": from_xdp() + part() + CHECK + "r1 = *(u32 *)(r6 +4)\nif r0 > r1 goto out\n",
    "slice_returned": from_xdp() + part() + "r0 = 0\n" + RETURN,
    "slice_survives_store_to_dynptr": from_xdp() + part() + CHECK + FORGET + BYTE,
    "slice_survives_new_dynptr": from_xdp() + part() + CHECK + "r7 = r0\n" + from_xdp() + "r0 = r7\n" + BYTE,
    "slice_survives_adjust": from_xdp() + part() + CHECK + "r7 = r0\n" + adjust(4, 20) + "r0 = r7\n" + BYTE,
    "slice_survives_write": from_xdp() + part() + CHECK + "r7 = r0\n" + WORD.replace("-40", "-48")
    + write(source=-48) + "r0 = r7\n" + BYTE,
    "slice_ends_with_adjust_head": from_xdp() + part() + CHECK + "r7 = r0\n" + move("head", 0) + "r0 = r7\n" + BYTE,
    "slice_ends_with_adjust_tail": from_xdp() + part() + CHECK + "r7 = r0\n" + move("tail", 0) + "r0 = r7\n" + BYTE,
    "slice_kept_on_the_stack_ends": from_xdp() + part() + CHECK + "*(u64 *)(r10 -56) = r0\n" + move("head", 0)
    + "r0 = *(u64 *)(r10 -56)\n" + BYTE,
    "packet_pointers_survive_write": from_xdp() + PACKET + WORD + write() + "r0 = r7\n" + BYTE,
    "dynptr_survives_adjust_head": from_xdp() + move("head", 4) + part() + CHECK + BYTE,
    "dynptr_ends_with_store": from_xdp() + FORGET + part(),
    "dynptr_ends_with_store_of_a_byte": from_xdp() + "*(u8 *)(r10 -3) = 0\n" + part(),
    "dynptr_ends_with_store_anywhere": from_xdp() + UNKNOWN + address("r2", -32) + "r2 += r9\n*(u8 *)(r2 +20) = 1\n"
    + part(),
    "dynptr_word_read": from_xdp() + "r0 = *(u64 *)(r10 -16)\n",
    "dynptr_byte_read": from_xdp() + "r0 = *(u8 *)(r10 -3)\n",
    "dynptr_read_anywhere": from_xdp() + UNKNOWN + address("r2", -32) + "r2 += r9\nr0 = *(u8 *)(r2 +20)\n",
    "dynptr_added_to": from_xdp() + "r1 = 1\nlock *(u64 *)(r10 -8) += r1\n",
    "dynptr_as_key": from_xdp() + "r1 = map[fd:1]\n" + address("r2", -16) + "call bpf_map_lookup_elem\n",
    "dynptr_as_source": from_xdp() + write(source=-16),
    "dynptr_as_destination": from_xdp() + read(size=32),
    "ended_dynptr_type": from_xdp() + FORGET + "r0 = *(u32 *)(r10 -8)\nr0 >>= 24\n" + RETURN,
    "ended_dynptr_size": from_xdp() + FORGET + "r0 = *(u32 *)(r10 -8)\nr0 &= 0xffff\n" + RETURN,
    "ended_dynptr_offset": from_xdp() + adjust(4, 20) + FORGET + "r0 = *(u32 *)(r10 -4)\n" + RETURN,
    "ended_local_type": from_mem() + "*(u64 *)(r10 -24) = 0\nr0 = *(u32 *)(r10 -16)\nr0 >>= 24\n" + RETURN,
    "memory": from_mem() + RETURN,
    "memory_flags": from_mem(flags=1) + RETURN,
    "memory_too_long": from_mem(VALUE_SIZE + 1),
    "memory_behind": from_mem(off=8),
    "memory_empty": from_mem(0) + RETURN,
    "memory_of_stack": address("r1", -64) + "r2 = 16\nr3 = 0\n" + address("r4", -16) + "call bpf_dynptr_from_mem\n",
    "memory_of_packet": PACKET + "r1 = r7\nr2 = 8\nr3 = 0\n" + address("r4", -16) + "call bpf_dynptr_from_mem\n",
    "data": from_mem() + data() + CHECK + "r0 = *(u8 *)(r0 +1)\nr0 = 9\n" + RETURN,
    "data_written": from_mem() + data(8) + CHECK + "*(u8 *)(r0 +1) = 3\nr0 = 9\n" + RETURN,
    "data_too_far": from_mem() + data() + CHECK + "r0 = *(u8 *)(r0 +8)\n",
    "data_beyond": from_mem() + data(60) + CHECK + "r0 = 9\n" + RETURN,
    "data_of_unknown_size": from_mem() + UNKNOWN + address("r1", -24) + "r2 = 0\nr3 = r9\ncall bpf_dynptr_data\n",
    "data_ends_with_store": from_mem() + data() + CHECK + "*(u64 *)(r10 -24) = 0\nr0 = *(u8 *)(r0 +1)\n",
    "data_ends_with_new_dynptr": from_mem() + data() + CHECK + "r7 = r0\n" + from_xdp(-24) + "r0 = r7\n" + BYTE,
    "data_ends_with_half_a_dynptr": from_mem() + data() + CHECK + "r7 = r0\n" + from_xdp(-32) + "r0 = r7\n" + BYTE,
    "data_ended_as_number": from_mem() + data() + CHECK + "*(u64 *)(r10 -24) = 0\nr0 += 1\nr0 = 9\n" + RETURN,
    "data_survives_end_of_clone": from_mem() + clone(-48, -24) + data() + CHECK
    + "*(u64 *)(r10 -48) = 0\nr0 = *(u8 *)(r0 +1)\nr0 = 9\n" + RETURN,
    "data_of_clone_ends": from_mem() + clone(-48, -24) + data(of=-48) + CHECK
    + "*(u64 *)(r10 -48) = 0\nr0 = *(u8 *)(r0 +1)\n",
    "data_survives_adjust_head": from_mem() + data() + CHECK + "r7 = r0\n" + move("head", 0)
    + "r0 = *(u8 *)(r7 +1)\nr0 = 9\n" + RETURN,
    "data_of_a_packet": from_xdp() + data(of=-16) + CHECK + BYTE,
    "data_of_no_dynptr": data(of=-16),
    "data_as_key": from_mem() + data() + CHECK + "r2 = r0\nr1 = map[fd:1]\ncall bpf_map_lookup_elem\n",
    "local_slice_survives_store": from_mem() + part(of=-24, buffer=0) + CHECK
    + "*(u64 *)(r10 -24) = 0\nr0 = *(u8 *)(r0 +1)\nr0 = 9\n" + RETURN,
    "local_slice_survives_adjust_head": from_mem() + part(of=-24, buffer=0) + CHECK + "r7 = r0\n" + move("head", 0)
    + "r0 = *(u8 *)(r7 +1)\nr0 = 9\n" + RETURN,
    "local_slice_as_key": from_mem() + part(of=-24, buffer=0, rdwr=True) + CHECK
    + "r2 = r0\nr1 = map[fd:1]\ncall bpf_map_lookup_elem\n",
    "size": from_xdp() + ask("size") + RETURN,
    "size_of_null": from_xdp(flags=1) + ask("size") + RETURN,
    "size_of_nothing": ask("size"),
    "is_null": from_xdp(flags=1) + ask("is_null") + "r0 &= 255\n" + RETURN,
    "is_not_null": from_xdp() + ask("is_null") + "r0 &= 255\n" + RETURN,
    "is_rdonly": from_xdp() + ask("is_rdonly") + "r0 &= 255\n" + RETURN,
    "slice_of_null": from_xdp(flags=1) + part() + "r0 = r0\nif r0 == 0 goto null\nexit\nnull: r0 = 5\n" + RETURN,
    "read_of_null": from_xdp(flags=1) + read() + RETURN,
    "write_of_null": from_xdp(flags=1) + WORD + write() + RETURN,
    "clone_of_null": from_xdp(flags=1) + clone() + RETURN,
    "adjust_of_null": from_xdp(flags=1) + adjust(0, 0) + RETURN,
    "adjust": from_xdp() + adjust(4, 10) + ask("size") + RETURN,
    "adjust_beyond": from_xdp() + adjust(4, 100000) + RETURN,
    "adjust_backward": from_xdp() + adjust(5, 4) + RETURN,
    "adjust_above_32_bits": from_xdp() + address("r1", -16) + "r2 = 4294967296 ll\nr3 = 8\n"
    "call bpf_dynptr_adjust\n" + RETURN,
    "adjust_twice": from_xdp() + adjust(2, 14) + adjust(3, 9) + part(1, 2) + CHECK + BYTE,
    "clone": from_xdp() + clone() + part(3, of=-32, buffer=-48) + CHECK + BYTE,
    "clone_in_place": from_xdp() + clone(-16) + part(3) + CHECK + BYTE,
    "clone_over_half": from_xdp() + clone(-24) + part(3, of=-24, buffer=-48) + CHECK + BYTE,
    "clone_over_half_ends_the_first": from_xdp() + clone(-24) + part(3, buffer=-48),
    "clone_of_nothing": clone(),
    "clone_is_apart": from_xdp() + clone() + adjust(4, 20) + ask("size", -32) + RETURN,
    "read": from_xdp() + read() + "r0 = *(u8 *)(r10 -39)\n" + RETURN,
    "read_beyond": from_xdp() + read(100000) + RETURN,
    "read_far_beyond": from_xdp() + read(-1) + RETURN,
    "read_flags": from_xdp() + read(flags=1) + RETURN,
    "read_flags_beyond": from_xdp() + read(100000, flags=1) + RETURN,
    "read_nothing": from_xdp() + read(size=0) + RETURN,
    "read_to_packet": from_xdp() + PACKET + "r1 = r7\nr2 = 8\n" + address("r3", -16)
    + "r4 = 0\nr5 = 0\ncall bpf_dynptr_read\n",
    "read_local": from_mem() + read(of=-24) + RETURN,
    "read_local_into_itself": from_mem() + "*(u64 *)(r7 +0) = 0x01020304\nr1 = r7\nr1 += 2\nr2 = 8\n"
    + address("r3", -24) + "r4 = 0\nr5 = 0\ncall bpf_dynptr_read\nr0 = *(u32 *)(r7 +2)\n" + RETURN,
    "write": from_xdp() + WORD + write(2) + RETURN,
    "write_beyond": from_xdp() + WORD + write(100000) + RETURN,
    "write_flags": from_xdp() + WORD + write(flags=1) + RETURN,
    "write_flags_beyond": from_xdp() + WORD + write(100000, flags=1) + RETURN,
    "write_local": from_mem() + WORD + write(8, of=-24) + RETURN,
    "write_local_flags": from_mem() + WORD + write(8, of=-24, flags=1) + RETURN,
    "write_from_packet": from_xdp() + PACKET + address("r1", -16) + "r2 = 4\nr3 = r7\nr4 = 8\nr5 = 0\n"
    "call bpf_dynptr_write\n",
    "shrunk_slice": from_xdp() + move("tail", -10) + WORD + "r9 = 4\n" + part("r9") + CHECK + BYTE,
    "shrunk_size": from_xdp() + move("tail", -10) + ask("size") + RETURN,
    "in_a_subprogram": address("r2", -16) + "call make\n" + part() + CHECK + BYTE + END
    + "make: r3 = r2\nr2 = 0\ncall bpf_dynptr_from_xdp\nexit\n",
    "of_a_subprogram_gone": "call make\n" + part() + CHECK + BYTE + END + "make: r6 = r1\n" + from_xdp() + "exit\n",
    "used_in_a_subprogram": from_xdp() + address("r1", -16) + "call size\n" + RETURN
    + "size: call bpf_dynptr_size\nexit\n",
    "ended_in_a_subprogram": from_xdp() + address("r1", -16) + "call end\n" + part() + END
    + "end: *(u8 *)(r1 +3) = 0\nr0 = 0\nexit\n",
    "made_on_one_path": UNKNOWN + "if r9 == 3 goto skip\n" + from_xdp() + "skip:\n" + part(),
    "made_on_both_paths": UNKNOWN + "if r9 == 3 goto other\n" + from_xdp() + "goto use\nother:\n" + from_xdp()
    + "use:\n" + part() + CHECK + BYTE,
    "two_types_meet": from_mem(at=-24) + UNKNOWN + "if r9 == 3 goto use\n" + from_xdp(-24) + "use:\n"
    + part(of=-24, buffer=0) + CHECK + "r0 = 9\n" + RETURN,
    "ended_on_one_path": from_xdp() + UNKNOWN + "if r9 == 3 goto use\n" + FORGET + "use:\n" + part(),
    "ended_on_the_other_path": from_xdp() + UNKNOWN + "if r9 != 3 goto use\n" + FORGET + "use:\n" + part(),
    "in_a_loop": "r8 = 4\nagain:\n" + from_xdp() + part() + CHECK + "r8 += -1\nif r8 != 0 goto again\n"
    "r0 = 4\n" + RETURN,
    "ended_in_a_loop": from_xdp() + "r8 = 4\nagain:\n" + part() + CHECK + FORGET + "r8 += -1\nif r8 != 0 goto again\n",
}  # fmt: skip

#: Linux takes these, and a program of them can break its own stack (docs/verifier.md).
UNSAFE = {
    "spilled_under_a_slice": from_xdp() + part(rdwr=True) + CHECK
    + "*(u64 *)(r10 -40) = r6\n*(u64 *)(r0 +0) = 0\nr1 = *(u64 *)(r10 -40)\nr0 = *(u32 *)(r1 +16)\n" + RETURN,
    "dynptr_under_a_slice": from_xdp() + part(rdwr=True, size=16) + CHECK + "r8 = r0\n" + clone(-40)
    + "*(u64 *)(r8 +0) = 0\n" + ask("size", -40) + RETURN,
    "slice_outlives_its_buffer": "call make\n" + CHECK + BYTE + END + "make: r6 = r1\n" + from_xdp()
    + part() + "exit\n",
    "slice_kept_by_the_caller": address("r2", -64) + "call make\nr0 = *(u64 *)(r10 -64)\n" + CHECK + BYTE + END
    + "make: r6 = r1\nr7 = r2\n" + from_xdp() + part() + "*(u64 *)(r7 +0) = r0\nr0 = 0\nexit\n",
}  # fmt: skip
