# cython: language_level=3
"""Encoding legality and disassembly (csrc/isa)."""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from pktfilter._core.c_isa cimport (
    PF_MAX_INSNS,
    pf_insn,
    pf_isa_check,
    pf_isa_names,
    pf_isa_text,
)
from pktfilter._core.c_tables cimport PF_EINVAL, pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag

from pktfilter._core.errors import exception
from pktfilter._core.tables import DIAGS

MAX_INSNS = PF_MAX_INSNS

cdef dict _CODES = {row.name: code for code, row in enumerate(DIAGS)}


cdef uint32_t _count(const unsigned char[::1] code) except? 0xffffffff:
    if code.shape[0] % sizeof(pf_insn):
        raise exception(PF_EINVAL, _CODES["ISA_SIZE"], found=code.shape[0])
    count = code.shape[0] // sizeof(pf_insn)
    if count > PF_MAX_INSNS:
        raise exception(PF_EINVAL, _CODES["ISA_TOO_LONG"], found=count, expected=PF_MAX_INSNS)
    return <uint32_t> count


cdef const pf_insn *_insns(const unsigned char[::1] code) noexcept:
    return <const pf_insn *> &code[0] if code.shape[0] else NULL


def check(insns, bint strict=False):
    cdef const unsigned char[::1] code = insns
    cdef uint32_t count = _count(code)
    cdef const pf_insn *first = _insns(code)
    cdef pf_diag diag
    cdef pf_err err
    memset(&diag, 0, sizeof(diag))
    with nogil:
        err = pf_isa_check(first, count, strict, &diag)
    raise_diag(err, &diag)


cdef int _map_name(void *user, uint32_t number, char *out, size_t size) noexcept with gil:
    name = (<dict> user).get(number)
    if not isinstance(name, str):
        return 0
    encoded = (<str> name).encode("utf-8", "replace")
    # A name that does not fit is as good as unknown: cut short it would be another map's.
    if <size_t> len(encoded) >= size or b"\0" in encoded:
        return 0
    memcpy(out, <const char *> encoded, len(encoded) + 1)
    return 1


def text(insns, map_names=None):
    cdef const unsigned char[::1] code = insns
    cdef uint32_t count = _count(code)
    cdef const pf_insn *first = _insns(code)
    cdef const pf_insn *following
    cdef pf_isa_names names
    cdef char out[160]  # PF_ISA_TEXT_MAX
    cdef uint32_t i = 0
    known = dict(map_names or {})
    names.user = <void *> known
    names.map = &_map_name
    lines = []
    while i < count:
        following = &first[i + 1] if i + 1 < count else NULL
        pf_isa_text(&first[i], following, &names, out, sizeof(out))
        lines.append((<const char *> out).decode("utf-8"))
        # Opcode 0x18 is wide in every variant; its second half has a slot, but no text.
        if first[i].code == 0x18 and following != NULL:
            lines.append("")
            i += 1
        i += 1
    return lines
