"""`inspect --btf`: C that a compiler lays out as the types say. The compiler is the oracle."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from commandline import EXAMPLES, PORTFW, run
from core_corpus import CLANG
from hypothesis import given, settings
from hypothesis import strategies as st

from pktfilter.errors import InputError, ObjectError
from pktfilter.handles.typed import MapTypes
from pktfilter.objects import ObjectSpec
from pktfilter.objects.btf import Btf, parse_btf
from pktfilter.objects.btf_types import DataSec, Enum, Int, Member, Modifier, Ptr, Struct, Void
from pktfilter.objects.c_text import c_types
from pktfilter.objects.elf_section import find_section
from pktfilter.objects.target_btf import read_target

HERE = Path(__file__).parent
KERNEL = Path("/sys/kernel/btf/vmlinux")
needs_clang = pytest.mark.skipif(shutil.which(CLANG) is None, reason=f"{CLANG} is not installed")
OBJECTS = sorted(
    path
    for folder in (EXAMPLES, HERE / "programs", HERE / "objects")
    for path in folder.glob("*.o")
)


def asserts(btf: Btf) -> list[str]:
    """Sizes of all named structs and unions, places of their plain members. Names that stand twice are left out."""
    named = [r for r in btf.types if isinstance(r, Struct) and r.name]
    names = Counter(r.name for r in btf.types if isinstance(r, (Struct, Enum)))
    out = []
    for record in named:
        if names[record.name] > 1 or not re.fullmatch(r"\w+", record.name):
            continue
        what = f"{'union' if record.is_union else 'struct'} {record.name}"
        out.append(f'_Static_assert(sizeof({what}) == {record.size}, "{what}");')
        for member in record.members:
            plain = not member.bitfield_size and member.bit_offset % 8 == 0
            inner = btf.resolve(member.type)
            if isinstance(inner, Int) and (inner.offset or inner.bits != inner.size * 8):
                continue
            if member.name and plain:
                at = member.bit_offset // 8
                place = f"__builtin_offsetof({what}, {member.name})"
                out.append(f'_Static_assert({place} == {at}, "{what}.{member.name}");')
    return out


def compiled(tmp_path: Path, text: str, *, target: str = "bpf") -> Path:
    source, out = tmp_path / "types.c", tmp_path / "types.o"
    source.write_text(text)
    done = subprocess.run(
        [CLANG, "-target", target, "-g", "-O0", "-w", "-c", str(source), "-o", str(out)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return out


def shapes(btf: Btf) -> dict[str, tuple[int, list[tuple[str, int, int]]]]:
    """Size and members (name, bit, width of a bit field) of each named struct and union."""
    return {
        record.name: (
            record.size,
            [(m.name, m.bit_offset, m.bitfield_size) for m in record.members if m.name],
        )
        for record in btf.types
        if isinstance(record, Struct) and record.name
    }


@needs_clang
@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_layout_is_the_objects(path: Path, tmp_path: Path) -> None:
    try:
        btf = read_target(path)
    except ObjectError as error:
        pytest.skip(str(error))
    assert btf is not None
    text = "".join(c_types(btf))
    # What the compiler says of it, for types that it was made to use.
    uses = [
        f"{'union' if r.is_union else 'struct'} {r.name} use{n};"
        for n, r in enumerate(btf.types)
        if isinstance(r, Struct) and r.name and r.size
    ]
    out = compiled(tmp_path, "\n".join([text, *asserts(btf), *uses]))
    if not uses:
        return
    again = read_target(out)
    assert again is not None
    theirs, ours = shapes(again), shapes(btf)
    for name, (size, members) in theirs.items():
        if name in ours and "___" not in name:
            assert (size, members) == ours[name], name


@needs_clang
@pytest.mark.skipif(not KERNEL.exists(), reason="the running kernel tells no types")
def test_the_kernels_own_types(tmp_path: Path) -> None:
    done = run("inspect", KERNEL, "--btf")
    btf = read_target(KERNEL)
    assert btf is not None
    checks = asserts(btf)
    assert len(checks) > 10_000
    compiled(tmp_path, "\n".join([done.text, *checks]), target="x86_64-linux-gnu")


def made(*types: object) -> Btf:
    btf = read_target(PORTFW)
    assert btf is not None
    btf.types = [Void(), *types]  # type: ignore[list-item]
    return btf


INT = Int("int", 4, 32, 0, True, False, False)


def text_of(*types: object) -> str:
    return "".join(c_types(made(*types)))


def test_hostile_types_are_refused_or_said() -> None:
    inside = Struct("s", 8, (Member("s", 1, 0, 0),), False)
    with pytest.raises(ObjectError, match="contains itself"):
        text_of(inside)
    with pytest.raises(ObjectError, match=r"nested too deeply|contains itself"):
        text_of(Modifier("typedef", 2, "a"), Modifier("typedef", 1, "b"))
    with pytest.raises(ObjectError, match="overlap"):
        text_of(INT, Struct("s", 8, (Member("a", 1, 0, 0), Member("b", 1, 16, 0)), False))
    large = text_of(INT, Struct("s", 1 << 31, (Member("a", 1, 0, 0),), False))
    assert len(large) < 1000
    assert "int" not in text_of(Ptr(2), INT)
    assert text_of(Modifier("typedef", 2, "int"), INT) == "typedef int _int;\n"
    text = text_of(Enum(name="e", size=4, signed=False, values=(("A", 1), ("A", 2), ("B; }", 3))))
    assert "A = 1" in text and "A___2 = 2" in text and "B___" in text


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"\x9f\xeb\x01\x00" + b"\xff" * 40)
    for arguments in ((bad,), (tmp_path / "none",), (tmp_path,)):
        done = run("inspect", *arguments, "--btf", code=1)
        assert "Traceback" not in done.error and done.error.count("\n") == 1
    assert "leave --json out" in run("inspect", PORTFW, "--btf", "--json", code=2).error


RAW = {
    path.stem: find_section(io.BytesIO(path.read_bytes()), ".BTF", 1 << 20, path.name)
    for path in (PORTFW, HERE / "objects" / "typed_maps.o", HERE / "objects" / "maps.o")
}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(RAW)),
    st.lists(st.tuples(st.integers(24, 4000), st.sampled_from([0, 1, 2, 4, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)),
             min_size=1, max_size=8),
)  # fmt: skip
def test_damaged_types_end_in_text_or_one_sentence(
    name: str, changes: list[tuple[int, int]]
) -> None:
    """Any bytes of the types changed: the reader or the writer refuses, or there is text, and soon."""
    raw = bytearray(RAW[name])
    for at, value in changes:
        raw[at % len(raw)] = value
    try:
        text = "".join(c_types(parse_btf(bytes(raw), "damaged")))
    except ObjectError as error:
        assert "\n" not in str(error)
    else:
        assert len(text) < 16 << 20


def test_a_variable_without_a_name_is_refused() -> None:
    """Found by damaging types: it was taken for an unnamed struct of the section."""
    spec = ObjectSpec.from_file(PORTFW)
    assert spec.btf is not None
    section = next(r for r in spec.btf.types if isinstance(r, DataSec) and r.name == ".rodata")
    spec.btf.get(section.vars[0].type).name = ""
    rodata = spec.maps[".rodata"]
    with pytest.raises(InputError, match="has no name"):
        _ = MapTypes(rodata, "map '.rodata'").value
