"""The verifier's judges as data: rule-by-rule cases in assembly, and real programs in C.

Both carry the verdict that the author expects, and both were shown to Linux 6.18 (x86-64, CAP_BPF
and CAP_PERFMON); what it said is frozen in ``verdicts.tsv`` beside them, with a digest of the
bytes that were judged.  Formats: ``tests/verifier_cases/README.md``, ``tests/programs/README.md``.
Nothing here needs the kernel.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pktfilter.assembler import assemble
from pktfilter.objects import FuncInfo, LineInfo, MapSpec, ObjectSpec

CASES = Path(__file__).parent / "verifier_cases"
PROGRAMS = Path(__file__).parent / "programs"

_MAP_FLAGS = {"no_prealloc": 1, "rdonly": 1 << 7, "wronly": 1 << 8}
_HEX = re.compile(r"raw((?:\s+[0-9a-f]{2}){8})$")
_REPEAT = re.compile(r"repeat (\d+) (.+)$")
_SOURCE_KEY = re.compile(r"^ \* (verdict|says|why|needs|uses): +(.+)$", re.MULTILINE)


class CorpusError(ValueError):
    """A corpus file is malformed; the message says where."""


@dataclass(frozen=True)
class Recorded:
    """What the kernel said: its verdict, errno (0 if accepted) and first line of reasons."""

    verdict: str
    errno: int
    digest: str
    message: str


@dataclass
class Entry:
    """One program with its verdict.

    ``expected`` is "accept" or "reject"; for a reject ``reason`` is a slug of ``reasons.txt``,
    ``why`` a sentence for a newcomer, and ``says`` the words of which the diagnostic must contain
    every one (any case).  ``needs`` names what the engine must support for the comparison to make
    sense ("kfunc"); empty for most.  ``functions`` and ``btf`` are there where the kernel wants
    them.
    """

    name: str
    insns: bytes
    maps: dict[int, MapSpec]
    expected: str
    needs: frozenset[str] = frozenset()
    type: str = "xdp"
    license: str = "GPL"
    reason: str = ""
    why: str = ""
    says: tuple[str, ...] = ()
    functions: list[FuncInfo] = field(default_factory=list)
    lines: list[LineInfo] = field(default_factory=list)
    btf: bytes | None = None
    uses: str = ""
    recorded: Recorded | None = None

    @property
    def digest(self) -> str:
        """Of the instructions and map definitions, which the recorded verdict is about."""
        text = repr(sorted((n, _shape(m)) for n, m in self.maps.items())) + self.license
        return hashlib.sha256(self.insns + text.encode()).hexdigest()[:16]


def _shape(spec: MapSpec) -> tuple[object, ...]:
    inner = _shape(spec.inner) if spec.inner else None
    sizes = (spec.key_size, spec.value_size, spec.max_entries)
    lock = () if spec.lock is None else ("lock", spec.lock)
    return (spec.type, *sizes, spec.flags, spec.data, inner, *lock)


@lru_cache(maxsize=1)
def reasons() -> dict[str, tuple[tuple[str, ...], str]]:
    """Slug to the words a diagnostic must contain, and the rule in a sentence."""
    table: dict[str, tuple[tuple[str, ...], str]] = {}
    for line in (CASES / "reasons.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            slug, words, sentence = (part.strip() for part in line.split("|"))
            table[slug] = (tuple(w.strip() for w in words.split(",") if w.strip()), sentence)
    return table


def recorded(folder: Path) -> dict[str, Recorded]:
    """The frozen verdicts of a folder, by name; empty before the first recording."""
    path = folder / "verdicts.tsv"
    if not path.exists():
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, verdict, number, digest, message = line.split("\t")
            rows[name] = Recorded(verdict, int(number), digest, message)
    return rows


def _map_spec(text: str, where: str) -> tuple[str, MapSpec]:
    """``NAME TYPE KEY VALUE ENTRIES`` and then any of ``no_prealloc rdonly wronly``,
    ``data HEX``, ``lock OFFSET``, ``inner TYPE KEY VALUE ENTRIES [lock OFFSET]``."""
    words = text.split()
    try:
        name, kind, *sizes = words[:5]
        key, value, entries = (int(word) for word in sizes)
    except ValueError as error:
        raise CorpusError(f"{where}: map line is wrong: {text}") from error
    spec = MapSpec(kind, key, value, entries, name=name)
    rest = words[5:]
    while rest:
        word = rest.pop(0)
        if word in _MAP_FLAGS:
            spec.flags |= _MAP_FLAGS[word]
        elif word == "data":
            spec.data = bytes.fromhex(rest.pop(0)).ljust(value, b"\0")
            spec.frozen = bool(spec.flags & _MAP_FLAGS["rdonly"])
        elif word == "lock":
            (spec.inner or spec).lock = int(rest.pop(0))
        elif word == "inner":
            sizes = rest[1:4]
            spec.inner = MapSpec(rest[0], int(sizes[0]), int(sizes[1]), int(sizes[2]))
            del rest[:4]
        else:
            raise CorpusError(f"{where}: unknown word '{word}' in a map line")
    return name, spec


def _repeated(line: str) -> list[str]:
    """``repeat N LINE`` is the line N times over."""
    found = _REPEAT.match(line)
    return [found[2]] * int(found[1]) if found else [line]


def _assemble(code: list[str], maps: list[str], where: str) -> tuple[bytes, list[LineInfo]]:
    """Bytes of the code lines.

    A ``raw`` line stands for 8 bytes that no assembler would write; while the rest is assembled an
    ``exit`` keeps its place, so labels and distances count it as one instruction.
    """
    if not code:
        return b"", []
    text, patches = [f".extern {name} {number}" for number, name in enumerate(maps, 1)], {}
    for line in [copy for written in code for copy in _repeated(written)]:
        label, colon, rest = line.rpartition(": ")
        found = _HEX.match((rest if colon else line).strip())
        if found:
            patches[len(text) + 1] = bytes.fromhex(found[1])
            line = f"{label}: exit" if colon else "exit"  # noqa: PLW2901
        text.append(line)
    try:
        (program,) = assemble("\n".join(text), where)
    except Exception as error:
        raise CorpusError(f"{where}: {error}") from error
    insns = bytearray(program.insns)
    for info in program.lines:
        if info.line in patches:
            insns[info.insn * 8 : info.insn * 8 + 8] = patches[info.line]
    return bytes(insns), program.lines


@dataclass
class _Draft:
    where: str
    fields: dict[str, str] = field(default_factory=dict)
    maps: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


def _drafts(path: Path) -> Iterator[_Draft]:
    shared: list[str] = []
    draft: _Draft | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.name}:{number}"
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] in " \t":
            if draft is None:
                raise CorpusError(f"{where}: code outside a case")
            draft.code.append(line.strip())
            continue
        key, colon, value = line.partition(":")
        value = value.strip()
        if not colon:
            raise CorpusError(f"{where}: neither a field nor code")
        if key == "case":
            if draft:
                yield draft
            draft = _Draft(where, {"case": value}, list(shared))
        elif key == "map":
            (draft.maps if draft else shared).append(value)
        elif draft is None or key not in ("expect", "why", "says", "needs", "license", "type"):
            raise CorpusError(f"{where}: field '{key}' is not known here")
        else:
            draft.fields[key] = value
    if draft:
        yield draft


def _entry(draft: _Draft, topic: str) -> Entry:
    get = draft.fields.get
    where = f"{draft.where}: {get('case')}"
    expected, _, reason = get("expect", "").partition(" ")
    says: tuple[str, ...] = ()
    if expected == "reject":
        if reason not in reasons():
            raise CorpusError(f"{where}: reason '{reason}' is not in reasons.txt")
        says, sentence = reasons()[reason]
        if "says" in draft.fields:
            says = tuple(word.strip() for word in draft.fields["says"].split(","))
        why = get("why") or sentence
    elif expected == "accept" and not reason:
        why = get("why", "")
    else:
        raise CorpusError(f"{where}: expect is 'accept' or 'reject REASON'")
    specs = [_map_spec(text, where) for text in draft.maps]
    insns, lines = _assemble(draft.code, [name for name, _ in specs], where)
    source = " ".join(draft.code)
    # Maps of the whole file belong to a case only if it names them.
    used = {n: s for n, s in enumerate(specs, 1) if f"map[{s[0]}]" in source}
    return Entry(
        name=f"{topic}/{get('case')}",
        insns=insns,
        maps={number: spec for number, (_, spec) in used.items()},
        expected=expected,
        needs=frozenset(get("needs", "").split()),
        type=get("type", "xdp"),
        license=get("license", "GPL"),
        reason=reason,
        why=why,
        says=says,
        lines=lines,
    )


def cases(folder: Path = CASES) -> Iterator[Entry]:
    """The rule-by-rule cases, in the order of files and lines; names are unique."""
    known = recorded(folder)
    seen: set[str] = set()
    for path in sorted(folder.glob("*.cases")):
        for draft in _drafts(path):
            entry = _entry(draft, path.stem)
            if entry.name in seen:
                raise CorpusError(f"{draft.where}: second case called '{entry.name}'")
            seen.add(entry.name)
            entry.recorded = known.get(entry.name)
            yield entry


def _source_of(path: Path) -> Path:
    return path.with_name(path.name.split(".")[0] + ".c")


def programs(folder: Path = PROGRAMS) -> Iterator[Entry]:
    """Every program of every object, the broken ones (``broken/``) included."""
    known = recorded(folder)
    for path in sorted(folder.glob("*.o")) + sorted(folder.glob("broken/*.o")):
        comment = _source_of(path).read_text(encoding="utf-8")
        about = {key: " ".join(value.split()) for key, value in _SOURCE_KEY.findall(comment)}
        expected, _, reason = about.get("verdict", "accept").partition(" ")
        if expected == "reject" and reason not in reasons():
            raise CorpusError(f"{path.name}: reason '{reason}' is not in reasons.txt")
        says = (
            about["says"].split(",") if "says" in about else list(reasons().get(reason, ((),))[0])
        )
        spec = ObjectSpec.from_file(path)
        specs = list(spec.maps.values())
        for program in spec.programs.values():
            name = f"{path.relative_to(folder).with_suffix('').as_posix()}:{program.name}"
            yield Entry(
                name=name,
                insns=program.insns,
                maps={number: specs[number - 1] for number in program.map_refs},
                expected=expected,
                needs=frozenset(about.get("needs", "").split()),
                license=spec.license,
                reason=reason,
                why=about.get("why", ""),
                says=tuple(word.strip() for word in says),
                functions=program.functions,
                lines=program.lines,
                btf=spec.btf.raw if spec.btf else None,
                uses=about.get("uses", ""),
                recorded=known.get(name),
            )


def corpus() -> Iterator[tuple[str, bytes, dict[int, MapSpec], str, frozenset[str]]]:
    """All of it: (name, instructions, maps by number, "accept" or "reject", needs)."""
    for group, entries in (("cases", cases()), ("programs", programs())):
        for entry in entries:
            yield f"{group}/{entry.name}", entry.insns, entry.maps, entry.expected, entry.needs
