"""Assembly files: directives, labels, comments, and the instructions between them.

    .license GPL
    .map NAME TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES [FLAGS] [numa=N] [pinning=N] [extra=N] [lock=N]
         [inner TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES [FLAGS] ...]     on the same line
    .slot MAP INDEX NAME             what a slot holds at first: a program, or a map in a map
    .data NAME SIZE                  global data: .rodata, .data or .bss, with or without .SUFFIX
    .bytes NAME OFFSET HEX...        its contents from an offset on; the rest is zeros
    .extern NAME NUMBER              a map defined elsewhere, by its number
    .section xdp[/NAME]              of the programs that begin after it
    .program NAME                    begins a program
    label:                           of the program it stands in
    r1 = map[NAME]                   a map
    r1 = map[.data][0]+N             the address of byte N of global data
    r1 = subprog[label]              the address of a callback
    r2 = r1                          instructions as the Linux verifier log prints them, with
    if r1 == 0x0 goto label          labels for pc+N, and helpers by name

Maps are numbered from 1 in the order of their `.map` and `.data` lines; all programs of a file
share them. Comments begin with `;`, `//`, or a `#` after a blank. A line may begin with its index
and opcode (`12: (bf)`), as listings have them; both are checked. A 32-bit immediate is -2147483648
to 2147483647 in decimal and up to 0xffffffff in hex, where it is a bit pattern.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePath

from .._core import isa
from ..errors import AssemblerError, InputError
from .body import AsmProgram, Body, Draft, Statement
from .definitions import Definitions
from .tokens import WORD, Token, strip_comment, tokenize

# Larger files are refused unread; a million lines stay well below.
FILE_LIMIT = 64 << 20
_PREFIX = re.compile(r"\s*(?:([0-9]{1,9}):\s*)?(?:\(([0-9a-f]{2})\)\s*)?", re.ASCII)
_RESERVED = re.compile(r"[rw][0-9]+|pc")
_SECTION = re.compile(r"xdp(?:\.frags)?(?:/[\w.$/-]+)?", re.ASCII)
_DEFAULT_NAME = "prog"


def is_label(name: str) -> bool:
    """Whether a label may be called so: a word that is no register and not `pc`."""
    return WORD.fullmatch(name) is not None and _RESERVED.fullmatch(name) is None


def assemble_file(path: str | os.PathLike[str]) -> list[AsmProgram]:
    """Assemble the file at `path`; raises `AssemblerError`, or `InputError` if it is unreadable."""
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(FILE_LIMIT + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"assembly cannot be read: {reason}", file=name) from error
    if len(data) > FILE_LIMIT:
        raise InputError("assembly is too large", file=name, expected=f"at most {FILE_LIMIT} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AssemblerError("the file is not UTF-8 text", file=name, line=line) from error
    return assemble(text, name)


def assemble(text: str, name: str) -> list[AsmProgram]:
    """The programs of assembly `text`; `name` is the file in messages and names a lone program.

    Raises `AssemblerError` with line, column, what was found and what was expected; the bytecode
    of every program returned is legal (`_core.isa.check`).
    """
    return _File(text, name).assemble()


class _File:
    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.text = text
        self.license = ""
        self.section: str | None = None
        self.definitions = Definitions(self.fail)
        self.drafts: list[Draft] = []
        self.current: Draft | None = None
        self.directives: dict[str, Callable[[int, list[tuple[str, int]]], None]] = {
            ".license": self._license,
            ".map": self.definitions.map,
            ".data": self.definitions.data,
            ".bytes": self.definitions.bytes,
            ".slot": self.definitions.slot,
            ".extern": self.definitions.extern,
            ".section": self._section,
            ".program": self._program,
        }

    def fail(
        self,
        message: str,
        line: int | None = None,
        column: int | None = None,
        found: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> AssemblerError:
        return AssemblerError(
            message,
            file=self.name,
            line=line,
            column=column,
            found=found,
            expected=expected,
            hint=hint,
        )

    def assemble(self) -> list[AsmProgram]:
        for number, line in enumerate(self.text.split("\n"), 1):
            self._line(number, strip_comment(line))
        if not self.drafts:
            raise self.fail("the file has no instructions")
        self.definitions.finish([draft.program.name for draft in self.drafts])
        for draft in self.drafts:
            if not draft.statements:
                raise self.fail(f"program '{draft.program.name}' has no instructions")
            draft.program.license = self.license
            draft.program.maps = self.definitions.maps
            Body(draft, self.definitions.numbers, self.name, self.fail).finish()
        return [draft.program for draft in self.drafts]

    # ---- lines

    def _line(self, number: int, text: str) -> None:
        words = [(m.group(), m.start() + 1) for m in re.finditer(r"\S+", text)]
        if not words:
            return
        directive = self.directives.get(words[0][0])
        if directive is not None:
            directive(number, words[1:])
            return
        prefix = _PREFIX.match(text)
        assert prefix is not None  # every part is optional
        tokens = tokenize(text, prefix.end())
        if prefix.group(1) is None and prefix.group(2) is None:
            tokens = self._labels(number, tokens)
        if not tokens:
            if prefix.group().strip():
                raise self.fail("no instruction after the index", number, len(text.rstrip()) + 1)
            return
        if tokens[0].text.startswith(".") and tokens[0].kind == "word":
            expected = ", ".join(self.directives)
            raise self.fail(
                "unknown directive", number, tokens[0].column, f"'{tokens[0].text}'", expected
            )
        index, opcode = prefix.groups()
        self._draft().statements.append(
            Statement(
                number,
                text.strip(),
                tokens,
                None if index is None else int(index),
                None if opcode is None else int(opcode, 16),
            )
        )
        if len(self._draft().statements) > isa.MAX_INSNS:
            raise self.fail("program is too long", number, expected=f"{isa.MAX_INSNS} instructions")

    def _labels(self, number: int, tokens: list[Token]) -> list[Token]:
        while len(tokens) > 1 and tokens[0].kind == "word" and tokens[1].text == ":":
            name, column = tokens[0].text, tokens[0].column
            if not is_label(name):
                raise self.fail("a label cannot be called so", number, column, f"'{name}'")
            draft = self._draft()
            if name in draft.labels:
                raise self.fail("label is defined twice", number, column, f"'{name}'")
            draft.labels[name] = len(draft.statements)
            tokens = tokens[2:]
        return tokens

    def _draft(self) -> Draft:
        if self.current is None:
            name = PurePath(self.name).stem
            _, _, in_section = (self.section or "").partition("/")
            name = in_section or name
            self._begin(name if is_label(name) else _DEFAULT_NAME, 1)
        assert self.current is not None  # _begin has set it
        return self.current

    def _begin(self, name: str, line: int) -> None:
        if any(draft.program.name == name for draft in self.drafts):
            raise self.fail("program is defined twice", line, found=f"'{name}'")
        section = self.section or f"xdp/{name}"
        self.current = Draft(AsmProgram(name, section))
        self.drafts.append(self.current)

    # ---- directives

    def _license(self, line: int, words: list[tuple[str, int]]) -> None:
        if not words:
            raise self.fail("directive is wrong", line, expected=".license NAME")
        self.license = " ".join(word for word, _ in words).strip('"')

    def _section(self, line: int, words: list[tuple[str, int]]) -> None:
        (name,) = self.definitions.operands(line, words, ".section NAME", 1, 1)
        if _SECTION.fullmatch(name) is None:
            raise self.fail(
                "section is not one of XDP programs", line, words[0][1], f"'{name}'", "xdp[/NAME]"
            )
        self.section = name
        if self.current is not None and not self.current.statements:
            self.current.program.section = name
        else:
            self.current = None

    def _program(self, line: int, words: list[tuple[str, int]]) -> None:
        (name,) = self.definitions.operands(line, words, ".program NAME", 1, 1)
        if not is_label(name):
            raise self.fail("a program cannot be called so", line, words[0][1], f"'{name}'")
        self._begin(name, line)
