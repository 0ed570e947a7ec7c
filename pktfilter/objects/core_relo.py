"""CO-RE: what a relocation asks, where its answer is in a target's types, and the answer itself.

The meaning of the kinds and of access strings is that of the kernel's documentation ("BPF CO-RE
relocations") and of `enum bpf_core_relo_kind` in linux/bpf.h; what a missing type or field gives,
and how a bit field's containing word is found, that of libbpf.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import ObjectError
from .btf import DEPTH_LIMIT, Btf
from .btf_types import Array, BtfType, Enum, Int, Member, Ptr, Struct
from .core_types import Comparison, essential, kind_of

KINDS = (
    "field byte offset",
    "field byte size",
    "field exists",
    "field signed",
    "field lshift",
    "field rshift",
    "local type id",
    "target type id",
    "type exists",
    "type size",
    "enumeration value exists",
    "enumeration value",
    "type matches",
)
BYTE_OFFSET, BYTE_SIZE, FIELD_EXISTS, SIGNED, LSHIFT, RSHIFT = range(6)
LOCAL_ID, TARGET_ID, TYPE_EXISTS, TYPE_SIZE = range(6, 10)
ENUM_EXISTS, ENUM_VALUE, TYPE_MATCHES = range(10, 13)
FIELD_KINDS = range(BYTE_OFFSET, RSHIFT + 1)
ACCESS_LIMIT = 64


@dataclass(slots=True)
class Access:
    """One step of a path: an element of an array (no name), or a named member of `type_id`."""

    type_id: int
    index: int
    name: str = ""


@dataclass(slots=True)
class Path:
    """A type and, within it, a field (`steps`, `bits` from its start) or an enumerator."""

    btf: Btf
    root: int
    steps: list[Access] = field(default_factory=list)
    bits: int = 0

    def member(self) -> tuple[Struct, Member]:
        """The last step's struct and member."""
        last = self.steps[-1]
        record = self.btf.get(last.type_id)
        assert isinstance(record, Struct)
        return record, record.members[last.index]


@dataclass(slots=True)
class Value:
    """The answer; `checked` if the instruction holds the local one's; `size` and `kind` of a field
    whose offset it is, so that a load's width can follow (`kind` is "" otherwise)."""

    number: int
    checked: bool = True
    size: int = 0
    kind: str = ""


def local_path(btf: Btf, type_id: int, access: str, kind: int) -> Path:
    """The path that a relocation's access string spells in the object's own types.

    Raises `ObjectError` where it spells none.
    """
    parts = access.split(":")
    if not 0 < len(parts) <= ACCESS_LIMIT or not all(p.isascii() and p.isdigit() for p in parts):
        raise btf.fail(f"CO-RE access string '{access[:80]}' is not made of numbers")
    indexes = [int(part[:12]) for part in parts]
    root = btf.get(type_id)
    if not essential(root.name):
        raise btf.fail(f"CO-RE relocation is against type {type_id}, which has no name")
    path = Path(btf, type_id)
    if kind in (LOCAL_ID, TARGET_ID, TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES):
        if indexes != [0]:
            raise btf.fail(f"CO-RE access string '{access}' of a type is not '0'", root.name)
        return path
    if kind in (ENUM_EXISTS, ENUM_VALUE):
        record = btf.resolve(type_id)
        if not isinstance(record, Enum) or len(indexes) > 1 or indexes[0] >= len(record.values):
            raise btf.fail(f"CO-RE access string '{access}' names no enumerator", root.name)
        path.steps.append(Access(btf.resolve_id(type_id), indexes[0], record.values[indexes[0]][0]))
        return path
    at = btf.resolve_id(type_id)
    path.steps.append(Access(at, indexes[0]))
    path.bits = indexes[0] * btf.sizeof(at) * 8 if indexes[0] else 0
    for index in indexes[1:]:
        at = _step(path, at, index, access)
    return path


def _step(path: Path, at: int, index: int, access: str) -> int:
    record = path.btf.get(at)
    if isinstance(record, Struct) and index < len(record.members):
        member = record.members[index]
        path.bits += member.bit_offset
        if member.name:
            path.steps.append(Access(at, index, member.name))
        return path.btf.resolve_id(member.type)
    if isinstance(record, Array):
        if index >= record.count and not _flexible(path, record):
            raise path.btf.fail(f"CO-RE access string '{access}' is outside an array")
        element = path.btf.resolve_id(record.type)
        path.bits += index * path.btf.sizeof(element) * 8
        path.steps.append(Access(element, index))
        return element
    raise path.btf.fail(f"CO-RE access string '{access}' does not fit its type", record.name)


def _flexible(path: Path, array: Array) -> bool:
    """Whether the array just reached is the last member of its struct and has no length."""
    if array.count or not path.steps or not path.steps[-1].name:
        return False
    record, member = path.member()
    return member is record.members[-1]


def find_path(local: Path, target: Btf, target_id: int, kind: int) -> Path | None:
    """The same field, enumerator or type in candidate `target_id`; None if it has none."""
    compare = Comparison(local.btf, target)
    path = Path(target, target_id)
    if kind == TYPE_MATCHES:
        return path if compare.types_match(local.root, target_id) else None
    if kind in (TARGET_ID, TYPE_EXISTS, TYPE_SIZE):
        return path if compare.types_compatible(local.root, target_id) else None
    at = target.resolve_id(target_id)
    if kind in (ENUM_EXISTS, ENUM_VALUE):
        record = target.get(at)
        wanted = essential(local.steps[0].name)
        for index, (name, _) in enumerate(record.values if isinstance(record, Enum) else ()):
            if essential(name) == wanted:
                path.steps.append(Access(at, index, name))
                return path
        return None
    for number, step in enumerate(local.steps):
        if step.name:
            wanted_type = _member_type(local.btf, step)
            found = _find_member(compare, path, at, step.name, wanted_type, 0)
            if found is None:
                return None
            at = found
            continue
        if number:
            array = target.get(at)
            if not isinstance(array, Array):
                return None
            if step.index >= array.count and not _flexible(path, array):
                return None
            at = target.resolve_id(array.type)
        path.bits += step.index * target.sizeof(at) * 8 if step.index else 0
        path.steps.append(Access(at, step.index))
    return path


def _member_type(btf: Btf, step: Access) -> int:
    record = btf.get(step.type_id)
    assert isinstance(record, Struct)
    return record.members[step.index].type


def _find_member(
    compare: Comparison, path: Path, at: int, name: str, wanted: int, depth: int
) -> int | None:
    """Adds the step to the member `name`, looked for in anonymous members too; its type's id."""
    record = path.btf.get(at)
    compare.steps -= 1
    if depth > DEPTH_LIMIT or compare.steps < 0:
        raise path.btf.fail(f"type {at} is nested too deeply", record.name)
    for index, member in enumerate(record.members if isinstance(record, Struct) else ()):
        if not member.name:
            path.bits += member.bit_offset
            inner = path.btf.resolve_id(member.type)
            found = _find_member(compare, path, inner, name, wanted, depth + 1)
            if found is not None:
                return found
            path.bits -= member.bit_offset
        elif member.name == name:
            if not compare.fields_compatible(wanted, member.type):
                return None
            path.bits += member.bit_offset
            path.steps.append(Access(at, index, name))
            return path.btf.resolve_id(member.type)
    return None


def value_of(path: Path | None, kind: int) -> Value | None:
    """The relocation's answer at a path; None if there is no path and the kind needs one."""
    if kind in (FIELD_EXISTS, TYPE_EXISTS, TYPE_MATCHES, ENUM_EXISTS):
        return Value(int(path is not None))
    if kind in (LOCAL_ID, TARGET_ID, TYPE_SIZE):
        if path is None:
            return Value(0)
        if kind == TYPE_SIZE:
            return Value(path.btf.sizeof(path.root))
        return Value(path.root, checked=False)
    if path is None:
        return None
    if kind == ENUM_VALUE:
        record = path.btf.get(path.steps[0].type_id)
        assert isinstance(record, Enum)
        number = record.values[path.steps[0].index][1]
        # Compilers did not always say that an enumeration is signed: libbpf takes all 32 bits so.
        return Value(number - (1 << 32) if record.size <= 4 and number >> 31 == 1 else number)
    if not path.steps[-1].name:
        return _element_value(path, kind)
    return _member_value(path, kind)


def _element_value(path: Path, kind: int) -> Value:
    """A field that is an element of an array, or the whole of what a pointer points to."""
    type_id = path.steps[-1].type_id
    if kind == BYTE_OFFSET:
        return Value(path.bits // 8, True, *_memory_size(path.btf, type_id))
    if kind == BYTE_SIZE:
        return Value(path.btf.sizeof(type_id))
    raise path.btf.fail(f"CO-RE relocation for {KINDS[kind]} is not of a member")


def _member_value(path: Path, kind: int) -> Value:
    _, member = path.member()
    type_id = path.btf.resolve_id(member.type)
    record = path.btf.get(type_id)
    if kind == SIGNED:
        return Value(int(isinstance(record, (Int, Enum)) and record.signed))
    width = member.bitfield_size
    if width:
        size, start = _containing_word(path, record, width)
    else:
        size, start = path.btf.sizeof(type_id), path.bits // 8
        width = size * 8
    checked = not member.bitfield_size  # the compiler may have chosen another word
    if kind == BYTE_OFFSET:
        if not checked:
            return Value(start, False)
        return Value(start, True, *_memory_size(path.btf, type_id))
    if kind == BYTE_SIZE:
        return Value(size, checked)
    if kind == RSHIFT:
        return Value(64 - width & 0xFFFFFFFF)
    return Value(64 - (path.bits + width - start * 8) & 0xFFFFFFFF, checked)


def _containing_word(path: Path, record: BtfType, width: int) -> tuple[int, int]:
    """Size and byte offset of the smallest aligned word, of the field's type or wider."""
    size = record.size if isinstance(record, (Int, Enum)) else 0
    if size < 1:
        raise path.btf.fail("bit field is not of an integer type", path.steps[-1].name)
    while True:
        start = path.bits // 8 // size * size
        if path.bits + width - start * 8 <= size * 8:
            return size, start
        if size >= 8:
            raise path.btf.fail("bit field is in no word of 8 bytes", path.steps[-1].name)
        size *= 2


def _memory_size(btf: Btf, type_id: int) -> tuple[int, str]:
    """Size and kind of what a load of a field takes: one element where it is an array."""
    for _ in range(DEPTH_LIMIT):
        record = btf.resolve(type_id)
        if not isinstance(record, Array):
            break
        type_id = record.type
    kind = kind_of(record)
    if isinstance(record, Int):
        kind = "signed" if record.signed else "unsigned"
    elif isinstance(record, Ptr):
        kind = "pointer"
    try:
        return btf.sizeof(type_id), kind
    except ObjectError:
        return 0, kind
