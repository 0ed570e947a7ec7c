"""One row of what `ip -j` prints, read with errors that name section, row and key."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import InputError

INET, INET6 = 2, 10
U32 = 0xFFFFFFFF
MAIN = 254
_TABLES = {"main": MAIN, "local": 255, "default": 253}
_NAMES = {INET: "IPv4", INET6: "IPv6"}
_MISSING = object()


def _packed(text: str, family: int) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET if family == INET else socket.AF_INET6, text)
    except (OSError, ValueError):  # ValueError: a NUL within
        return None


class Row:
    """A row by place; every method raises `InputError` for what cannot be there."""

    def __init__(self, file: str | None, section: str, index: int, data: object) -> None:
        self.file, self._section, self._index = file, section, index
        if not isinstance(data, Mapping):
            raise InputError(
                "a row is no object",
                file=file,
                place=self.place,
                found=repr(data),
                expected="an object",
            )
        self.data: Mapping[str, Any] = data

    @property
    def place(self) -> str:
        """Section and number."""
        return f"{self._section}[{self._index}]"

    def refuse(
        self, what: str, key: str, found: str, expected: str, *, hint: str | None = None
    ) -> NoReturn:
        """Raises the error."""
        raise InputError(
            what,
            file=self.file,
            place=f"{self.place}.{key}",
            found=found[:80],
            expected=expected,
            hint=hint,
        )

    def _get(self, key: str, default: object, expected: str) -> Any:
        value = self.data.get(key, default)
        if value is _MISSING:
            self.refuse("something is missing", key, "nothing", expected)
        return value

    def text(self, key: str, default: object = _MISSING) -> str:
        value = self._get(key, default, "a text")
        if not isinstance(value, str):
            self.refuse("not a text", key, repr(value), "a text")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty where there is none."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.refuse("not a list of texts", key, repr(value), "a list of texts")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            self.refuse("neither true nor false", key, repr(value), "true or false")
        return value

    def number(self, key: str, low: int, high: int, default: object = _MISSING) -> int:
        """A number, or a text that is one, as ip prints marks and services."""
        value = self._get(key, default, f"a number, {low} to {high}")
        number = None
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str):
            try:
                number = int(value, 0)
            except ValueError:
                number = None
        if number is None or not low <= number <= high:
            self.refuse("not a number in range", key, repr(value), f"{low} to {high}")
        return number

    def choice(self, key: str, names: Mapping[str, int], default: int) -> int:
        """A name, or the number that it stands for."""
        value = self.data.get(key, default)
        if isinstance(value, str) and value in names:
            return names[value]
        if isinstance(value, str) and not value.isdecimal():
            self.refuse("no such name", key, f"'{value}'", ", ".join(names))
        return self.number(key, 0, 255, default)

    def table(self, key: str, default: int) -> int:
        value = self.data.get(key, default)
        if isinstance(value, str) and value in _TABLES:
            return _TABLES[value]
        if isinstance(value, str) and not value.isdecimal():
            hint = "print numbers instead of names with ip -N"
            self.refuse(
                "no such routing table",
                key,
                f"'{value}'",
                "main, local, default or a number",
                hint=hint,
            )
        return self.number(key, 0, U32, default)

    def mac(self, key: str, *, need: bool = True) -> bytes:
        """Six bytes; zeros where there is none and none is needed."""
        if key not in self.data and not need:
            return bytes(6)
        text = self.text(key, "00:00:00:00:00:00")
        parts = text.split(":")
        try:
            made = bytes(int(part, 16) for part in parts)
        except ValueError:
            made = b""
        if len(made) != 6 and need:
            self.refuse("not a MAC address", key, f"'{text}'", "for example 02:00:00:00:00:01")
        return made if len(made) == 6 else bytes(6)

    def family(self, default: int) -> int:
        """Of the row: of its destination, or of the gateway of a default route."""
        for key in ("dst", "gateway", "prefsrc"):
            value = self.data.get(key)
            if isinstance(value, str) and value not in ("default", "all"):
                return INET6 if ":" in value else INET
        return default

    def address(self, key: str, family: int) -> bytes:
        """An address, in network order."""
        text = self.text(key)
        found = _packed(text, family)
        if found is None:
            name = _NAMES[family]
            self.refuse(f"not an {name} address", key, f"'{text}'", f"an {name} address")
        return found

    def network(self, key: str, family: int) -> tuple[bytes, int]:
        """Address and prefix length; "default" is everything."""
        text = self.text(key)
        if text in ("default", "all"):
            return b"", 0
        address, separator, length = text.partition("/")
        found = _packed(address, family)
        bits = 32 if family == INET else 128
        prefix = bits
        if separator:
            prefix = (
                int(length) if length.isascii() and length.isdecimal() and len(length) < 4 else -1
            )
        if (
            found is None
            or not 0 <= prefix <= bits
            or int.from_bytes(found, "big") & (1 << bits - prefix) - 1
        ):
            name = _NAMES[family]
            what = f"an {name} address or network without bits beyond its prefix"
            self.refuse(f"not an {name} network", key, f"'{text}'", what)
        return found, prefix

    def prefix(self, key: str, length: str, family: int) -> tuple[bytes, int]:
        """Address and prefix length in two keys, as rules have them."""
        text = self.data.get(key, "all")
        if text in ("all", "default"):
            return b"", 0
        bits = 32 if family == INET else 128
        if isinstance(text, str) and "/" in text:
            return self.network(key, family)
        return self.address(key, family), self.number(length, 0, bits, bits)

    def row(self, key: str) -> Row:
        """A row within this one."""
        return Row(self.file, f"{self.place}.{key}", 0, self.data.get(key))

    def rows(self, key: str) -> list[Row]:
        """Rows within this one; none where the key is not there."""
        value = self.data.get(key, [])
        if not isinstance(value, list):
            self.refuse("not a list", key, repr(value), "a list")
        return [Row(self.file, f"{self.place}.{key}", i, one) for i, one in enumerate(value)]
