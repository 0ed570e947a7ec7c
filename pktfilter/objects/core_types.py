"""When a local type means a target's one: the rules of libbpf's documentation of CO-RE.

Qualifiers and typedefs never matter; neither does what follows `___` in a name (its flavour).
Types of a field are *compatible* when reading one as the other makes sense; types as a whole are
*compatible* in kind and shape, and *match* also in names and members. Hostile targets: every
recursion is bounded by `DEPTH_LIMIT`, and comparisons of one pair by `STEP_LIMIT`.
"""

from __future__ import annotations

from .btf import DEPTH_LIMIT, Btf
from .btf_types import (
    Array,
    BtfType,
    Enum,
    Float,
    FuncProto,
    Fwd,
    Int,
    Modifier,
    Ptr,
    Struct,
    Void,
)

STEP_LIMIT = 20_000


def essential(name: str) -> str:
    """The name without its flavour: `task_struct___old` is `task_struct`."""
    at = name.rfind("___")
    return name[:at] if at > 0 and at + 3 < len(name) else name


def kind_of(record: BtfType) -> str:
    """What must be equal between candidates; both sizes of enumeration are one kind."""
    if isinstance(record, Struct):
        return "union" if record.is_union else "struct"
    return record.kind if isinstance(record, Modifier) else type(record).__name__.lower()


class Comparison:
    """Compares types of `local` with types of `target`; one object a pair of types."""

    def __init__(self, local: Btf, target: Btf) -> None:
        self.local = local
        self.target = target
        self.steps = STEP_LIMIT

    def _pair(self, local_id: int, target_id: int, depth: int) -> tuple[BtfType, BtfType]:
        self.steps -= 1
        if depth > DEPTH_LIMIT or self.steps < 0:
            raise self.target.fail(f"type {target_id} is nested too deeply to be compared")
        return self.local.resolve(local_id), self.target.resolve(target_id)

    def fields_compatible(self, local_id: int, target_id: int) -> bool:
        """Whether a field of one type may stand for one of the other."""
        for depth in range(DEPTH_LIMIT):
            mine, theirs = self._pair(local_id, target_id, depth)
            if isinstance(mine, Struct) and isinstance(theirs, Struct):
                return True
            if kind_of(mine) != kind_of(theirs):
                return False
            if isinstance(mine, (Ptr, Float)):
                return True
            if isinstance(mine, (Fwd, Enum)):
                names = essential(mine.name), essential(theirs.name)
                return names[0] == names[1] or not all(names)
            if isinstance(mine, Int) and isinstance(theirs, Int):
                return mine.offset == theirs.offset == 0
            if not isinstance(mine, Array) or not isinstance(theirs, Array):
                return False
            local_id, target_id = mine.type, theirs.type
        return False

    def types_compatible(self, local_id: int, target_id: int, depth: int = 0) -> bool:
        """Whether the types are of one shape, names apart."""
        for level in range(depth, DEPTH_LIMIT):
            mine, theirs = self._pair(local_id, target_id, level)
            if kind_of(mine) != kind_of(theirs):
                return False
            if isinstance(mine, Int) and isinstance(theirs, Int):
                return mine.offset == theirs.offset == 0
            if isinstance(mine, FuncProto) and isinstance(theirs, FuncProto):
                if len(mine.params) != len(theirs.params):
                    return False
                for one, other in zip(mine.params, theirs.params, strict=True):
                    if not self.types_compatible(one.type, other.type, level + 1):
                        return False
                local_id, target_id = mine.type, theirs.type
            elif isinstance(mine, (Ptr, Array)) and isinstance(theirs, (Ptr, Array)):
                local_id, target_id = mine.type, theirs.type
            else:
                return isinstance(mine, (Void, Struct, Enum, Fwd))
        return False

    def types_match(
        self, local_id: int, target_id: int, depth: int = 0, *, behind_pointer: bool = False
    ) -> bool:
        """Whether the target's type can take the local one's place, names and members included."""
        mine, theirs = self._pair(local_id, target_id, depth)
        if mine.name and theirs.name and essential(mine.name) != essential(theirs.name):
            return False
        if kind_of(mine) != kind_of(theirs):
            return behind_pointer and _forward(mine, theirs)
        if isinstance(mine, Int) and isinstance(theirs, Int):
            return mine.size == theirs.size and mine.signed == theirs.signed
        if isinstance(mine, Enum) and isinstance(theirs, Enum):
            names = {essential(name) for name, _ in theirs.values}
            return all(essential(name) in names for name, _ in mine.values)
        if isinstance(mine, Struct) and isinstance(theirs, Struct):
            return behind_pointer or self._members_match(mine, theirs, depth + 1)
        if isinstance(mine, FuncProto) and isinstance(theirs, FuncProto):
            pairs = [(mine.type, theirs.type)]
            pairs += [(a.type, b.type) for a, b in zip(mine.params, theirs.params, strict=False)]
            return len(mine.params) == len(theirs.params) and all(
                self.types_match(one, other, depth + 1) for one, other in pairs
            )
        if isinstance(mine, Array) and isinstance(theirs, Array):
            same = mine.count == theirs.count
            return same and self.types_match(mine.type, theirs.type, depth + 1)
        if isinstance(mine, Ptr) and isinstance(theirs, Ptr):
            return self.types_match(mine.type, theirs.type, depth + 1, behind_pointer=True)
        return isinstance(mine, (Void, Fwd)) or (
            isinstance(mine, Float) and isinstance(theirs, Float) and mine.size == theirs.size
        )

    def _members_match(self, mine: Struct, theirs: Struct, depth: int) -> bool:
        if len(mine.members) > len(theirs.members):
            return False
        return all(
            any(
                essential(member.name) == essential(other.name)
                and self.types_match(member.type, other.type, depth)
                for other in theirs.members
            )
            for member in mine.members
        )


def _forward(mine: BtfType, theirs: BtfType) -> bool:
    """Whether one is a forward declaration of the other's kind of type."""
    pair = (mine, theirs)
    unions = {t.is_union for t in pair if isinstance(t, (Struct, Fwd))}
    return all(isinstance(t, (Struct, Fwd)) for t in pair) and len(unions) == 1
