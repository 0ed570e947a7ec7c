"""Every exception that pktfilter raises on purpose.

All derive from `PktfilterError`, are built the same way (a message, then keyword fields) and
render as one sentence: file, place, what is wrong, what was found, what was expected, what to do.
Those that stand for an errno of `bpf(2)` are `OSError`s too and keep it in `.errno`.
A bug of pktfilter itself is never reported through one of these. The names are the public
contract's, which is why some do not end in Error.
"""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Sequence
from typing import Any


class PktfilterError(Exception):
    """Base of all errors: `message`, and where known `file`, `place`, `found`, `expected`, `hint`.

    The message is a clause without a full stop; `place` names a position within the file
    (a section, an instruction, an offset, a line).
    """

    message: str

    def __init__(
        self,
        message: str,
        *,
        file: str | os.PathLike[str] | None = None,
        place: str | None = None,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else os.fspath(file)
        self.place = place
        self.found = found
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.file, self.place, self.message) if part)
        if self.found is not None:
            text += f", found {self.found}"
        if self.expected is not None:
            text += f", expected {self.expected}"
        if self.hint:
            text += f"; {self.hint}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors take keywords, which the default protocol would lose between processes.
        return _rebuild, (type(self), self.args, getattr(self, "errno", None), self.__dict__)


def _rebuild(
    cls: type[PktfilterError], args: tuple[Any, ...], errno: int | None, fields: dict[str, Any]
) -> PktfilterError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    if isinstance(error, OSError):
        error.errno = errno
    return error


def wrong_kind(what: str, value: object, expected: str) -> TypeError:
    """The error of an argument of a kind that cannot stand there: a mistake of the calling code."""
    return TypeError(
        f"{what} is of the wrong kind, found {type(value).__name__}, expected {expected}"
    )


class InputError(PktfilterError):
    """What the user gave cannot be used: a file, a program, an expression, an option."""


class ObjectError(InputError):
    """A BPF object, its BTF or one of its definitions is damaged or not supported.

    `section`, `symbol` and `insn` (index within the section or program) say where.
    """

    def __init__(
        self,
        message: str,
        *,
        section: str | None = None,
        symbol: str | None = None,
        insn: int | None = None,
        **common: Any,
    ) -> None:
        where = [
            f"section '{section}'" if section is not None else "",
            f"symbol '{symbol}'" if symbol is not None else "",
            f"instruction {insn}" if insn is not None else "",
            common.pop("place", None) or "",
        ]
        super().__init__(message, place=", ".join(part for part in where if part), **common)
        self.section = section
        self.symbol = symbol
        self.insn = insn


class AssemblerError(InputError):
    """Assembly text is wrong at `line`, `column` (both from 1)."""

    def __init__(
        self, message: str, *, line: int | None = None, column: int | None = None, **common: Any
    ) -> None:
        if line is not None:
            common.setdefault("place", f"line {line}" + (f":{column}" if column else ""))
        super().__init__(message, **common)
        self.line = line
        self.column = column


class CaptureError(InputError):
    """A capture cannot be read, or is of a kind that is not supported, or ends damaged at `offset`.

    `damaged`: everything before was good and was delivered.
    """

    def __init__(
        self, message: str, *, offset: int | None = None, damaged: bool = False, **common: Any
    ) -> None:
        if offset is not None:
            common.setdefault("place", f"offset {offset}")
        super().__init__(message, **common)
        self.offset = offset
        self.damaged = damaged


class ControlError(PktfilterError):
    """A running engine refused what a control socket asked, could not be reached, or answered badly.

    `errno` is the engine's own error number where its error had one; `kind` that error's class name.
    """

    def __init__(
        self, message: str, *, errno: int | None = None, kind: str | None = None, **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.errno = errno
        self.kind = kind


class InterfaceError(InputError, OSError):
    """A network interface cannot be used, or went away; `.errno` says how, `.port` is its number in the source."""

    port = 0

    def __init__(self, message: str, *, errno: int = _errno.ENODEV, **common: Any) -> None:
        super().__init__(message, **common)
        self.errno = errno
        self.strerror = os.strerror(errno)


class VerifierError(InputError):
    """The verifier refused a program; `diagnostics` are its records, `log` its full state log."""

    def __init__(
        self, message: str, *, diagnostics: Sequence[Any] = (), log: str = "", **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.diagnostics = tuple(diagnostics)
        self.log = log


class ProgramError(InputError):
    """Bytecode is not legal (RFC 9669) or not supported, at instruction `insn` where known."""

    def __init__(self, message: str, *, insn: int | None = None, **common: Any) -> None:
        if insn is not None:
            common.setdefault("place", f"instruction {insn}")
        super().__init__(message, **common)
        self.insn = insn


class CompileError(ProgramError):
    """A program cannot be compiled, or its object cannot be made; the interpreter runs it."""


class ExpressionError(InputError):
    """A tcpdump expression cannot be compiled; `expression` is its text, `linktype` what it was compiled for."""

    def __init__(
        self, message: str, *, expression: str = "", linktype: int | None = None, **common: Any
    ) -> None:
        if expression:
            common.setdefault("place", f"'{expression}'")
        super().__init__(message, **common)
        self.expression = expression
        self.linktype = linktype


class ExecutionFault(PktfilterError):  # noqa: N818
    """A checked run stopped at instruction `insn`; `kind` is the fault's short name."""

    def __init__(
        self, message: str, *, insn: int | None = None, kind: str = "", **common: Any
    ) -> None:
        if insn is not None:
            common.setdefault("place", f"instruction {insn}")
        super().__init__(message, **common)
        self.insn = insn
        self.kind = kind


class OutputError(PktfilterError):
    """A result could not be written (full disk, closed pipe, refused file), or a packet not sent.

    `port`: the number of the interface that packets are sent on; None for a file.
    """

    port: int | None = None


class _ErrnoError(PktfilterError, OSError):
    """An error that keeps the errno which the kernel gives in the same case."""

    default_errno = _errno.EINVAL

    def __init__(self, message: str, *, errno: int | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.errno = self.default_errno if errno is None else errno
        self.strerror = os.strerror(self.errno)


class MapError(_ErrnoError):
    """A map operation failed; `.errno` is that of `bpf(2)` (ENOENT, EEXIST, E2BIG, ...).

    `done`: of a batch, how many of its keys were dealt with before.
    """

    done = 0


class LinkError(_ErrnoError):
    """A link operation failed; nothing was changed."""


class LinkDetached(LinkError):  # noqa: N818
    """The link was detached (ENOLINK)."""

    default_errno = _errno.ENOLINK


class StaleProgram(LinkError):  # noqa: N818
    """The expected program is not the link's current one (EPERM)."""

    default_errno = _errno.EPERM


class StaleGeneration(LinkError):  # noqa: N818
    """The expected generation is not the link's current one (ESTALE)."""

    default_errno = _errno.ESTALE


class IncompatibleProgram(LinkError):  # noqa: N818
    """The program does not fit the hook or the slot; `field` names what differs (EINVAL)."""

    def __init__(self, message: str, *, field: str = "", **common: Any) -> None:
        super().__init__(message, **common)
        self.field = field


class NoSuchGeneration(LinkError):  # noqa: N818
    """The link's history does not hold the generation, or nothing from before (ENOENT)."""

    default_errno = _errno.ENOENT


class LinkBusy(LinkError):  # noqa: N818
    """A trial runs on the link: promote or abandon it first (EBUSY)."""

    default_errno = _errno.EBUSY


class MapMismatch(LinkError):  # noqa: N818
    """Maps cannot be carried into the new program (EINVAL).

    `differences` has one `(map, field, current, new)` for every part of a definition that differs.
    """

    def __init__(
        self,
        message: str,
        *,
        differences: Sequence[tuple[str, str, object, object]] = (),
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.differences = tuple(differences)


class TransactionError(LinkError):
    """Changes that cannot stand together in one transaction, or a transaction misused (EINVAL)."""


class GraceTimeout(LinkError):  # noqa: N818
    """A grace period did not end within its time limit (ETIMEDOUT)."""

    default_errno = _errno.ETIMEDOUT


class WouldDeadlock(LinkError):  # noqa: N818
    """A worker asked to wait for itself (EDEADLK)."""

    default_errno = _errno.EDEADLK
