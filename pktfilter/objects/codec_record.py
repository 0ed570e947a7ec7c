"""Structs and unions as dicts, bit fields and members without a name included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .codec import Codec, Mismatch, Scalar, is_padding, shown

_NAMES = 12  # of members, that a message lists


@dataclass(slots=True)
class Part:
    """A member at a bit offset. `bits` is 0 unless it is a bit field; one without a name is a `Record`."""

    name: str
    codec: Codec
    bit: int
    bits: int = 0

    def put(self, into: bytearray, value: Any) -> None:
        """Sets the member in zeroed bytes of its record."""
        if not self.bits:
            into[self.bit // 8 : self.bit // 8 + self.codec.size] = self.codec.encode(value)
            return
        assert isinstance(self.codec, Scalar)
        first, last = self.span
        number = self.codec.number(value) << self.bit % 8
        known = int.from_bytes(into[first:last], "little")
        into[first:last] = (known | number).to_bytes(last - first, "little")

    def get(self, data: bytes) -> Any:
        """The member's value in its record's bytes."""
        if not self.bits:
            return self.codec.decode(data[self.bit // 8 : self.bit // 8 + self.codec.size])
        assert isinstance(self.codec, Scalar)
        first, last = self.span
        number = int.from_bytes(data[first:last], "little") >> self.bit % 8
        return self.codec.show(number & ((1 << self.bits) - 1))

    @property
    def span(self) -> tuple[int, int]:
        """The bytes that hold the member."""
        width = self.bits or 8 * self.codec.size
        return self.bit // 8, (self.bit + width + 7) // 8

    @property
    def names(self) -> frozenset[str]:
        """By which names a dict gives the member, or parts of it."""
        if self.name:
            return frozenset((self.name,))
        assert isinstance(self.codec, Record)
        return self.codec.names

    def chosen(self, value: Mapping[str, Any]) -> Any:
        """What a dict of the record gives for this member."""
        if self.name:
            return value[self.name]
        return {name: value[name] for name in value if name in self.names}


class Record(Codec):
    """A struct, or a union. Members of members without a name are named as if they were its own.

    A struct wants every member, but for those that are padding by name. A union wants one, or several
    that mean the same bytes, which is how it shows.
    """

    def __init__(self, parts: list[Part], size: int, kind: str, *, union: bool) -> None:
        self.parts, self.size, self.kind, self.union = parts, size, kind, union
        self.cost = 1 + sum(part.codec.cost for part in parts)
        self.names: frozenset[str] = frozenset().union(*(part.names for part in parts))

    @property
    def covers(self) -> int:
        sizes = [part.bits or part.codec.covers for part in self.parts]
        return max(sizes, default=0) if self.union else sum(sizes)

    def pack(self, value: Any) -> bytes:
        if not isinstance(value, Mapping):
            raise Mismatch(
                "the value is of the wrong type",
                shown(value),
                f"a dict of {self._listed()}, or {self.size} bytes ({self.kind})",
            )
        for name in value:
            if name not in self.names:
                raise Mismatch(
                    "there is no such field", shown(name), f"{self._listed()} ({self.kind})"
                )
        return self._union(value) if self.union else self._struct(value)

    def _listed(self) -> str:
        ordered = [
            name
            for part in self.parts
            for name in ([part.name] if part.name else sorted(part.names))
        ]
        rest = len(ordered) - _NAMES
        return ", ".join(ordered[:_NAMES]) + (f" and {rest} more" if rest > 0 else "")

    def _struct(self, value: Mapping[str, Any]) -> bytes:
        into = bytearray(self.size)
        for part in self.parts:
            if part.name and part.name not in value:
                if is_padding(part.name):
                    continue
                raise Mismatch("the field is missing", expected=part.codec.kind).under(
                    f".{part.name}"
                )
            self._put(into, part, part.chosen(value))
        return bytes(into)

    def _union(self, value: Mapping[str, Any]) -> bytes:
        given = [part for part in self.parts if not part.names.isdisjoint(value)]
        if not given:
            raise Mismatch("no field of the union is given", expected=f"one of: {self._listed()}")
        base = max(given, key=lambda part: part.bits or part.codec.covers)
        into = bytearray(self.size)
        self._put(into, base, base.chosen(value))
        for part in given:
            if part is base:
                continue
            wanted, got = bytearray(self.size), bytearray(self.size)
            self._put(wanted, part, part.chosen(value))
            part.put(got, part.get(bytes(into)))
            if got != wanted:
                raise Mismatch(
                    "the fields of the union do not mean the same bytes",
                    shown(part.chosen(value)),
                    "one of them alone",
                ).under(f".{part.name}" if part.name else "")
        return bytes(into)

    @staticmethod
    def _put(into: bytearray, part: Part, value: Any) -> None:
        try:
            part.put(into, value)
        except Mismatch as error:
            raise error.under(f".{part.name}" if part.name else "") from None

    def decode(self, data: bytes) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for part in self.parts:
            if part.name:
                result[part.name] = part.get(data)
            else:
                result.update(part.get(data))
        return result

    def named(self, name: str) -> Codec | None:
        """The codec of the member with this name; None where there is none."""
        for part in self.parts:
            if part.name == name:
                return part.codec
            if not part.name and name in part.names:
                assert isinstance(part.codec, Record)
                return part.codec.named(name)
        return None
