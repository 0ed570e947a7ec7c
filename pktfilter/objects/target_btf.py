"""The types that CO-RE relocations are resolved against, from where the user says."""

from __future__ import annotations

import os
import stat

from ..errors import ObjectError
from .btf import SIZE_LIMIT, Btf, parse_btf
from .elf import ELF_MAGIC

SYSTEM_PATH = "/sys/kernel/btf/vmlinux"
#: An ELF file with a `.BTF` may be a kernel with all its code.
FILE_LIMIT = 2 << 30


def read_target(source: str | os.PathLike[str] | None) -> Btf | None:
    """The types that `source` names; None, for the object's own, if it is None or "own".

    "system" are the running kernel's; anything else is a file of raw BTF, or an ELF file of any
    machine with a section `.BTF`. Raises `ObjectError` if it cannot be read or is damaged.
    """
    if source is None or source == "own":
        return None
    path = SYSTEM_PATH if source == "system" else os.fspath(source)
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > FILE_LIMIT:
                raise ObjectError("file is too large for types", file=path)
            head = stream.read(SIZE_LIMIT + 1)
            if head.startswith(ELF_MAGIC):
                from .elf_section import find_section

                head = find_section(stream, ".BTF", SIZE_LIMIT, path)
    except OSError as error:
        hint = "give a file, or 'own'" if source == "system" else None
        reason = error.strerror or str(error)
        raise ObjectError(f"types cannot be read: {reason}", file=path, hint=hint) from error
    return parse_btf(head, path)
