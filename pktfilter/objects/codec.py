"""Values of C types as Python values, and back: numbers, addresses, text, arrays, structs, unions.

A codec turns one type's bytes into a Python value and a Python value into bytes. Bytes of the type's size
stand for any value, at every level. All types are little-endian, as BPF objects here are; the network
order types `__be16`, `__be32` and `__be64` store their value's bytes the other way round.

`codec_btf` makes codecs of BTF types.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

_SHOWN = 60
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4}", re.ASCII)
_PADDING = re.compile(r"_*(pad|padding|reserved|unused|rsvd)_?\d*", re.ASCII)


class Mismatch(Exception):  # noqa: N818
    """A value that its type cannot hold; `path` says where in the value, and grows on the way out."""

    def __init__(self, message: str, found: object = None, expected: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.found = found
        self.expected = expected
        self.path = ""

    def under(self, step: str) -> Mismatch:
        """This, as seen from the value that holds the wrong one."""
        self.path = step + self.path
        return self


def shown(value: object) -> str:
    """A value as messages show it: with its type, and never long."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, (Mapping, list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 3] + "..."
    return text if isinstance(value, int) else f"{text} ({type(value).__name__})"


def pack_address(text: Any, size: int) -> bytes:
    """The bytes of an address of 4 or 16 bytes, as a packet has them; raises `OSError`, `ValueError` or `TypeError`."""
    import socket  # not needed by most programs' maps, and slow to import

    return socket.inet_pton(socket.AF_INET if size == 4 else socket.AF_INET6, text)


def show_address(data: bytes) -> str:
    """The text of an address of 4 or 16 bytes."""
    import socket

    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def is_bytes(value: object) -> bool:
    """Whether a value stands for itself, as bytes."""
    return isinstance(value, (bytes, bytearray, memoryview))


class Codec:
    """One type of `size` bytes; `kind` names it in messages.

    `cost` is what decoding takes at most, in parts; `covers` the number of bits that mean something.
    """

    size: int
    kind: str
    cost = 1
    #: Text given for the type is its value: text that merely holds a number or bytes in hex is not looked for.
    textual: ClassVar[bool] = False

    @property
    def covers(self) -> int:
        """Bits of the type that decoding shows."""
        return 8 * self.size

    def encode(self, value: Any) -> bytes:
        """`value` as bytes of the type's size; raises `Mismatch`."""
        if is_bytes(value):
            return self.raw(bytes(value))
        return self.pack(value)

    def raw(self, value: bytes) -> bytes:
        """Bytes given for the value."""
        if len(value) != self.size:
            raise Mismatch(
                "the number of bytes is wrong", f"{len(value)} bytes", f"{self.size} bytes"
            )
        return value

    def pack(self, value: Any) -> bytes:
        """A value that is not bytes."""
        raise Mismatch(
            "there is no value of this type but bytes", shown(value), f"{self.size} bytes"
        )

    def decode(self, data: bytes) -> Any:
        """The value of `size` bytes."""
        return data


class Scalar(Codec):
    """A number of `bits` bits in `size` bytes, or in a bit field; subclasses say what numbers mean."""

    bits: int

    @property
    def covers(self) -> int:
        return self.bits

    def pack(self, value: Any) -> bytes:
        return self.number(value).to_bytes(self.size, "little")

    def decode(self, data: bytes) -> Any:
        return self.show(int.from_bytes(data, "little"))

    def number(self, value: Any) -> int:
        """The bits of a value, as an unsigned number."""
        raise Mismatch("there is no such value", shown(value), self.kind)

    def show(self, number: int) -> Any:
        """The value of these bits."""
        return number


def _whole(value: Any, expected: str) -> int:
    """An integer that is no bool; what has `__index__` is one."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise Mismatch("the value is of the wrong type", shown(value), expected)
    return int(value.__index__())


class Int(Scalar):
    """An integer. `lenient`: a negative number may be given where the type is not known to be signed."""

    def __init__(
        self, size: int, bits: int, signed: bool, kind: str, *, lenient: bool = False
    ) -> None:
        self.size, self.bits, self.signed, self.kind = size, bits, signed, kind
        self.low = -(1 << (bits - 1)) if signed or lenient else 0
        self.high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1

    def number(self, value: Any) -> int:
        expected = f"a number from {self.low} to {self.high} ({self.kind})"
        if isinstance(value, str) and self.bits == 32 and not self.signed:
            return int.from_bytes(ipv4(value, f"{expected}, or an IPv4 address"), "little")
        number = _whole(value, expected)
        if not self.low <= number <= self.high:
            raise Mismatch("the number is out of range", shown(number), expected)
        return number & ((1 << self.bits) - 1)

    def show(self, number: int) -> int:
        return number - (1 << self.bits) if self.signed and number >> (self.bits - 1) else number


class Net(Int):
    """A number in network order (`__be16`, `__be32`, `__be64`); one of four bytes is an IPv4 address."""

    def __init__(self, size: int, kind: str) -> None:
        super().__init__(size, 8 * size, False, kind)

    def pack(self, value: Any) -> bytes:
        if type(value).__module__ == "ipaddress":
            value = str(value)
        if isinstance(value, str) and self.size == 4:
            return ipv4(value, f"an IPv4 address or a number ({self.kind})")
        if isinstance(value, str):
            raise Mismatch(
                "the value is of the wrong type", shown(value), f"a number ({self.kind})"
            )
        return self.number(value).to_bytes(self.size, "big")

    def decode(self, data: bytes) -> Any:
        if self.size == 4:
            return show_address(data)
        return int.from_bytes(data, "big")


def ipv4(text: str, expected: str) -> bytes:
    """The four bytes of a dotted address, as a packet has them."""
    try:
        return pack_address(text, 4)
    except (OSError, ValueError):
        raise Mismatch("the text is no IPv4 address", shown(text), expected) from None


class Bool(Scalar):
    """`_Bool`: true and false. Bytes that are neither show as their number."""

    def __init__(self, size: int, bits: int, kind: str) -> None:
        self.size, self.bits, self.kind = size, bits, kind

    def number(self, value: Any) -> int:
        if not isinstance(value, int) or value not in (0, 1):
            raise Mismatch("the value is no truth value", shown(value), "true or false")
        return int(value)

    def show(self, number: int) -> bool | int:
        return bool(number) if number < 2 else number


class Enum(Scalar):
    """An enumeration: names, or numbers. A number without a name shows as it is."""

    def __init__(
        self, size: int, bits: int, signed: bool, names: Iterable[tuple[str, int]], kind: str
    ) -> None:
        self.size, self.bits, self.signed, self.kind = size, bits, signed, kind
        mask = (1 << bits) - 1
        self.by_name = {name: number & mask for name, number in names}
        self.by_number: dict[int, str] = {}
        for name, number in self.by_name.items():
            self.by_number.setdefault(number, name)

    def number(self, value: Any) -> int:
        if isinstance(value, str):
            if value in self.by_name:
                return self.by_name[value]
            some = ", ".join(list(self.by_name)[:6]) + (", ..." if len(self.by_name) > 6 else "")
            raise Mismatch("the enumeration has no such name", shown(value), f"one of: {some}")
        low, high = -(1 << (self.bits - 1)), (1 << self.bits) - 1
        expected = f"a name or a number from {low} to {high} ({self.kind})"
        number = _whole(value, expected)
        if not low <= number <= high:
            raise Mismatch("the number is out of range", shown(number), expected)
        return number & high

    def show(self, number: int) -> str | int:
        if number in self.by_number:
            return self.by_number[number]
        return number - (1 << self.bits) if self.signed and number >> (self.bits - 1) else number


class Float(Codec):
    """A floating-point number of 4 or 8 bytes."""

    def __init__(self, size: int, kind: str) -> None:
        self.size, self.kind = size, kind
        self._form = struct.Struct("<f" if size == 4 else "<d")

    def pack(self, value: Any) -> bytes:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Mismatch(
                "the value is of the wrong type", shown(value), f"a number ({self.kind})"
            )
        try:
            return self._form.pack(value)
        except (OverflowError, struct.error):
            raise Mismatch("the number is out of range", shown(value), self.kind) from None

    def decode(self, data: bytes) -> float:
        return float(self._form.unpack(data)[0])


class Pointer(Codec):
    """An address, which means nothing outside the program that wrote it: shown, but only 0 is taken."""

    def __init__(self, size: int) -> None:
        self.size, self.kind = size, "a pointer"

    def pack(self, value: Any) -> bytes:
        if value is None or (type(value) is int and value == 0):
            return bytes(self.size)
        raise Mismatch("a pointer cannot be set", shown(value), "0, or none")

    def decode(self, data: bytes) -> int:
        return int.from_bytes(data, "little")


class Chars(Codec):
    """`char[n]`: text with zeros behind it. Bytes that are no such text show as bytes."""

    textual = True

    def __init__(self, size: int) -> None:
        self.size, self.kind = size, f"char[{size}]"

    def raw(self, value: bytes) -> bytes:
        if len(value) > self.size:
            raise Mismatch("the text is too long", f"{len(value)} bytes", f"at most {self.size}")
        return value.ljust(self.size, b"\0")

    def pack(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise Mismatch("the value is of the wrong type", shown(value), f"text ({self.kind})")
        try:
            return self.raw(value.encode())
        except UnicodeEncodeError:
            raise Mismatch("the text cannot be written as UTF-8", shown(value)) from None

    def decode(self, data: bytes) -> str | bytes:
        text = data.rstrip(b"\0")
        if b"\0" in text:
            return data
        try:
            return text.decode()
        except UnicodeDecodeError:
            return data


class Array(Codec):
    """`count` elements. Those that can hold an address are one as text: IPv4, MAC, or IPv6."""

    def __init__(self, element: Codec, count: int, kind: str) -> None:
        self.element, self.count = element, count
        self.size, self.kind = element.size * count, kind
        plain = type(element) in (Int, Net) and not getattr(element, "signed", True)
        byte = plain and element.size == 1
        self.text: str | None = None  # which address it can be
        if plain and self.size == 16:
            self.text = "IPv6"
        elif byte and count in (4, 6):
            self.text = "IPv4" if count == 4 else "MAC"
        # Those that are hardly ever something else show so.
        self._shows = (self.text == "MAC") or (
            self.text == "IPv6" and (byte or (type(element) is Net and element.size == 4))
        )
        self._bytes = byte
        self.cost = 1 + (count // 64 if byte else count * element.cost)

    @property
    def covers(self) -> int:
        return self.count * self.element.covers

    def pack(self, value: Any) -> bytes:
        if self.text and type(value).__module__ == "ipaddress":
            value = str(value)
        if isinstance(value, str) and self.text:
            return self._address(value)
        expected = f"{self.count} elements ({self.kind})"
        if self.text:
            expected += f", or {'a MAC' if self.text == 'MAC' else f'an {self.text}'} address"
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise Mismatch("the value is of the wrong type", shown(value), expected)
        if len(value) != self.count:
            raise Mismatch("the number of elements is wrong", len(value), expected)
        parts = []
        for index, each in enumerate(value):
            try:
                parts.append(self.element.encode(each))
            except Mismatch as error:
                raise error.under(f"[{index}]") from None
        return b"".join(parts)

    def _address(self, text: str) -> bytes:
        if self.text == "IPv4":
            return ipv4(text, f"an IPv4 address ({self.kind})")
        if self.text == "MAC":
            if not _MAC.fullmatch(text):
                raise Mismatch(
                    "the text is no MAC address", shown(text), "such as 02:00:00:00:00:01"
                )
            return bytes.fromhex(text.replace(":", "").replace("-", ""))
        try:
            return pack_address(text, 16)
        except (OSError, ValueError):
            raise Mismatch(
                "the text is no IPv6 address", shown(text), "such as 2001:db8::1"
            ) from None

    def decode(self, data: bytes) -> Any:
        if self._shows:
            return data.hex(":") if self.text == "MAC" else show_address(data)
        if self._bytes:
            return list(data)
        step = self.element.size
        return [self.element.decode(data[at : at + step]) for at in range(0, self.size, step)]


class Address(Codec):
    """`struct in_addr` and `struct in6_addr`: an address as text."""

    def __init__(self, size: int) -> None:
        self.size, self.kind = size, "IPv4" if size == 4 else "IPv6"

    def pack(self, value: Any) -> bytes:
        text = str(value) if type(value).__module__ == "ipaddress" else value
        try:
            return pack_address(text, self.size)
        except (OSError, ValueError, TypeError):
            raise Mismatch(f"the value is no {self.kind} address", shown(value)) from None

    def decode(self, data: bytes) -> str:
        return show_address(data)


def is_padding(name: str) -> bool:
    """Whether a member is there for the layout alone, so that it may be left out."""
    return _PADDING.fullmatch(name) is not None
