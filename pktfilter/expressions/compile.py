"""libpcap's compiler on expressions, as `tcpdump -r` uses it, and the way from there to bytecode.

libpcap is what the package cypcap carries; it is imported when the first expression is compiled. An
expression is compiled against an empty capture of the link type, so that everything is as for
`tcpdump -r FILE`: the number in the file means what it means to libpcap, what only a live socket knows
(`inbound`, `ifindex`) is refused, and link types with numbers in the byte order of the machine that
captured (as PFLOG) are compared in that order. One thing is not as there: in captures of the other byte
order, the address family in front of a NULL packet is understood in either order, since tools that
convert captures leave it as it was.
"""

from __future__ import annotations

import os
import struct
import sys
from functools import lru_cache
from typing import Any

from ..errors import ExpressionError
from .cbpf import Step, decode
from .kind import ETHERNET, NULL, LinkKind
from .translate import check_size, translate

#: Characters of one expression. libpcap works through its own data by recursion, which one twenty times as
#: long drives through the stack, and its time grows with the square of the length.
LENGTH_MAX = 1 << 13
#: Branches up to which libpcap's optimizer runs: its time grows with their cube (26 s were measured for an
#: expression of 200 terms). What it does not do is done in part by the translation.
BRANCHES_MAX = 1200
#: Link types by which one that has no meaning anywhere is told from one that needs a certain link type:
#: Ethernet, Linux cooked, raw IP, BSD loopback, 802.11 (with radiotap), PPP, FDDI, SunATM, MTP2, Juniper.
_COMMON = (1, 113, 101, 0, 127, 105, 9, 10, 123, 140, 137)
_MAGIC, _SNAPLEN = 0xA1B2C3D4, 262144
#: What the optimizer says of a program without a way to accept; it is one that drops every packet.
_MATCHES_NOTHING = "expression rejects all packets"


def compile_expression(
    expression: str, kind: LinkKind = ETHERNET, *, optimize: bool = True
) -> list[Step]:
    """The expression as classic BPF.

    "" matches every packet. Names of hosts are resolved, as by tcpdump. Raises `ExpressionError` with
    libpcap's own message.
    """
    check_text(expression)
    cypcap = _libpcap()
    try:
        return decode(_rows(cypcap, expression, kind, optimize))
    except cypcap.Error as error:
        message = _message(error)
    if optimize and message == _MATCHES_NOTHING:
        return compile_expression(expression, kind, optimize=False)
    raise ExpressionError(
        f"the expression cannot be compiled for {kind}: {message}",
        expression=expression,
        linktype=kind.linktype,
    )


def _rows(
    cypcap: Any, expression: str, kind: LinkKind, optimize: bool
) -> list[tuple[int, int, int, int]]:
    swapped = kind.swapped and kind.linktype != NULL
    order = "=" if not swapped else ">" if sys.byteorder == "little" else "<"
    header = struct.pack(order + "IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, kind.linktype)
    fd = os.memfd_create("pktfilter-expression", os.MFD_CLOEXEC)
    try:
        os.write(fd, header)
        os.lseek(fd, 0, os.SEEK_SET)
        capture = cypcap.open_offline(f"/proc/self/fd/{fd}")
        try:
            rows = list(capture.compile(expression, False))
            if optimize and sum(jt != jf for _, jt, jf, _ in rows) <= BRANCHES_MAX:
                rows = list(capture.compile(expression, True))
            return rows
        finally:
            capture.close()
    finally:
        os.close(fd)


@lru_cache(maxsize=128)
def translate_expression(
    expression: str,
    kind: LinkKind = ETHERNET,
    *,
    wire_length: bool = True,
    limit: int,
    optimize: bool = True,
) -> bytes:
    """The expression as eBPF bytecode of at most `limit` instructions: see `translate`.

    Results are kept, so that names are resolved once."""
    code = translate(
        compile_expression(expression, kind, optimize=optimize),
        wire_length=wire_length,
        family_first=kind.swapped and kind.linktype == NULL,
    )
    check_size(code, limit)
    return code


def check_meaning(expression: str) -> LinkKind:
    """The first common link type, Ethernet before others, on which the expression has a meaning.

    Raises `ExpressionError` with what libpcap says of Ethernet where there is none.
    """
    first: ExpressionError | None = None
    for linktype in _COMMON:
        try:
            compile_expression(expression, LinkKind(linktype))
            return LinkKind(linktype)
        except ExpressionError as error:
            first = first or error
    assert first is not None
    raise first


def check_text(expression: str) -> None:
    """Raises `ExpressionError` for what is too long, or no text."""
    if len(expression) > LENGTH_MAX:
        raise ExpressionError(
            "the expression is too long",
            found=f"{len(expression)} characters",
            expected=f"at most {LENGTH_MAX}",
        )
    if "\0" in expression or (not expression.isprintable() and not expression.isascii()):
        raise ExpressionError("the expression is not text", found=ascii(expression[:80]))


def _message(error: Any) -> str:
    """libpcap's sentence, on one line."""
    return " ".join(str(error.args[-1] if error.args else error).split())


def _libpcap() -> Any:
    try:
        import cypcap
    except ImportError as error:
        raise ExpressionError(
            f"expressions need libpcap from the package cypcap, which cannot be imported: {error}",
            hint="pip install cypcap",
        ) from None
    return cypcap
