"""CO-RE against two judges: the C compiler's own layout of altered structs, and libbpf."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from core_corpus import CLANG, INNER, Case, cases, compile_bpf, run_native
from hypothesis import HealthCheck, given, settings
from kernel import available
from libbpf_oracle import library, plain, relocated

import pktfilter as pf
from pktfilter.errors import ObjectError, VerifierError
from pktfilter.objects import ObjectSpec
from pktfilter.objects.target_btf import SYSTEM_PATH, read_target

pytestmark = pytest.mark.skipif(shutil.which(CLANG) is None, reason=f"{CLANG} is not installed")

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int);
	__uint(value_size, 512); } input SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 64); __type(key, int);
	__type(value, __u64); } output SEC(".maps");
#define OUT(n, v) do { int k = n; __u64 x = v; bpf_map_update_elem(&output, &k, &x, 0); } while (0)
char _license[] SEC("license") = "GPL";
"""
PRESERVE = "__attribute__((preserve_access_index))"


def program(types: str, body: str) -> str:
    return (
        f'{HEAD}{types}\nSEC("xdp") int p(struct xdp_md *ctx) {{ int zero = 0; '
        f"struct thing *t = (void *)bpf_map_lookup_elem(&input, &zero); if (!t) return 0;\n{body}\n"
        "return 2; }"
    )


def outputs(obj: pf.Object, count: int, engine: str = "checked") -> list[int]:
    for index in range(count):
        obj.maps["output"].update(index, bytes(8))
    assert obj.programs["p"].test_run(bytes(64), engine=engine).retval == 2
    return [int.from_bytes(obj.maps["output"].lookup(n), "little") for n in range(count)]


def drawn_program(case: Case) -> str:
    # Each bit field begins a word of its own: clang 14 fails where one crosses its type's words.
    fields = " ".join(
        f"unsigned int : 0; {member.declaration()} unsigned int : 0;"
        if member.bits
        else member.declaration()
        for member in case.local
    )
    types = f"{INNER} {PRESERVE}; struct thing___ours {{ {fields} }} {PRESERVE};"
    body = []
    for n, member in enumerate(case.local):
        access = f"(({'struct thing___ours'} *)t)->{member.name}"
        body.append(f"OUT({4 * n}, bpf_core_field_exists({access}));")
        body.append(f"if (bpf_core_field_exists({access})) {{")
        if member.bits:
            body.append(
                f"OUT({4 * n + 1}, BPF_CORE_READ_BITFIELD((struct thing___ours *)t, {member.name}));"
            )
        else:
            body.append(f"OUT({4 * n + 1}, __builtin_preserve_field_info({access}, 0));")
            body.append(f"OUT({4 * n + 2}, bpf_core_field_size({access}));")
        body.append("}")
    body.append("OUT(60, bpf_core_type_size(struct thing___ours));")
    return program(types, "\n".join(body))


def native_program(case: Case) -> str:
    """What the altered struct holds and where, over a struct of bytes 1, 2, 3, ..."""
    here = {member.name: member for member in case.target}
    lines = []
    for member in case.local:
        if member.name not in here:
            lines.append("show(0); show(0); show(0);")
        elif here[member.name].bits:
            lines.append(f"show(1); show(t->{member.name}); show(0);")
        else:
            name = member.name
            lines.append(f"show(1); show(offsetof(struct thing, {name})); show(sizeof t->{name});")
        lines.append("show(0);")
    return (
        f"#include <stddef.h>\n#include <stdio.h>\n{case.target_struct()}\n"
        'static void show(unsigned long long n) { printf("%llu\\n", n); }\n'
        "static unsigned char bytes[512];\nint main(void) { struct thing *t = (void *)bytes;\n"
        "for (int i = 0; i < 512; i++) bytes[i] = i * 7 + 1;\n"
        + "\n".join(lines)
        + "\nshow(sizeof *t); return 0; }"
    )


def agree_with_libbpf(path: Path, target: Path) -> None:
    """Where libbpf can load here, it makes the same instructions."""
    bpf = library()
    if bpf is None or available() is not None:
        return
    spec = ObjectSpec.from_file(path)
    spec.relocate(read_target(target))
    assert plain(spec.programs["p"].insns) == plain(relocated(bpf, path, "p", target))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_answers_are_the_compilers_own(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("core")
    compile_bpf(drawn_program(case), directory / "p.o")
    compile_bpf(f"{case.target_struct()} struct thing use;", directory / "target.o")
    expected = run_native(native_program(case), directory)
    try:
        obj = pf.load(directory / "p.o", btf=directory / "target.o")
    except ObjectError as error:
        # A packed bit field may cross every aligned word of 8 bytes: then nothing can read it.
        assert "in no word of 8 bytes" in str(error) and case.packed
        return
    agree_with_libbpf(directory / "p.o", directory / "target.o")
    obj.maps["input"].update(0, bytes((i * 7 + 1) & 255 for i in range(512)))
    for engine in ("checked", "interp", "jit"):
        found = outputs(obj, 61, engine)
        assert found[: len(expected) - 1] == expected[:-1]
        assert found[60] == expected[-1]


THING = f"struct thing {{ unsigned int a; int b; void *c; long gone; }} {PRESERVE};"


def build(tmp_path: Path, body: str, target: str, types: str = THING) -> tuple[Path, Path]:
    compile_bpf(program(types, body), tmp_path / "p.o")
    compile_bpf(target, tmp_path / "target.o")
    return tmp_path / "p.o", tmp_path / "target.o"


def test_width_of_unsigned_loads_follows_the_target(tmp_path: Path) -> None:
    path, target = build(
        tmp_path, "OUT(0, t->a);", "struct thing { long long pad; unsigned char a; } t;"
    )
    obj = pf.load(path, btf=target)
    obj.maps["input"].update(0, bytes(range(256)) * 2)
    assert outputs(obj, 1) == [8]
    path, target = build(tmp_path, "OUT(0, t->b);", "struct thing { long long b; } t;")
    with pytest.raises(VerifierError, match=r"'struct thing\.b' has another size: 4 bytes here, 8"):
        pf.load(path, btf=target)


def test_what_is_missing_is_named_unless_guarded(tmp_path: Path) -> None:
    target = "struct thing { int other; } t;"
    path, other = build(tmp_path, "OUT(0, t->gone);", target)
    with pytest.raises(
        VerifierError, match=r"byte offset of 'struct thing\.gone'.*field"
    ) as caught:
        pf.load(path, btf=other)
    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.code == "object-unresolved" and diagnostic.source is not None
    assert "OUT(0, t->gone)" in diagnostic.source.source
    guarded = "if (bpf_core_field_exists(t->gone)) OUT(0, t->gone + 1); else OUT(0, 77);"
    path, other = build(tmp_path, guarded, target)
    agree_with_libbpf(path, other)
    obj = pf.load(path, btf=other)
    assert [outputs(obj, 1, engine) for engine in ("checked", "interp", "jit")] == [[77]] * 3
    assert outputs(pf.load(path), 1) == [1]


def test_ambiguous_candidates_are_refused_unless_they_agree(tmp_path: Path) -> None:
    two = (
        "struct thing {{ int x; unsigned int a; }} t; struct thing___v2 {{ {} unsigned int a; }} u;"
    )
    path, other = build(tmp_path, "OUT(0, t->a);", two.format("long y;"))
    with pytest.raises(ObjectError, match=r"'struct thing\.a' is ambiguous: types \d+ and \d+"):
        pf.load(path, btf=other)
    path, other = build(tmp_path, "OUT(0, t->a);", two.format("unsigned y;"))
    pf.load(path, btf=other)


def test_types_and_enumerators(tmp_path: Path) -> None:
    types = f"""{THING} struct absent {{ int x; }};
enum kind {{ ONE = 1, TWO = 2, LOST = 3 }};
typedef int (*callback)(int, void *);
"""
    body = """OUT(0, bpf_core_type_exists(struct thing)); OUT(1, bpf_core_type_exists(struct absent));
OUT(2, bpf_core_type_size(struct absent)); OUT(3, bpf_core_enum_value_exists(enum kind, LOST));
OUT(4, bpf_core_enum_value(enum kind, TWO)); OUT(5, bpf_core_type_exists(callback));
OUT(6, bpf_core_type_id_kernel(struct thing)); OUT(7, bpf_core_type_id_local(struct thing));
if (bpf_core_enum_value_exists(enum kind, LOST)) OUT(8, bpf_core_enum_value(enum kind, LOST));"""
    target = "enum kind { ZERO, TWO = -5 } k; typedef int (*callback)(int); callback c; struct thing {long q;} t;"
    path, other = build(tmp_path, body, target, types)
    agree_with_libbpf(path, other)
    spec, known = ObjectSpec.from_file(path), read_target(other)
    assert spec.btf is not None and known is not None
    ids = [next(n for n, _ in btf.find_all("thing")) for btf in (known, spec.btf)]
    found = outputs(pf.load(path, btf=other), 9)
    assert found == [1, 0, 0, 0, (1 << 64) - 5, 0, *ids, 0]


def test_a_target_that_cannot_be_read(tmp_path: Path) -> None:
    path, _ = build(tmp_path, "OUT(0, t->a);", "int x;")
    (tmp_path / "bad").write_bytes(b"\x9f\xeb\x01 nothing")
    for name, words in (("bad", "BTF is shorter"), ("none", "types cannot be read: No such file")):
        with pytest.raises(ObjectError, match=words):
            pf.load(path, btf=tmp_path / name)


def test_the_running_kernels_types_are_a_target(tmp_path: Path) -> None:
    if not Path(SYSTEM_PATH).exists():
        pytest.skip("this kernel shows no BTF")
    types = f"{THING} struct sk_buff___tiny {{ unsigned int len; int never; }} {PRESERVE};"
    body = """OUT(0, bpf_core_field_exists(((struct sk_buff___tiny *)t)->len));
OUT(1, bpf_core_field_exists(((struct sk_buff___tiny *)t)->never));
OUT(2, bpf_core_field_offset(((struct sk_buff___tiny *)t)->len));"""
    path, _ = build(tmp_path, body, "int x;", types)
    known = read_target("system")
    assert known is not None
    _, record = next(known.find_all("sk_buff"))
    offset = next(m.bit_offset for m in record.members if m.name == "len") // 8  # type: ignore[union-attr]
    found = outputs(pf.load(path, btf="system"), 3)
    assert found[:2] == [1, 0] and found[2] == offset
