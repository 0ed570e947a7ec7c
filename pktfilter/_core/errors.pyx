# cython: language_level=3
"""The one place where results of the C core become exceptions (`pktfilter.errors`)."""

import os

from pktfilter._core.c_tables cimport PF_EBADMSG, PF_OK, pf_diag, pf_err

from pktfilter import errors
from pktfilter._core.tables import DIAGS, ERRORS

cdef dict _ERRNO_TEXTS = {row.value: row.text for row in ERRORS}
cdef dict _BY_ERRNO = {
    "ENOLINK": errors.LinkDetached,
    "ESTALE": errors.StaleGeneration,
    "EDEADLK": errors.WouldDeadlock,
    "ETIMEDOUT": errors.GraceTimeout,
}
cdef dict _LINK_CLASSES = {
    row.value: _BY_ERRNO[row.name] for row in ERRORS if row.name in _BY_ERRNO
}
cdef dict _HOOK_CLASSES = {
    "HOOK_DETACHED": errors.LinkDetached,
    "HOOK_STALE_PROGRAM": errors.StaleProgram,
    "HOOK_STALE_GENERATION": errors.StaleGeneration,
    "HOOK_STALLED": errors.GraceTimeout,
    "HOOK_SELF_WAIT": errors.WouldDeadlock,
    "HOOK_TRIAL": errors.LinkBusy,
    "HOOK_NO_GENERATION": errors.NoSuchGeneration,
    "HOOK_NOTHING_BEFORE": errors.NoSuchGeneration,
    "HOOK_FOREIGN": errors.TransactionError,
}
cdef frozenset _OUTPUT = frozenset({"IO_WRITE", "IO_MIXED_LINKTYPE", "LIVE_SEND"})


class _Number(int):
    """A field of a diagnostic: 64 bits that read as signed in decimal and unsigned in hex."""

    def __format__(self, spec):
        if spec.endswith(("x", "X")):
            return format(int(self), spec)
        return format(int(self) - (1 << 64) if self >> 63 else int(self), spec)


def render(code, *, insn=0, offset=0, found=0, expected=0, name=""):
    """The sentence and the hint of diagnostic `code` with its fields put in."""
    row = DIAGS[code]
    fields = {
        "insn": insn,
        "offset": _Number(offset),
        "found": _Number(found),
        "expected": _Number(expected),
        "name": name,
    }
    return row.text.format(**fields), row.hint.format(**fields)


def exception(err, code=0, *, insn=0, offset=0, found=0, expected=0, name=""):
    """The exception for result `err` with diagnostic `code` (0: none) and its fields."""
    if not code:
        return _plain(err)
    row = DIAGS[code]
    message, hint = render(
        code, insn=insn, offset=offset, found=found, expected=expected, name=name
    )
    common = {"hint": hint or None}
    family = row.name.split("_", 1)[0]
    # The classes with an `insn` put the place in front themselves.
    place = f"instruction {insn}: "
    at = None
    if row.text.startswith("instruction {insn}: "):
        at = insn
    if family in ("ISA", "PROG", "NATIVE"):
        return errors.ProgramError(message.removeprefix(place) if at is not None else message,
                                   insn=at, **common)
    if family == "VER":
        return errors.VerifierError(message, **common)
    if family == "VM":
        return errors.ExecutionFault(message.removeprefix(place) if at is not None else message,
                                     insn=at, kind=row.name.removeprefix("VM_").lower(), **common)
    if family == "MAP":
        return errors.MapError(message, errno=err, **common)
    if row.name in _OUTPUT:
        error = errors.OutputError(message, **common)
        error.port = insn if family == "LIVE" else None
        return error
    if family == "LIVE":
        error = errors.InterfaceError(message, errno=err, **common)
        error.port = insn
        return error
    if family == "IO":
        error = errors.CaptureError(message, damaged=err == PF_EBADMSG, **common)
        if "{offset}" in row.text:
            error.offset = offset  # the message names the place already
        return error
    if row.name in ("HOOK_TYPE", "HOOK_TYPE_CHANGE"):
        return errors.IncompatibleProgram(message, field="type", errno=err, **common)
    if family == "HOOK":
        return _HOOK_CLASSES.get(row.name, errors.LinkError)(message, errno=err, **common)
    # What is left is about what the user handed in (RUN: a packet or its metadata).
    return errors.InputError(message, **common)


cdef object _plain(int err):
    text = _ERRNO_TEXTS.get(err) or os.strerror(err)
    if err in _LINK_CLASSES:
        return _LINK_CLASSES[err](text, errno=err)
    return errors.MapError(text, errno=err)


cdef int raise_diag(pf_err err, const pf_diag *diag) except -1:
    if err == PF_OK:
        return 0
    if diag == NULL or not diag.code:
        raise exception(<int> err)
    name = (<const char *> diag.name).decode("utf-8", "backslashreplace")
    raise exception(
        <int> err,
        <int> diag.code,
        insn=diag.insn,
        offset=diag.offset,
        found=diag.found,
        expected=diag.expected,
        name=name,
    )
