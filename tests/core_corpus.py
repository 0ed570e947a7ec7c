"""Pairs of C headers for CO-RE: a struct as a program knows it, and as the target has it.

Both are made from one drawn description, so that the C compiler for this machine can say where each
field is: `offsetof` and `sizeof` of the altered struct are the expected answers.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

CLANG = "clang-14"
_TYPES = {
    "char": 1,
    "unsigned short": 2,
    "unsigned int": 4,
    "long long": 8,
    "void *": 8,
    "struct inner": 12,
}
INNER = "struct inner { int first; short second; char third[5]; }"
COUNTS = (0, 3)


@dataclass(frozen=True)
class Field:
    """A member: its C type, its number of elements (0: not an array), bits (0: not a bit field)."""

    name: str
    type: str
    count: int
    bits: int

    def declaration(self) -> str:
        if self.bits:
            return f"unsigned int {self.name} : {self.bits};"
        suffix = f"[{self.count}]" if self.count else ""
        return f"{self.type} {self.name}{suffix};"


@dataclass(frozen=True)
class Case:
    """`local` fields in their order, `target` fields in theirs; `wrapped` are in anonymous parts."""

    local: tuple[Field, ...]
    target: tuple[Field, ...]
    wrapped: frozenset[str]
    packed: bool

    @property
    def missing(self) -> set[str]:
        return {f.name for f in self.local} - {f.name for f in self.target}

    def target_struct(self) -> str:
        lines = []
        for number, member in enumerate(self.target):
            text = member.declaration()
            if member.name in self.wrapped:
                text = (
                    f"struct {{ char hole{number}[3]; union {{ {text} long other{number}; }}; }};"
                )
            lines.append(text)
        attribute = " __attribute__((packed))" if self.packed else ""
        return f"{INNER}; struct thing {{ {' '.join(lines)} }}{attribute};"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = [f"f{n}" for n in range(draw(st.integers(2, 7)))]
    kinds = sorted(_TYPES)
    local, target = [], []
    for name in names:
        bits = draw(st.sampled_from([0, 0, 1, 5, 17]))
        kind = draw(st.sampled_from(kinds))
        count = draw(st.sampled_from(COUNTS))
        local.append(Field(name, kind, count, bits))
        if draw(st.integers(0, 4)):
            longer = count + draw(st.integers(0, 2)) if count else 0
            other = bits and draw(st.integers(1, 19))
            target.append(Field(name, kind, longer, other))
    extra = [Field(f"x{n}", "unsigned int", 0, draw(st.sampled_from([0, 3]))) for n in range(2)]
    order = draw(st.permutations(target + extra))
    wrapped = draw(st.sets(st.sampled_from(names)))
    return Case(tuple(local), tuple(order), frozenset(wrapped), draw(st.booleans()))


def compile_bpf(source: str, output: Path) -> None:
    """Compiles with BTF; raises `CalledProcessError` with clang's words."""
    text = output.with_suffix(".c")
    text.write_text(source)
    command = [CLANG, "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", text, "-o", output]
    include = ["-I/usr/include/x86_64-linux-gnu"]
    subprocess.run([*command, *include], text=True, check=True, capture_output=True, timeout=60)


def run_native(source: str, directory: Path) -> list[int]:
    """The numbers that a C program for this machine prints."""
    program = directory / "native"
    command = [CLANG, "-w", "-x", "c", "-", "-o", program]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True, timeout=60)
    result = subprocess.run([program], text=True, check=True, capture_output=True, timeout=60)
    return [int(word) for word in result.stdout.split()]
