"""Global functions of a linked program: what BTF says they take, since they are verified alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ObjectError
from .btf import Btf
from .btf_types import DeclTag, Enum, Func, FuncProto, Int, Ptr, Struct

if TYPE_CHECKING:
    from .spec import FuncInfo

_CTX_TYPES = ("xdp_md",)


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter: "scalar", "ctx", or "mem" (a pointer to `size` bytes, null unless `nonnull`)."""

    kind: str
    size: int = 0
    nonnull: bool = False


@dataclass(frozen=True, slots=True)
class GlobalFunction:
    """A non-static function that begins at linked instruction `insn`."""

    insn: int
    name: str
    arguments: tuple[Argument, ...]


def global_functions(functions: Sequence[FuncInfo], btf: Btf | None) -> list[GlobalFunction]:
    """The global subprograms among a program's functions (its own entry, the first, is not one).

    A function whose parameters cannot be described is left out: it is then verified at each call,
    as a static one. Semantics: kernel Documentation/bpf, global subprograms.
    """
    if btf is None:
        return []
    found = []
    for info in functions[1:]:
        if not info.btf:
            continue
        record = btf.get(info.btf)
        if not isinstance(record, Func) or record.linkage != "global":
            continue
        arguments = _arguments(btf, info.btf, record)
        if arguments is not None:
            found.append(GlobalFunction(info.insn, info.name, arguments))
    return found


def _arguments(btf: Btf, type_id: int, record: Func) -> tuple[Argument, ...] | None:
    proto = btf.get(record.type)
    if not isinstance(proto, FuncProto) or len(proto.params) > 5:
        return None
    tags = {
        (tag.component, tag.name)
        for tag in btf.types
        if isinstance(tag, DeclTag) and tag.type == type_id
    }
    result = []
    for place, param in enumerate(proto.params):
        try:
            argument = _argument(
                btf, param.type, (place, "arg:nonnull") in tags, (place, "arg:ctx") in tags
            )
        except ObjectError:
            return None
        if argument is None:
            return None
        result.append(argument)
    return tuple(result)


def _argument(btf: Btf, type_id: int, nonnull: bool, ctx: bool) -> Argument | None:
    record = btf.resolve(type_id)
    if isinstance(record, (Int, Enum)):
        return Argument("scalar")
    if not isinstance(record, Ptr):
        return None
    target = btf.resolve(record.type)
    if ctx or (isinstance(target, Struct) and target.name in _CTX_TYPES):
        return Argument("ctx")
    return Argument("mem", btf.sizeof(record.type), nonnull)
