"""Types as C that compiles to the same layout: definitions in order, forward declarations, padding.

What has one name for several types is told apart by `___2`, `___3`, ..., which CO-RE takes for flavours.
Tags (`btf_type_tag`, `btf_decl_tag`) are left out; functions and variables are no types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .btf import Btf
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
from .c_layout import Layouts

_DEPTH_LIMIT = 96
#: Text of one definition; anonymous parts repeated by hostile types would make it grow without end.
_TEXT_LIMIT = 4 << 20
_INT_WORDS = {"signed", "unsigned", "char", "short", "int", "long", "_Bool", "__int128"}
_INTS = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}
_FLOATS = {2: "_Float16", 4: "float", 8: "double", 16: "long double"}
_MODES = {1: "QI", 2: "HI", 8: "DI"}
_KEYWORDS = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while", "_Bool", "_Complex", "asm", "typeof",
    "__int128", "_Float16", "__builtin_va_list",
}  # fmt: skip
_BAD = re.compile(r"[^A-Za-z0-9_]")


def c_types(btf: Btf) -> Iterator[str]:
    """The definitions of all named types and anonymous enumerations, each before its use.

    Raises `ObjectError` where a type cannot be said in C: one that contains itself, overlapping members.
    """
    writer = _Writer(btf)
    for type_id, record in enumerate(btf.types):
        if record.name or isinstance(record, Enum):
            writer.need(type_id, True, 0)
        yield from writer.out
        writer.out.clear()


class _Writer:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.layouts = Layouts(btf)
        self.out: list[str] = []
        self.budget = _TEXT_LIMIT
        #: 1 while its needs are being met, 2 when it stands.
        self.state: dict[int, int] = {}
        self.declared: set[str] = set()
        self.names: dict[int, str] = {}
        self._name_all()

    # --- names

    def _name_all(self) -> None:
        tags: set[str] = set()
        ordinary: set[str] = set()
        defined: dict[tuple[bool, str], str] = {}
        for type_id, record in enumerate(self.btf.types):
            if isinstance(record, (Struct, Enum)) and record.name:
                name = self.names[type_id] = _unique(record.name, tags)
                if isinstance(record, Struct):
                    defined.setdefault((record.is_union, record.name), name)
            elif isinstance(record, Modifier) and record.kind == "typedef":
                self.names[type_id] = _unique(record.name, ordinary)
        for type_id, record in enumerate(self.btf.types):
            if isinstance(record, Fwd):
                key = (record.is_union, record.name)
                if key not in defined:
                    defined[key] = _unique(record.name, tags)
                self.names[type_id] = defined[key]
        self.ordinary = ordinary

    # --- order

    def need(self, type_id: int, whole: bool, depth: int) -> None:
        """Write what must stand before a use of the type; `whole`: its size is needed too."""
        record = self.btf.get(type_id)
        if depth > _DEPTH_LIMIT:
            raise self.btf.fail(f"type {type_id} is nested too deeply or contains itself")
        if isinstance(record, (Struct, Enum)):
            self._need_tagged(type_id, record, whole, depth)
        elif isinstance(record, Fwd):
            self._declare_forward(type_id, record.is_union)
        elif isinstance(record, Modifier):
            self.need(record.type, whole, depth + 1)
            if record.kind == "typedef" and self.state.get(type_id) != 2:
                self.state[type_id] = 2
                self._write(f"typedef {self.declare(record.type, self.names[type_id])};")
        elif isinstance(record, Array):
            self.need(record.type, True, depth + 1)
        elif isinstance(record, Ptr):
            self.need(record.type, False, depth + 1)
        elif isinstance(record, FuncProto):
            for each in (record.type, *(param.type for param in record.params)):
                self.need(each, False, depth + 1)

    def _need_tagged(self, type_id: int, record: Struct | Enum, whole: bool, depth: int) -> None:
        state = self.state.get(type_id, 0)
        if isinstance(record, Struct) and record.name and not whole:
            self._declare_forward(type_id, record.is_union)
            return
        if state == 2:
            return
        if state == 1:
            raise self.btf.fail(f"type {type_id} contains itself", record.name)
        self.state[type_id] = 1
        for member in record.members if isinstance(record, Struct) else ():
            self.need(member.type, True, depth + 1)
        self.state[type_id] = 2
        if record.name or (isinstance(record, Enum) and not depth):
            self._write(self._body(type_id, 0) + ";")

    def _declare_forward(self, type_id: int, is_union: bool) -> None:
        text = f"{'union' if is_union else 'struct'} {self.names[type_id]};"
        if text not in self.declared and self.state.get(type_id) != 2:
            self.declared.add(text)
            self._write(text)

    def _write(self, text: str) -> None:
        self.budget = _TEXT_LIMIT
        self.out.append(text + "\n")

    # --- text

    def declare(self, type_id: int, name: str, level: int = 0) -> str:
        """The declaration of `name` with a type, without a semicolon."""
        quals: list[str] = []
        for _ in range(_DEPTH_LIMIT):
            record = self.btf.get(type_id)
            if isinstance(record, Ptr):
                name = "*" + " ".join([*quals, name]) if quals else "*" + name
                quals = []
                type_id = record.type
            elif isinstance(record, Array):
                name = f"({name})" if name.startswith("*") else name
                name += f"[{record.count}]"
                type_id = record.type
            elif isinstance(record, FuncProto):
                name = f"({name})" if name.startswith("*") else name
                name += f"({self._params(record, level)})"
                quals, type_id = [], record.type
            elif isinstance(record, Modifier) and record.kind != "typedef":
                if record.kind != "type_tag" and record.kind not in quals:
                    quals.append(record.kind)
                type_id = record.type
            else:
                # Only pointers can be restrict.
                base = [q for q in quals if q != "restrict"] + [self._base(type_id, record, level)]
                return " ".join([*base, name] if name else base)
        raise self.btf.fail(f"type {type_id} is nested too deeply or contains itself")

    def _params(self, record: FuncProto, level: int) -> str:
        if level > _DEPTH_LIMIT:
            raise self.btf.fail("prototypes are nested too deeply")
        params = list(record.params)
        dots = bool(params) and params[-1].type == 0 and not params[-1].name
        texts = [self.declare(p.type, "", level + 1) for p in params[: -1 if dots else None]]
        if dots:
            return ", ".join([*texts, "..."]) if texts else ""
        return ", ".join(texts) or "void"

    def _base(self, type_id: int, record: BtfType, level: int) -> str:
        if isinstance(record, Void):
            return "void"
        if isinstance(record, Int):
            return self._int(record)
        if isinstance(record, Float):
            if record.size not in _FLOATS:
                raise self.btf.fail(f"C has no number of {record.size} bytes", record.name)
            return _FLOATS[record.size]
        if isinstance(record, Modifier):
            return self.names[type_id]
        if isinstance(record, Fwd):
            return f"{'union' if record.is_union else 'struct'} {self.names[type_id]}"
        if isinstance(record, (Struct, Enum)):
            return self._head(type_id, record) if record.name else self._body(type_id, level)
        raise self.btf.fail(f"type {type_id} is not one that a declaration can have", record.name)

    def _int(self, record: Int) -> str:
        name = "_Bool" if record.name == "bool" and record.size == 1 else record.name
        if name and set(name.split()) <= _INT_WORDS:
            return name
        if record.size not in _INTS:
            raise self.btf.fail(f"C has no integer of {record.size} bytes", record.name)
        return ("signed " if record.signed else "unsigned ") + _INTS[record.size]

    def _head(self, type_id: int, record: Struct | Enum) -> str:
        word = "enum"
        if isinstance(record, Struct):
            word = "union" if record.is_union else "struct"
        return f"{word} {self.names[type_id]}" if record.name else word

    def _body(self, type_id: int, level: int) -> str:
        """A struct, union or enumeration with its braces."""
        record = self.btf.get(type_id)
        if level > _DEPTH_LIMIT:
            raise self.btf.fail(f"type {type_id} is nested too deeply or contains itself")
        indent = "\t" * (level + 1)
        lines: list[str] = []
        attribute = ""
        assert isinstance(record, (Struct, Enum))
        if isinstance(record, Struct):
            layout = self.layouts.of(type_id)
            attribute = " __attribute__((packed))" if layout.packed else ""
            used: set[str] = set()
            for place in layout.places:
                lines += place.before
                name = _unique(place.member.name, used) if place.member.name else ""
                text = self.declare(place.member.type, name, level + 1)
                lines.append(f"{text} : {place.bits};" if place.bits else f"{text};")
            lines += layout.after
        else:
            for label, value in record.values:
                suffix = "" if record.size <= 4 else "LL" if record.signed else "ULL"
                lines.append(f"{_unique(label, self.ordinary)} = {value}{suffix},")
            if record.size in _MODES:
                attribute = f" __attribute__((mode({_MODES[record.size]})))"
            if not lines:
                return self._head(type_id, record)
        text = "".join(f"{indent}{line}\n" for line in lines)
        self.budget -= len(text)
        if self.budget < 0:
            raise self.btf.fail("definition is too large", record.name)
        end = "\t" * level + "}"
        return f"{self._head(type_id, record)} {{\n{text}{end}{attribute}"


def _unique(name: str, known: set[str]) -> str:
    """The name as C can have it, and none of the known ones, which it then joins."""
    text = _BAD.sub("_", name) or "_"
    if text[0].isdigit() or text in _KEYWORDS:
        text = "_" + text
    found, number = text, 1
    while found in known:
        number += 1
        found = f"{text}___{number}"
    known.add(found)
    return found
