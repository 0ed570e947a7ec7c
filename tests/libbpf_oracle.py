"""libbpf as a judge of relocation: the instructions it would give the kernel, through ctypes.

Only its stable interface is used: open with `btf_custom_path`, load, and read the instructions. It
needs the library and a machine where bpf(2) takes XDP programs.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from pathlib import Path


class _OpenOptions(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root", ctypes.c_char_p),
        ("reserved", ctypes.c_long),
        ("kconfig", ctypes.c_char_p),
        ("btf", ctypes.c_char_p),
    )


def library() -> ctypes.CDLL | None:
    """libbpf 1.x, or None."""
    name = ctypes.util.find_library("bpf")
    if name is None:
        return None
    found = ctypes.CDLL(name, use_errno=True)
    for function in ("bpf_object__open_file", "bpf_object__find_program_by_name"):
        if not hasattr(found, function):
            return None
        getattr(found, function).restype = ctypes.c_void_p
    found.bpf_program__insns.restype = ctypes.c_void_p
    found.bpf_program__insn_cnt.restype = ctypes.c_size_t
    found.libbpf_set_print.restype = ctypes.c_void_p
    found.libbpf_set_print(None)
    return found


def relocated(
    bpf: ctypes.CDLL, path: Path, program: str, btf: Path | None = None, kconfig: str | None = None
) -> bytes:
    """The program's instructions as libbpf relocates them; raises `OSError` if it refuses."""
    options = _OpenOptions(size=ctypes.sizeof(_OpenOptions))
    options.btf = os.fsencode(btf) if btf is not None else None
    options.kconfig = kconfig.encode() if kconfig is not None else None
    handle = bpf.bpf_object__open_file(os.fsencode(path), ctypes.byref(options))
    if not handle:
        raise OSError(ctypes.get_errno(), "the object cannot be opened")
    opened = ctypes.c_void_p(handle)
    try:
        code = bpf.bpf_object__load(opened)
        if code:
            raise OSError(-code, os.strerror(-code))
        found = ctypes.c_void_p(bpf.bpf_object__find_program_by_name(opened, program.encode()))
        return ctypes.string_at(bpf.bpf_program__insns(found), bpf.bpf_program__insn_cnt(found) * 8)
    finally:
        bpf.bpf_object__close(opened)


def plain(code: bytes) -> bytes:
    """Instructions without what differs by loader: map numbers, and what stands for "no answer"."""
    result = bytearray(code)
    for at in range(0, len(code), 8):
        pseudo = code[at] == 0x18 and code[at + 1] >> 4
        if pseudo or code[at : at + 2] in (b"\x72\x0a", b"\x85\x00"):
            if code[at + 4 : at + 8] == (0xBAD2310).to_bytes(4, "little"):
                result[at : at + 4] = bytes(4)
            elif pseudo:
                result[at + 4 : at + 8] = bytes(4)
    return bytes(result)
