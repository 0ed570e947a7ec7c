"""BTF type records, one record per kind (kernel documentation, "BPF Type Format").

Type references are ids within one `Btf`; id 0 is `void`. Sizes are in bytes, bit offsets in bits
from the start of the enclosing struct.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Void:
    """The type with id 0."""

    name: str = ""


@dataclass(slots=True)
class Int:
    """An integer of `size` bytes whose value takes `bits` bits from bit `offset`."""

    name: str
    size: int
    bits: int
    offset: int
    signed: bool
    char: bool
    bool: bool


@dataclass(slots=True)
class Ptr:
    """A pointer to `type`."""

    type: int
    name: str = ""


@dataclass(slots=True)
class Array:
    """`count` elements of `type`."""

    type: int
    index_type: int
    count: int
    name: str = ""


@dataclass(slots=True)
class Member:
    """A member of a struct or union; `bitfield_size` is 0 unless it is a bit field."""

    name: str
    type: int
    bit_offset: int
    bitfield_size: int


@dataclass(slots=True)
class Struct:
    """A struct or union."""

    name: str
    size: int
    members: tuple[Member, ...]
    is_union: bool


@dataclass(slots=True)
class Enum:
    """An enumeration; `wide` records hold values of 64 bits, others of 32 bits whatever the size."""

    name: str
    size: int
    signed: bool
    values: tuple[tuple[str, int], ...]
    wide: bool = field(default=False, compare=False)


@dataclass(slots=True)
class Fwd:
    """A struct or union that is declared but not defined."""

    name: str
    is_union: bool


@dataclass(slots=True)
class Modifier:
    """`kind` is const, volatile, restrict, typedef or type_tag (named by the last two)."""

    kind: str
    type: int
    name: str = ""


@dataclass(slots=True)
class Func:
    """A function; `type` is its prototype, `linkage` static, global or extern."""

    name: str
    type: int
    linkage: str


@dataclass(slots=True)
class Param:
    """A parameter of a prototype."""

    name: str
    type: int


@dataclass(slots=True)
class FuncProto:
    """A prototype that returns `type`; a last parameter of type 0 without a name is `...`."""

    type: int
    params: tuple[Param, ...]
    name: str = ""


@dataclass(slots=True)
class Var:
    """A variable; `linkage` is static, global or extern."""

    name: str
    type: int
    linkage: str


@dataclass(slots=True)
class SecVar:
    """A variable's place in its section."""

    type: int
    offset: int
    size: int


@dataclass(slots=True)
class DataSec:
    """A section of variables; clang leaves `size` 0 for the linker to fill in."""

    name: str
    size: int
    vars: tuple[SecVar, ...]


@dataclass(slots=True)
class Float:
    """A floating-point number."""

    name: str
    size: int


@dataclass(slots=True)
class DeclTag:
    """A tag on `type`, or on its member or parameter `component` if that is not -1."""

    name: str
    type: int
    component: int


BtfType = (
    Void
    | Int
    | Ptr
    | Array
    | Struct
    | Enum
    | Fwd
    | Modifier
    | Func
    | FuncProto
    | Var
    | DataSec
    | Float
    | DeclTag
)
