"""Lines of assembly as tokens; the templates of insn.def are read with the same rules."""

from __future__ import annotations

import re
from typing import NamedTuple

# Longest operators first; the signed ones begin with a letter and so stand before words.
_OPERATORS = r"s>>=|s>=|s<=|s>|s<|s/=|s%=|<<=|>>=|[-+*/|&^%<>=!]=|[-+*/|&^%<>=()\[\],:#@]"
_TOKEN = re.compile(
    rf"(?P<op>{_OPERATORS})"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+)(?![\w.$]))"
    r"|(?P<word>[A-Za-z_.$][\w.$]*)"
    r"|(?P<bad>[\w.$]+|\S)",
    re.ASCII,
)
# There are no strings, so a comment starts wherever its sign stands; '#' is also part of calls
# and so starts one only after a blank.
_COMMENT = re.compile(r";|//|(?:^|(?<=\s))#")
# More digits than any field can hold; longer numbers are out of range unread.
_MAX_DIGITS = 40
WORD = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)


class Token(NamedTuple):
    """One token; `column` is that of its first character, from 1."""

    kind: str
    text: str
    column: int

    @property
    def number(self) -> int:
        """The value of a number token; a value beyond every field if it is absurdly long."""
        if len(self.text) > _MAX_DIGITS:
            return 1 << 128
        return int(self.text, 16 if self.is_hex else 10)

    @property
    def is_hex(self) -> bool:
        """Whether a number is written as a bit pattern."""
        return self.text[:2] in ("0x", "0X")


def strip_comment(line: str) -> str:
    """The part of the line before its comment."""
    found = _COMMENT.search(line)
    return line[: found.start()] if found else line


def tokenize(text: str, start: int = 0) -> list[Token]:
    """The tokens from position `start` on; what is none of the language has kind "bad"."""
    return [
        Token(match.lastgroup or "bad", match.group(), match.start() + 1)
        for match in _TOKEN.finditer(text, start)
    ]
