"""Externs: configuration values, kernel symbols that are not there, and calls of unknown functions."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import commandline
import pytest
from click.testing import CliRunner
from core_corpus import CLANG, compile_bpf

import pktfilter as pf
from pktfilter.cli.verify import verify_command
from pktfilter.errors import InputError, ObjectError, VerifierError
from pktfilter.objects import ObjectSpec
from pktfilter.objects.externs import read_kconfig

pytestmark = pytest.mark.skipif(shutil.which(CLANG) is None, reason=f"{CLANG} is not installed")

HEAD = """
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
"""
CONFIG = """
extern bool CONFIG_ON __kconfig __weak;
extern char CONFIG_LETTER __kconfig __weak;
extern enum libbpf_tristate CONFIG_THREE __kconfig __weak;
extern int CONFIG_HZ __kconfig;
extern unsigned long long CONFIG_BASE __kconfig __weak;
extern char CONFIG_NAME[5] __kconfig __weak;
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("xdp") int p(struct xdp_md *ctx)
{
	switch (ctx->ingress_ifindex) {
	case 1: return CONFIG_ON;
	case 2: return CONFIG_LETTER;
	case 3: return CONFIG_THREE;
	case 4: return CONFIG_HZ;
	case 5: return CONFIG_BASE >> 32;
	case 6: return CONFIG_NAME[3] | CONFIG_NAME[4] << 8;
	}
	return LINUX_KERNEL_VERSION;
}
"""


def build(tmp_path: Path, source: str) -> Path:
    compile_bpf(HEAD + source, tmp_path / "p.o")
    return tmp_path / "p.o"


def values(obj: pf.Object, engine: str = "checked") -> list[int]:
    program = obj.programs["p"]
    return [
        program.test_run(bytes(64), ingress_ifindex=n, engine=engine).retval for n in range(1, 8)
    ]


def test_configuration_values(tmp_path: Path) -> None:
    path = build(tmp_path, CONFIG)
    given: dict[str, bool | int | str] = {
        "CONFIG_ON": True,
        "CONFIG_LETTER": "m",
        "CONFIG_THREE": "m",
        "CONFIG_HZ": "0x3e8",
        "CONFIG_BASE": 7 << 32,
        "CONFIG_NAME": '"abcdefg"',
        "CONFIG_OTHER": "y",
    }
    obj = pf.load(path, kconfig=given)
    version = 6 << 16 | 18 << 8
    expected = [1, ord("m"), 2, 1000, 7, ord("d"), version]
    assert [values(obj, engine) for engine in ("checked", "interp", "jit")] == [expected] * 3
    few = pf.load(path, kconfig={"CONFIG_HZ": 250, "LINUX_KERNEL_VERSION": 0x050F00})
    assert values(few) == [0, 0, 0, 250, 0, 0, 0x050F00]
    with pytest.raises(ObjectError, match=r"symbol 'CONFIG_HZ': extern variable has no value"):
        pf.load(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CONFIG_ON", "m", r"found 'm', expected y or n \(bool\)"),
        ("CONFIG_ON", 1, r"found 1, expected y or n \(bool\)"),
        ("CONFIG_THREE", "4", r"expected y, n or m"),
        ("CONFIG_HZ", 1 << 31, r"expected a number of 32 bits"),
        ("CONFIG_HZ", "many", r"found 'many'"),
        ("CONFIG_BASE", -1, r"expected a number of 64 bits"),
        ("CONFIG_NAME", 5, r"expected text"),
        ("CONFIG_LETTER", "yes", r"expected y, n, m, or a number of 8 bits"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, name: str, value: Any, words: str) -> None:
    path = build(tmp_path, CONFIG)
    with pytest.raises(InputError, match=f"value of '{name}' does not fit.*{words}"):
        pf.load(path, kconfig={"CONFIG_HZ": 1, name: value})


def test_configuration_files_and_the_option(tmp_path: Path) -> None:
    path = build(tmp_path, CONFIG)
    text = '# CONFIG_ON is not set\nCONFIG_HZ=300\nCONFIG_NAME="x"\nother line\n'
    (tmp_path / "config").write_text(text)
    (tmp_path / "config.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("config", "config.gz"):
        assert read_kconfig([tmp_path / name, "CONFIG_HZ=5"]) == {
            "CONFIG_HZ": "5",
            "CONFIG_NAME": '"x"',
        }
        found = CliRunner().invoke(
            verify_command, [str(path), "--json", "--kconfig", str(tmp_path / name)]
        )
        assert json.loads(found.output)["programs"][0]["ok"]
    (tmp_path / "cut.gz").write_bytes(gzip.compress(text.encode())[:30])
    (tmp_path / "empty").write_text("nothing\n")
    for name, words in (
        ("cut.gz", "cannot be read"),
        ("none", "No such file"),
        ("empty", "no CONFIG_NAME"),
    ):
        with pytest.raises(InputError, match=words):
            read_kconfig([tmp_path / name])


def test_a_configuration_that_is_not_there_is_told_where_nothing_asks_for_it(
    tmp_path: Path,
) -> None:
    path = build(tmp_path, 'SEC("xdp") int p(struct xdp_md *ctx) { return 2; }')
    for option in ("none", "CONFIG_ON"):
        found = CliRunner().invoke(verify_command, [str(path), "--kconfig", option])
        assert isinstance(found.exception, InputError) and "cannot be read" in str(found.exception)
    assert (
        CliRunner().invoke(verify_command, [str(path), "--kconfig", "CONFIG_ON=y"]).exit_code == 0
    )


def test_the_room_of_all_variables_is_bounded(tmp_path: Path) -> None:
    """An object of a few kilobytes could ask for 64 GiB."""
    names = [f"CONFIG_{n}" for n in range(40)]
    source = "".join(f"extern char {name}[16777216] __kconfig __weak;\n" for name in names)
    source += 'SEC("xdp") int p(struct xdp_md *ctx)\n{\nswitch (ctx->ingress_ifindex) {\n'
    source += "".join(f"case {n}: return {name}[5];\n" for n, name in enumerate(names))
    with pytest.raises(ObjectError, match="extern variables are too large"):
        ObjectSpec.from_file(build(tmp_path, source + "}\nreturn 2;\n}\n"))


SYMBOLS = """
extern const void some_symbol __ksym __weak;
extern const int typed_symbol __ksym __weak;
extern int maybe_function(int) __ksym __weak;
SEC("xdp") int p(struct xdp_md *ctx)
{
	if (&some_symbol || &typed_symbol)
		return XDP_DROP;
	return %s maybe_function(3) ? XDP_TX : XDP_PASS;
}
"""


def test_weak_symbols_have_address_0(tmp_path: Path) -> None:
    obj = pf.load(build(tmp_path, SYMBOLS % "maybe_function &&"))
    run = obj.programs["p"].test_run
    assert [run(bytes(64), engine=engine).retval for engine in ("checked", "interp", "jit")] == [
        2
    ] * 3
    with pytest.raises(VerifierError, match="kernel function 'maybe_function' does not exist here"):
        pf.load(build(tmp_path, SYMBOLS % ""))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("extern const void wanted __ksym; {} return (long)&wanted; }}", "symbol is not.*'wanted'"),
        ("extern int wanted(int) __ksym; {} return wanted(1); }}", "kernel function is.*'wanted'"),
    ],
)
def test_strong_symbols_are_refused_by_name(tmp_path: Path, source: str, words: str) -> None:
    main = 'SEC("xdp") int p(struct xdp_md *ctx) {'
    with pytest.raises(ObjectError, match=words):
        ObjectSpec.from_file(build(tmp_path, source.format(main)))


OTHERS = """
SEC("tc") int a(struct __sk_buff *skb) { return 0; }
SEC("kprobe/do_exit") int b(void *ctx) { return 0; }
SEC("cgroup_skb/egress") int c(struct __sk_buff *skb) { return 1; }
SEC("socket") int d(struct __sk_buff *skb) { return 0; }
SEC("tracepoint/x/y") int e(void *ctx) { return 0; }
"""
UNKNOWN = "extern int unknown_function(void) __ksym;\nstruct shown { int x; };\n"


def test_programs_of_other_types_are_skipped_with_what_they_need(tmp_path: Path) -> None:
    other = 'SEC("fentry/f") int g(void *ctx) { return unknown_function(); }\n'
    other += """struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 9); __uint(key_size, 4);
__uint(value_size, 64); } stacks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2); __uint(key_size, 4);
__array(values, int(void *)); } jumps SEC(".maps") = { .values = { [1] = (void *)&b } };
"""
    main = 'SEC("xdp") int p(struct xdp_md *ctx) { return XDP_PASS; }\n'
    obj = pf.load(build(tmp_path, UNKNOWN + OTHERS + other + main))
    assert list(obj.programs) == ["p"]
    assert {item.name for item in obj.skipped} == set("abcdeg")
    assert set(obj.maps) == {"jumps"} and len(obj.maps["jumps"]) == 0
    only = build(tmp_path, OTHERS)
    found = commandline.run("verify", only, code=1)
    assert "no XDP program" in found.error and "tc" in found.error
    with pytest.raises(ObjectError, match="no XDP program"):
        pf.load(only)


FORMS = """
struct inner { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 3); __type(key, int);
	__type(value, long); };
static struct inner quiet SEC(".maps");
__hidden struct inner secret SEC(".maps");
__weak struct inner feeble SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS); __uint(max_entries, 4); __type(key, int);
	__array(values, struct inner); } outer SEC(".maps") = {
	.values = { [0] = &quiet, [1] = &secret, [3] = &feeble } };
int data_one SEC(".data.one") = 5;
const volatile int ro_two SEC(".rodata.two") = 6;
int bss_three SEC(".bss.three");
__hidden __noinline int hidden(int x) { return x + data_one; }
__weak __noinline int weak(int x) { bss_three += x; return hidden(x) + ro_two; }
SEC("xdp") int p(struct xdp_md *ctx)
{
	int key = 3; long value = 9;
	void *map = bpf_map_lookup_elem(&outer, &key);
	if (!map || bpf_map_update_elem(map, &key, &value, 0))
		return -1;
	long *back = bpf_map_lookup_elem(&feeble, &key);
	return weak(10) + bss_three + (back ? *back : 0);
}
"""


def test_hidden_weak_and_static_definitions_and_sections_of_ones_own(tmp_path: Path) -> None:
    obj = pf.load(build(tmp_path, FORMS))
    run = obj.programs["p"].test_run
    found = [run(bytes(64), engine=engine).retval for engine in ("checked", "interp", "jit")]
    # weak(10) is 10 + 5 + 6; .bss.three grows by 10 each time; the inner map has 9.
    assert found == [21 + 10 + 9, 21 + 20 + 9, 21 + 30 + 9]
    assert {".data.one", ".rodata.two", ".bss.three", "quiet", "secret"} <= set(obj.maps)
