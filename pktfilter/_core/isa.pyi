"""Encoding legality and disassembly (csrc/isa)."""

from collections.abc import Mapping

MAX_INSNS: int

def check(insns: bytes, strict: bool = False) -> None:
    """Raise `ProgramError` at the first instruction that is no legal encoding (RFC 9669).

    `strict` also refuses what Linux refuses of constants: shifts outside the register's width and
    division by 0.
    """

def text(insns: bytes, map_names: Mapping[int, str] | None = None) -> list[str]:
    """One text for each 8-byte slot in the syntax of the Linux verifier log, "" for the second
    half of a 64-bit load; `map_names` says what the maps behind the numbers are called.

    Bytes that are no instruction give "illegal 0x..."; a length that is no multiple of 8 raises
    `ProgramError`.
    """
