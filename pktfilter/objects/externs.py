"""Externs: what an object expects the kernel to define (`__kconfig`, `__ksym`).

A variable in section `.kconfig` of the BTF is a value of the kernel's configuration; it gets a place
in a read-only map of that name. One in `.ksyms` is a kernel symbol: there is no kernel here, so that a weak
one has address 0 and others are refused. Semantics: libbpf's documentation of `extern` variables.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import InputError, ObjectError
from .btf import Btf
from .btf_types import Array, DataSec, Enum, Int, Var
from .elf import ElfObject
from .map_spec import BPF_F_RDONLY_PROG, MapSpec
from .spec import ObjectSpec

KCONFIG = ".kconfig"
FILE_LIMIT = 16 << 20
COUNT_LIMIT = 4096
_DIGITS_MAX = 80
_TRISTATE = "libbpf_tristate"
_TRISTATES = {"n": 0, "y": 1, "m": 2}
#: What libbpf finds out of a kernel by itself: here the reference, Linux 6.18 on x86-64.
_VIRTUAL = {
    "LINUX_KERNEL_VERSION": 6 << 16 | 18 << 8,
    "LINUX_HAS_BPF_COOKIE": 1,
    "LINUX_HAS_SYSCALL_WRAPPER": 1,
}

KconfigValue = bool | int | str


@dataclass(slots=True)
class KconfigVar:
    """A `__kconfig` variable: place and size in the map; `kind` is bool, char, tristate, int or string."""

    name: str
    offset: int
    size: int
    kind: str
    signed: bool
    weak: bool
    given: bool = False


def read_externs(elf: ElfObject, btf: Btf | None, spec: ObjectSpec) -> None:
    """Fill `spec.kconfig`, and add the map that holds the values if there are any."""
    section_id = btf.find(KCONFIG, DataSec) if btf is not None else None
    if btf is None or section_id is None:
        return
    section = btf.get(section_id)
    assert isinstance(section, DataSec)
    weak = {s.name: s.weak for s in elf.symbols if s.section == 0 and s.name}
    found: list[tuple[int, Var, int]] = []
    for entry in section.vars[:COUNT_LIMIT]:
        var = btf.get(entry.type)
        if isinstance(var, Var) and var.name in weak:
            found.append((btf.sizeof(var.type), var, var.type))
    at = 0
    # The largest alignment first, so that each lies at a multiple of its own.
    for size, var, type_id in sorted(found, key=lambda row: -_alignment(btf, row[2])):
        kind, signed = _kind(btf, type_id)
        if at + size > FILE_LIMIT:
            raise ObjectError(
                "extern variables are too large",
                file=elf.path,
                section=KCONFIG,
                symbol=var.name,
                found=at + size,
                expected=f"at most {FILE_LIMIT} bytes in all",
            )
        if not kind:
            raise ObjectError(
                "extern variable has a type that no configuration value has",
                file=elf.path,
                section=KCONFIG,
                symbol=var.name,
                expected="bool, char, enum libbpf_tristate, an integer, or an array of char",
            )
        spec.kconfig[var.name] = KconfigVar(var.name, at, size, kind, signed, weak[var.name])
        at += size
    if spec.kconfig:
        spec.maps[KCONFIG] = MapSpec(
            type="array",
            key_size=4,
            value_size=at,
            max_entries=1,
            flags=BPF_F_RDONLY_PROG,
            name=KCONFIG,
            data=bytes(at),
            frozen=True,
            section=KCONFIG,
        )
    for name, value in _VIRTUAL.items():
        if name in spec.kconfig:
            set_value(spec, name, value)


def _alignment(btf: Btf, type_id: int) -> int:
    record = btf.resolve(type_id)
    return record.size if isinstance(record, (Int, Enum)) else 1


def _kind(btf: Btf, type_id: int) -> tuple[str, bool]:
    record = btf.resolve(type_id)
    if isinstance(record, Enum):
        return ("tristate" if record.name == _TRISTATE and record.size == 4 else ""), False
    if isinstance(record, Array):
        element = btf.resolve(record.type)
        is_char = isinstance(element, Int) and element.size == 1 and not element.bool
        return ("string" if is_char and record.count else ""), False
    if not isinstance(record, Int) or record.size not in (1, 2, 4, 8):
        return "", False
    if record.bool:
        return "bool" if record.size == 1 else "", False
    return ("char" if record.name == "char" or record.char else "int"), record.signed


def set_value(spec: ObjectSpec, name: str, value: KconfigValue) -> None:
    """Give the variable its value, as of Python or as text of a .config file (`y`, `0x10`, `"text"`).

    Raises `InputError` where it does not fit the variable's type.
    """
    var = spec.kconfig[name]
    raw = _encode(var, value)
    if raw is None:
        expected = {
            "bool": "y or n",
            "char": "y, n, m, or a number of 8 bits",
            "tristate": "y, n or m",
            "int": f"a number of {var.size * 8} bits",
            "string": "text",
        }[var.kind]
        raise InputError(
            f"value of '{name}' does not fit its variable",
            file=spec.path,
            found=repr(value),
            expected=f"{expected} ({var.kind})",
        )
    map_spec = spec.maps[KCONFIG]
    data = map_spec.data if map_spec.data is not None else bytes(map_spec.value_size)
    map_spec.data = data[: var.offset] + raw + data[var.offset + var.size :]
    var.given = True


def _encode(var: KconfigVar, value: KconfigValue) -> bytes | None:
    if isinstance(value, bool):
        value = "y" if value else "n"
    if var.kind == "string":
        if not isinstance(value, str):
            return None
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        # As in libbpf, text that is too long is cut.
        return value.encode("utf-8", "surrogateescape")[: var.size - 1].ljust(var.size, b"\0")
    if isinstance(value, str) and value in _TRISTATES:
        if var.kind == "tristate":
            return _TRISTATES[value].to_bytes(4, "little")
        if var.kind == "char":
            return value.encode()
        return bytes([value == "y"]) if var.kind == "bool" and value != "m" else None
    if var.kind in ("bool", "tristate") or (isinstance(value, str) and len(value) > _DIGITS_MAX):
        return None
    try:
        number = value if isinstance(value, int) else int(value, 0)
        return number.to_bytes(var.size, "little", signed=var.signed)
    except (ValueError, OverflowError):
        return None


def set_kconfig(spec: ObjectSpec, values: Mapping[str, KconfigValue]) -> None:
    """Give those of the object's variables their values that `values` names; others do not matter.

    `CONFIG_X` that a configuration does not have is no value: a weak variable is then 0.
    """
    for name in spec.kconfig:
        if name in values:
            set_value(spec, name, values[name])


def require_kconfig(spec: ObjectSpec) -> None:
    """Raise `ObjectError` naming the first variable that has no value and is not weak."""
    for var in spec.kconfig.values():
        if not var.given and not var.weak:
            raise ObjectError(
                "extern variable has no value",
                file=spec.path,
                section=KCONFIG,
                symbol=var.name,
                hint=f"give one (--kconfig {var.name}=VALUE), or declare it __weak to make it 0",
            )


def read_kconfig(sources: Iterable[str | os.PathLike[str]]) -> dict[str, KconfigValue]:
    """Values from `NAME=VALUE` texts and from files as `.config` or `/proc/config.gz`; the last wins."""
    values: dict[str, KconfigValue] = {}
    for source in sources:
        name, equals, text = os.fspath(source).partition("=")
        if equals and name.isidentifier():
            values[name] = text.strip()
        else:
            values |= _read_file(os.fspath(source))
    return values


def _read_file(path: str) -> dict[str, KconfigValue]:
    try:
        with open(path, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            reader = gzip.GzipFile(fileobj=stream) if packed else stream
            data = reader.read(FILE_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"configuration cannot be read: {reason}",
            file=path,
            expected="NAME=VALUE, or a file as .config or config.gz",
        ) from error
    if len(data) > FILE_LIMIT:
        raise InputError(
            "configuration is too large", file=path, expected=f"at most {FILE_LIMIT} bytes"
        )
    values: dict[str, KconfigValue] = {}
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        name, equals, text = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            values[name] = text.strip()
    if not values:
        raise InputError("file has no CONFIG_NAME=VALUE line", file=path)
    return values
