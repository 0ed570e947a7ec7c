"""Instruction forms: the templates of insn.def as one tree that parses what they print.

The tree is built at import; a row whose template cannot be parsed back to its encoding fails it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._core.tables import HELPERS, OPS, Op
from ..objects.kinds import KFUNC_FIRST
from .tokens import Token, tokenize

_FIELD = re.compile(r"%([A-Za-z])")
_HELPER_NUMBERS = {row.name: row.number for row in HELPERS if row.number < KFUNC_FIRST}
_HELPER_PREFIX = "bpf_"
_REGISTER = re.compile(r"([rw])(0|[1-9][0-9]*)")
_LAST_REGISTER = 10
_INSN = struct.Struct("<BBhI")
_U32 = (1 << 32) - 1

# Which field of the encoding each letter of a template sets.
_TARGETS = {
    "D": ("dst",),
    "d": ("dst",),
    "S": ("src",),
    "s": ("src",),
    "i": ("imm",),
    "n": ("imm",),
    "x": ("imm",),
    "q": ("imm", "imm2"),
    "k": ("imm2",),
    "o": ("off",),
    "J": ("off",),
    "j": ("imm",),
    "b": ("off",),
    "h": ("imm",),
    "m": ("imm",),
}
# Jump letters, and the distances their fields hold.
JUMPS = {"J": (-(1 << 15), (1 << 15) - 1), "j": (-(1 << 31), (1 << 31) - 1)}
_LABEL = {"J": "label J", "j": "label j"}
_EXPECTED = {
    "D": "r0 to r10",
    "d": "w0 to w10",
    "S": "r0 to r10",
    "s": "w0 to w10",
    "i": "a number",
    "n": "a number",
    "x": "a number",
    "q": "a number",
    "k": "a number",
    "o": "an offset such as +8",
    "J": "+N or -N",
    "j": "+N or -N",
    "h": "a helper",
    "m": "a map defined by .map or .extern, or fd:N",
    _LABEL["J"]: "a label of the program",
    _LABEL["j"]: "a label of the program",
}


class MismatchError(Exception):
    """No form fits: what stands at `token` (None: the line ends), and what could have."""

    def __init__(self, token: Token | None, expected: str) -> None:
        super().__init__(expected)
        self.token = token
        self.expected = expected


@dataclass(slots=True)
class Match:
    """An instruction read: its row, operand values by field, and the names it refers to."""

    op: Op
    values: dict[str, int]
    label: Token | None = None
    label_letter: str = ""
    map_name: str = ""

    def encode(self) -> bytearray:
        """The 8 or 16 bytes; a label counts as distance 0 until it is known."""
        op, values = self.op, self.values
        fields = {"dst": 0, "src": 0, "off": 0, "imm": 0, **values}
        if op.selector != "none":
            fields[op.selector] = op.value
        registers = fields["dst"] | fields["src"] << 4
        code = bytearray(_INSN.pack(op.opcode, registers, fields["off"], fields["imm"] & _U32))
        if op.form == "LDDW":
            code += _INSN.pack(0, 0, 0, values.get("imm2", 0) & _U32)
        return code


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    fields: dict[str, _Node] = field(default_factory=dict)
    op: Op | None = None


def _elements(op: Op) -> list[tuple[str, str]]:
    """The template as ("literal", text) and ("field", letter) in order."""
    elements: list[tuple[str, str]] = []
    position = 0

    def literals(text: str) -> None:
        for token in tokenize(text):
            if token.kind == "bad":
                raise RuntimeError(f"insn.def: {op.name}: cannot parse {token.text!r}")
            elements.append(("literal", token.text))

    for match in _FIELD.finditer(op.text):
        literals(op.text[position : match.start()])
        if match.group(1) not in _TARGETS:
            raise RuntimeError(f"insn.def: {op.name}: no parser for {match.group()!r}")
        elements.append(("field", match.group(1)))
        position = match.end()
    literals(op.text[position:])
    bound = {t for kind, text in elements if kind == "field" for t in _TARGETS[text]}
    if bound != set(op.fields):
        raise RuntimeError(f"insn.def: {op.name}: the text does not show its fields {op.fields}")
    return elements


def _insert(root: _Node, elements: list[tuple[str, str]], op: Op) -> None:
    node = root
    for kind, text in elements:
        children = node.literals if kind == "literal" else node.fields
        node = children.setdefault(text, _Node())
    if node.op is not None:
        raise RuntimeError(f"insn.def: {op.name} and {node.op.name} have the same text")
    node.op = op


def _build() -> _Node:
    root = _Node()
    for op in OPS:
        elements = _elements(op)
        _insert(root, elements, op)
        for letter, label in _LABEL.items():
            if ("field", letter) not in elements:
                continue
            at = elements.index(("field", letter))
            # A label stands for the whole of pc+N.
            start = at - 1 if elements[at - 1] == ("literal", "pc") else at
            _insert(root, [*elements[:start], ("field", label), *elements[at + 1 :]], op)
    return root


_ROOT = _build()


class Reader:
    """Reads instructions of one program: `labels` are its labels, `maps` the numbers of maps."""

    def __init__(self, labels: Mapping[str, int], maps: Mapping[str, int]) -> None:
        self.labels = labels
        self.maps = maps
        self._tokens: list[Token] = []
        self._furthest = 0
        self._expected: dict[str, None] = {}
        self._out_of_range: MismatchError | None = None

    def read(self, tokens: list[Token]) -> Match:
        """The instruction that the tokens are; `MismatchError` at the first that does not fit."""
        self._tokens = tokens
        self._furthest = 0
        self._expected = {}
        self._out_of_range = None
        match = self._walk(_ROOT, 0, Match(OPS[0], {}))
        if match is not None:
            return match
        # A number that only a wider form would hold is the mistake, not what that form lacks.
        if self._out_of_range is not None:
            raise self._out_of_range
        token = tokens[self._furthest] if self._furthest < len(tokens) else None
        if self._furthest == 0:
            raise MismatchError(token, "an instruction, a label or a directive")
        raise MismatchError(token, " or ".join(self._expected))

    def _walk(self, node: _Node, at: int, so_far: Match) -> Match | None:
        if at == len(self._tokens) and node.op is not None:
            so_far.op = node.op
            return so_far
        token = self._tokens[at] if at < len(self._tokens) else None
        child = node.literals.get(token.text) if token is not None else None
        if child is not None:
            match = self._walk(child, at + 1, so_far)
            if match is not None:
                return match
        for letter, child in node.fields.items():
            trial = Match(so_far.op, dict(so_far.values), so_far.label, so_far.label_letter)
            trial.map_name = so_far.map_name
            after = self._field(letter, at, trial)
            if after is not None:
                match = self._walk(child, after, trial)
                if match is not None:
                    return match
        for text in node.literals:
            if token is None or token.text != text:
                self._fail(at, f"'{text}'")
        if node.op is not None:
            self._fail(at, "the end of the line")
        return None

    def _fail(self, at: int, expected: str) -> None:
        if at > self._furthest:
            self._furthest, self._expected = at, {}
        if at == self._furthest:
            self._expected[expected] = None

    def _token(self, at: int) -> Token:
        return self._tokens[at] if at < len(self._tokens) else Token("end", "", 0)

    def _field(self, letter: str, at: int, match: Match) -> int | None:
        """The position after the field, whose value is then in `match`; None if it is none."""
        token = self._token(at)
        if letter in "DdSs":
            return self._register(letter, at, match)
        if letter in _LABEL.values():
            if token.kind == "word" and token.text in self.labels:
                match.label, match.label_letter = token, letter[-1]
                match.values[_TARGETS[letter[-1]][0]] = 0
                return at + 1
            self._fail(at, _EXPECTED[letter])
            return None
        if letter == "h":
            return self._helper(at, match)
        if letter == "m" and token.kind == "word" and token.text in self.maps:
            match.values["imm"], match.map_name = self.maps[token.text], token.text
            return at + 1
        if letter == "m":
            if token.text == "fd" and self._token(at + 1).text == ":":
                return self._number(at + 2, "imm", match, 0, _U32)
            self._fail(at, _EXPECTED[letter])
            return None
        if letter == "b":
            if token.text != "@":
                match.values["off"] = 0
                return at
            return self._number(at + 1, "off", match, *JUMPS["J"])
        if letter == "o" and token.text == ")":
            match.values["off"] = 0
            return at
        if letter in "oJj" and token.text not in ("+", "-"):
            self._fail(at, _EXPECTED[letter])
            return None
        if letter in "oJj":
            low, high = JUMPS["j" if letter == "j" else "J"]
            return self._number(at, _TARGETS[letter][0], match, low, high)
        if letter in "nk":
            return self._number(at, _TARGETS[letter][0], match, 0, _U32)
        if letter == "q":
            return self._wide(at, match)
        return self._number(at, "imm", match, *JUMPS["j"], hex_high=_U32)

    def _register(self, letter: str, at: int, match: Match) -> int | None:
        token = self._token(at)
        found = _REGISTER.fullmatch(token.text)
        name = _TARGETS[letter][0]
        if (
            found is None
            or found[1] != ("r" if letter in "DS" else "w")
            or len(found[2]) > 2
            or int(found[2]) > _LAST_REGISTER
        ):
            self._fail(at, _EXPECTED[letter])
            return None
        number = int(found[2])
        if match.values.get(name, number) != number:
            self._fail(at, f"'{found[1]}{match.values[name]}', the same register as before")
            return None
        match.values[name] = number
        return at + 1

    def _number(
        self, at: int, name: str, match: Match, low: int, high: int, hex_high: int | None = None
    ) -> int | None:
        """A signed number; written in hex without a sign it may be a bit pattern to `hex_high`."""
        sign = self._token(at).text
        place = at + 1 if sign in ("+", "-") else at
        token = self._token(place)
        if token.kind != "number":
            self._fail(place, "a number")
            return None
        value = -token.number if sign == "-" else token.number
        limit = hex_high if hex_high is not None and token.is_hex else high
        if not low <= value <= limit:
            expected = f"a number from {low} to {high}"
            if hex_high is not None:
                expected += f" or a bit pattern up to {hex_high:#x}"
            if self._out_of_range is None:
                self._out_of_range = MismatchError(token, expected)
            return None
        match.values[name] = value
        return place + 1

    def _wide(self, at: int, match: Match) -> int | None:
        after = self._number(at, "imm", match, -(1 << 63), (1 << 64) - 1)
        if after is not None:
            value = match.values["imm"]
            match.values["imm"], match.values["imm2"] = value & _U32, value >> 32 & _U32
        return after

    def _helper(self, at: int, match: Match) -> int | None:
        token = self._token(at)
        if token.kind == "number":
            return self._number(at, "imm", match, *JUMPS["j"])
        if token.kind != "word":
            self._fail(at, _EXPECTED["h"])
            return None
        known = _HELPER_NUMBERS.get(token.text.removeprefix(_HELPER_PREFIX))
        if self._token(at + 1).text == "#":
            after = self._number(at + 2, "imm", match, *JUMPS["j"])
            if after is not None and known not in (None, match.values["imm"]):
                self._fail(at + 2, f"{known}, the number of {token.text}")
                return None
            return after
        if known is None:
            self._fail(at, "a helper's name or number")
            return None
        match.values["imm"] = known
        return at + 1
