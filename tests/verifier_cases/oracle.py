"""The kernel's verdict on one corpus entry, through bpf(2).

Log level 4 is asked for: the verifier then writes its complaints and statistics, but not the
states of each instruction, so that programs it gives up on after a million steps fit as well.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import kernel
from verifier_corpus import Entry

from pktfilter.objects import FuncInfo, MapSpec
from pktfilter.objects.insns import ld_imm64s
from pktfilter.objects.kinds import map_type_by_name

# A number that is no open file, for instructions that name a map the entry does not have.
_NO_FD = 0x7FFFFF00
_MAP_CREATE, _PROG_LOAD = 0, 5
_LOG_STATS = 4
# Linux wants function information for tail calls from functions.
_TAIL_CALL = bytes.fromhex("850000000c000000")
_STATS = re.compile(
    r"(verification time|stack depth|processed \d+ insns|Func#\d|Validating |Global function |"
    r"mark_precise|insns_state|arg#\d+ reference)"
)
_SUMMARY = re.compile(r"processed (\d+) insns")
_TIME = re.compile(r"verification time (\d+) usec")


@dataclass(frozen=True)
class Verdict:
    """``verdict`` "accept" or "reject"; the rest as the kernel reported it."""

    verdict: str
    errno: int
    message: str
    log: str
    processed: int
    time_us: int


def _types(spec: MapSpec, fds: list[int], object_btf: int) -> tuple[int, int, int]:
    """BTF for a value with a lock: the object's, or one made for the case."""
    if spec.lock is None:
        return 0, 0, 0
    if spec.value_btf:
        return object_btf, spec.key_btf, spec.value_btf
    btf = kernel.load_btf(kernel.lock_btf(spec.value_size, spec.lock))
    fds.append(btf)
    return btf, 1, 6


def _create(spec: MapSpec, fds: list[int], object_btf: int = 0) -> int:
    inner = _create(spec.inner, fds, object_btf) if spec.inner else 0
    btf, key, value = _types(spec, fds, object_btf)
    row = map_type_by_name(spec.type)
    number = row.number if row else kernel.MAP_TYPES[spec.type]
    fd = kernel._call(
        f"map create {spec.type}", _MAP_CREATE, "<7I16sIIII",
        number, spec.key_size, spec.value_size, spec.max_entries, spec.flags, inner, 0, b"",
        0, btf, key, value,
    )  # fmt: skip
    fds.append(fd)
    if spec.data is not None:
        held = kernel._buffer(bytes(4)), kernel._buffer(spec.data)
        kernel._call("map update", 2, "<IIQQQ", fd, 0, *map(kernel._address, held), 0)
    if spec.frozen:
        kernel._call("map freeze", 22, "<I", fd)
    return fd


def _first_reason(log: str) -> str:
    for line in log.splitlines():
        if line.strip() and not _STATS.match(line):
            # One of the kernel's complaints lacks its newline, and statistics follow it.
            return line.split("verification time")[0].strip().replace("\t", " ")
    return ""


def judge(entry: Entry) -> Verdict:
    """Load the entry and close it again; OSError only if a map cannot be created."""
    fds: list[int] = []
    try:
        btf = 0
        functions: list[FuncInfo] = []
        if entry.btf:
            btf = kernel.load_btf(entry.btf)
            fds.append(btf)
            functions = entry.functions
        made = {number: _create(spec, fds, btf) for number, spec in entry.maps.items()}
        code = bytearray(entry.insns)
        for index, src, number in _references(entry.insns):
            if src in (1, 2):
                struct.pack_into("<i", code, index * 8 + 4, made.get(number, _NO_FD))
        if not entry.btf:
            starts, callbacks = kernel._subprograms(bytes(code))
            if callbacks or (len(starts) > 1 and _TAIL_CALL in code):
                btf = kernel.load_btf(kernel._minimal_btf(len(starts)))
                fds.append(btf)
                functions = [FuncInfo(at, "", 3 + i) for i, at in enumerate(starts)]
        result, log = _load(entry, bytes(code), btf, functions)
        if result >= 0:
            fds.append(result)
        processed, took = _SUMMARY.search(log), _TIME.search(log)
        return Verdict(
            "accept" if result >= 0 else "reject",
            max(-result, 0),
            "" if result >= 0 else _first_reason(log),
            log,
            int(processed[1]) if processed else 0,
            int(took[1]) if took else 0,
        )
    finally:
        for fd in fds:
            os.close(fd)


def _references(insns: bytes) -> list[tuple[int, int, int]]:
    """ld_imm64s of a program that need not be legal."""
    try:
        return list(ld_imm64s(insns))
    except (ValueError, struct.error):
        return []


def _load(entry: Entry, code: bytes, btf: int, functions: list[FuncInfo]) -> tuple[int, str]:
    info = b"".join(struct.pack("<II", f.insn, f.btf) for f in functions) if btf else b""
    held = [kernel._buffer(b) for b in (code, entry.license.encode() + b"\0", info)]
    log = ctypes.create_string_buffer(1 << 20)
    packed = struct.pack(
        "<IIQQIIQII16sIIIIQI",
        kernel.PROG_TYPES[entry.type], len(code) // 8,
        kernel._address(held[0]), kernel._address(held[1]),
        _LOG_STATS, len(log), kernel._address(log),
        0, 0, b"", 0, 0,
        btf, 8 if info else 0, kernel._address(held[2]) if info else 0, len(info) // 8,
    )  # fmt: skip
    result = kernel._bpf(_PROG_LOAD, ctypes.create_string_buffer(packed, len(packed)))
    return result, log.value.decode(errors="replace")
