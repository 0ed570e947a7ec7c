"""Mutants of C files, by the rules of universalmutator: each changes one line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RULES = ["universal.rules", "c.rules", "c_like.rules"]
_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)


@dataclass(frozen=True)
class Mutant:
    """One changed line; ``before`` and ``after`` are without indentation and newline."""

    file: str
    line: int
    before: str
    after: str

    @property
    def id(self) -> str:
        """Names the mutant as long as its line keeps its place and text."""
        text = f"{self.file}:{self.line}:{self.before}:{self.after}"
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def apply(self, source: str) -> str:
        """The mutated file; as many lines as before, since line numbers may get into objects."""
        lines = without_comments(source).splitlines()
        lines[self.line - 1] = self.after
        return "\n".join(lines) + "\n"


def without_comments(source: str) -> str:
    """The same lines without comments, of which the tool would make mutants too."""

    def blank(match: re.Match[str]) -> str:
        text = match.group()
        return text if text[0] in "\"'" else re.sub(r"[^\n]+", " ", text)

    return re.sub(r"[ \t]+$", "", _COMMENT.sub(blank, source), flags=re.M)


def mutants_of(root: Path, file: str) -> list[Mutant]:
    """Every mutant of one file, valid C or not, in the order of lines and rules.

    Changes of string literals alone are left out (the tool's default).
    """
    from universalmutator import mutator  # type: ignore[import-untyped]

    lines = without_comments((root / file).read_text()).splitlines(keepends=True)
    with contextlib.redirect_stdout(io.StringIO()):
        made = mutator.mutants_regexp(lines, RULES, ignorePatterns=[], ignoreStringOnly=True)
    found: dict[Mutant, None] = {}
    for number, text, *_ in made:
        before = lines[number - 1].strip()
        after = " ".join(part.strip() for part in text.splitlines()).strip()
        if after != before:
            found[Mutant(file, number, before, after)] = None
    return list(found)


def shuffled(root: Path, files: Sequence[str], seed: int) -> list[Mutant]:
    """The mutants of all files in an order drawn with the seed: a prefix is a uniform sample."""
    mutants = [m for file in sorted(files) for m in mutants_of(root, file)]
    random.Random(seed).shuffle(mutants)
    return mutants
