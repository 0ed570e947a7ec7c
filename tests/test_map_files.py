"""Contents of maps as files: what a dump holds is what loading gives back, and bad files change nothing."""

from __future__ import annotations

import csv
import errno
import json
import random
import re
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from commandline import run
from hypothesis import given, settings
from hypothesis import strategies as st

import pktfilter as pf

ROOT = Path(__file__).parent.parent
OBJECT = Path(__file__).parent / "objects" / "typed_maps.o"
RATELIMIT = str(ROOT / "examples" / "ratelimit.o")
STATS = str(ROOT / "examples" / "stats.o")
FLOW = {"src": "10.0.0.1", "dst": "10.0.0.2", "sport": 1234, "dport": 80, "proto": 6}


@pytest.fixture
def obj() -> pf.Object:
    return pf.load(OBJECT, cpus=2)


def contents(m: pf.Map) -> dict[bytes, Any]:
    return dict(m.items())


# --- round trips ---


@settings(max_examples=60, deadline=None)
@given(
    rows=st.dictionaries(st.binary(min_size=16, max_size=16), st.integers(0, 1 << 60), max_size=8)
)
def test_what_is_dumped_is_loaded_again(
    rows: dict[bytes, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random bytes: values that a type cannot express come back all the same, in both formats."""
    folder = tmp_path_factory.mktemp("dump")
    first = pf.load(OBJECT, cpus=2).maps["records"]
    size = first.value_size
    for key, seed in rows.items():
        first[key] = random.Random(seed).randbytes(size)
    from pktfilter.handles.map_files import dump

    for name in ("m.json", "m.csv"):
        dump(first, str(folder / name))
        again = pf.load(OBJECT, cpus=2).maps["records"]
        assert again.from_json(folder / name) == len(rows)
        assert contents(again) == contents(first)
        dump(again, str(folder / f"2{name}"))
        assert (folder / f"2{name}").read_bytes() == (folder / name).read_bytes()
    assert json.loads(json.dumps(first.to_json())) == json.loads((folder / "m.json").read_text())


def test_every_kind_of_map_comes_back(obj: pf.Object) -> None:
    obj.maps["records"][FLOW] = bytes(obj.maps["records"].value_size)
    obj.maps["floats"].typed[3] = {"f": 1.5, "d": -2, "where": 0}
    obj.maps["floats"][5] = struct.pack("<fxxxxdQ", float("nan"), float("inf"), 7)
    obj.maps["verdicts"]["DENY"] = [1, 2]
    obj.maps["routes"].typed["10.0.0.0/8"] = 1
    inner = pf.Map(obj.maps["slots"].spec.inner)
    inner.typed[1] = -1
    obj.maps["slots"][2] = inner
    again = pf.load(OBJECT, cpus=2)
    for name in ("records", "floats", "verdicts", "routes"):
        entries = obj.maps[name].to_json()
        assert entries
        json.dumps(entries, allow_nan=False)
        again.maps[name].from_json(entries)
        assert contents(again.maps[name]) == contents(obj.maps[name])
    again.maps["slots"].from_json(obj.maps["slots"].to_json())
    assert again.maps["slots"][2] is not inner
    assert contents(again.maps["slots"][2]) == contents(inner)
    assert obj.maps["floats"].to_json()[1]["value"].startswith("hex:")
    assert obj.maps["verdicts"].to_json() == [{"key": "DENY", "value": [1, 2]}]
    wider = pf.load(OBJECT, cpus=4).maps["verdicts"]
    wider.from_json([{"key": "DENY", "value": [1, 2]}])
    assert wider.typed["DENY"] == [1, 2, 0, 0]


def test_inner_maps_of_the_object_stay_what_they_are() -> None:
    """A slot and the name by which programs know the inner map go on meaning one map."""
    from pktfilter.handles.map_files import dump, dump_all, fill, fill_all

    first, again = pf.load(STATS, cpus=1), pf.load(STATS, cpus=1)
    shared = first.maps["protocols"]
    first.maps["classes"][1] = shared
    shared.typed[6] = [{"packets": 5, "bytes": 7}]
    with tempfile.TemporaryDirectory() as folder:
        dump_all(first.maps, f"{folder}/all.json")
        fill_all(again.maps, f"{folder}/all.json")
        dump_all(again.maps, f"{folder}/again.json")
        dump(first.maps["classes"], f"{folder}/classes.csv", first.maps)
        assert '1,"{""map"": ""protocols""}"' in Path(f"{folder}/classes.csv").read_text()
        fill(again.maps["classes"], f"{folder}/classes.csv", maps=again.maps)
        assert Path(f"{folder}/all.json").read_text() == Path(f"{folder}/again.json").read_text()
    assert again.maps["classes"][1] is again.maps["protocols"]
    assert again.maps["protocols"].typed[6] == [{"packets": 5, "bytes": 7}]
    with pytest.raises(pf.InputError, match="entry 1: map 'classes': there is no such map"):
        again.maps["classes"].from_json([{"key": 0, "value": {"map": "protocols"}}])


def test_programs_of_a_prog_array_are_named() -> None:
    program = pf.Program.from_bytes(bytes.fromhex("b7000000020000009500000000000000"), name="two")
    array = pf.Map(pf.MapSpec("prog_array", 4, 4, 4, name="jumps"))
    array[2] = program
    entries = array.to_json()
    assert entries == [{"key": 2, "value": "two"}]
    other = pf.Map(pf.MapSpec("prog_array", 4, 4, 4, name="jumps"))
    with pytest.raises(
        pf.InputError, match="entry 1: map 'jumps': the value is no program, found 'two'"
    ):
        other.from_json(entries)
    other.from_json(entries, programs={"two": program})
    assert other[2] is program


def test_csv_names_fields_and_python_reads_it(obj: pf.Object, tmp_path: Path) -> None:
    file = tmp_path / "routes.csv"
    file.write_text(
        'bits,key.addr,value\n8,10.0.0.0,1\n16,"[10, 1, 0, 0]",0x02\n\n32,hex:0a010203,3\n'
    )
    routes = obj.maps["routes"]
    assert routes.from_json(file) == 3
    assert [routes.typed[f"10.{rest}/32"] for rest in ("9.9.9", "1.9.9", "1.2.3")] == [1, 2, 3]
    per_cpu = tmp_path / "verdicts.csv"
    per_cpu.write_text("key,value[0],value[1]\nDENY,5,6\nhex:01000000,7,8\n")
    obj.maps["verdicts"].from_json(per_cpu)
    assert dict(obj.maps["verdicts"].typed.items()) == {"DENY": [5, 6], "ALLOW": [7, 8]}
    from pktfilter.handles.map_text import csv_text

    rows = list(csv.DictReader(csv_text(obj.maps["verdicts"].to_json()).splitlines()))
    assert {row["key"]: row["value[1]"] for row in rows} == {"DENY": "6", "ALLOW": "8"}


def test_digits_in_hex_are_bytes_where_the_type_wants_no_text() -> None:
    m = pf.Map(pf.MapSpec("hash", 4, 8, 4, name="m"))
    m.from_json([{"key": "0a000001", "value": "hex:0100000000000000"}, {"key": 5, "value": 6}])
    assert contents(m) == {
        b"\x0a\0\0\1": (1).to_bytes(8, "little"),
        b"\5\0\0\0": (6).to_bytes(8, "little"),
    }


# --- bad files ---

BAD_JSON = [
    ("", "no JSON.*line 1:1|line 1:1: .*no JSON"),
    ("{", "line 1:2"),
    ("5", "entries are a list"),
    ('{"other": []}', "no map named 'routes', expected one of: other"),
    ("[5]", "entry 1: the entry is not an object"),
    ('[{"key": 1}]', "entry 1"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0"}, "value": 1, "flags": 0}]', "entry 1"),
    ('[{"key": 1, "key": 2, "value": 1}]', "stands twice"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0"}, "value": NaN}]', "NaN"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0"}, "value": -1}]', r"entry 1: map 'routes': value: .*-1"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0"}, "value": 4294967296}]', "0 to 4294967295"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0"}, "value": 1e400}]', "value"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0"}, "value": ' + "9" * 6000 + "}]", "thousands of digits"),
    ('[{"key": {"bits": 33, "addr": "10.0.0.0"}, "value": 1}]', "prefix length is out of range"),
    ('[{"key": {"bits": 8, "addr": "10.0.0.0.1"}, "value": 1}]', r"key\.addr"),
    ('[{"key": "hex:0a0", "value": 1}]', "entry 1.*hex"),
    ('[{"key": "hex:0a00", "value": 1}]', "found 2 bytes, expected 8 bytes"),
    ("[" * 100_000, "nested too deeply|no JSON"),
    ('[{"key": ' + '{"a":' * 500 + "1" + "}" * 500 + ', "value": 1}]', "no such field|too deeply"),
    ('[{"key": "10.0.0.0/8", "value": 1}, {"key": "10.9.0.0/8", "value": 2}]',
     "entry 2: map 'routes': the key is there already, found it in entry 1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD_JSON, ids=[words[:30] for _, words in BAD_JSON])
def test_bad_json_changes_nothing(obj: pf.Object, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    routes = obj.maps["routes"]
    routes.typed["192.168.0.0/16"] = 9
    before = contents(routes)
    with pytest.raises(pf.InputError, match=words) as caught:
        routes.from_json(file)
    assert "bad.json" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert contents(routes) == before


BAD_CSV = [
    (b"", "empty"),
    (b"bits,addr\n8,10.0.0.0\n", "line 1: no column gives the value, expected such as key.addr,key.bits,value"),
    (b"bits,addr,value,more\n", "line 1: the column is no part of the map, found 'more'"),
    (b"bits,bits,value\n", "stands twice"),
    (b"bits,addr,value\n8,10.0.0.0\n", "line 2: the row has another number of cells"),
    (b"bits,addr,value\n8,10.0.0.0,1\n8,10.0.0.0,2\n", "line 3: .*there already, found it in line 2"),
    (b"bits,addr,value\n8,10.0.0.0,-1\n", r"line 2: map 'routes': value: .*-1"),
    (b"bits,addr,value\n8,,1\n", r"line 2: map 'routes': key\.addr: the field is missing"),
    (b"bits,addr,value\n8,10.0.0.0,nan\n", "line 2.*nan"),
    (b"bits,addr[0],addr[3],value\n8,10,1,1\n", "line 2: elements of an array are left out"),
    (b"bits,addr[4],value\n8,10,1\n", "line 1: the column is no part"),
    (b"bits,addr,value\n8,\"[1,2\",1\n", "line 2.*no JSON"),
    (b"bits,addr,value\n8,\"10.0.0.0,1\n", "line 2.*no CSV"),
    (b"bits,addr,value\n\xff\xfe\n", "offset 16.*no UTF-8"),
    (b"bits,addr,value\n8,10.0.0.0," + b"1" * 200_000 + b"\n", "no CSV"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD_CSV, ids=[words[:30] for _, words in BAD_CSV])
def test_bad_csv_changes_nothing(obj: pf.Object, tmp_path: Path, text: bytes, words: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(text)
    routes = obj.maps["routes"]
    with pytest.raises(pf.InputError, match=words) as caught:
        routes.from_json(file)
    assert "bad.csv" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert len(routes) == 0


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60), suffix=st.sampled_from(("json", "csv")))
def test_any_text_is_an_error_or_entries(
    text: str, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    head = "bits,addr,value\n" if suffix == "csv" else ""
    file.write_text(head + text, encoding="utf-8", errors="replace", newline="")
    routes = pf.load(OBJECT, cpus=1).maps["routes"]
    try:
        assert routes.from_json(file) == len(routes)
    except pf.InputError as error:
        assert f"any.{suffix}" in str(error)
        assert len(routes) == 0


def test_no_more_entries_than_fit(obj: pf.Object) -> None:
    small = pf.Map(pf.MapSpec("lru_hash", 4, 4, 3, name="small"))
    small[100] = 1
    with pytest.raises(pf.InputError, match="found 3 beside 1 others, expected at most 3"):
        small.from_json([{"key": k, "value": 0} for k in range(3)])
    assert small.from_json([{"key": k, "value": 0} for k in (0, 100)]) == 2
    with pytest.raises(
        pf.InputError, match="the index is outside the map, found 8, expected below 8"
    ):
        obj.maps["floats"].from_json([{"key": 8, "value": "hex:" + "00" * 24}])
    frozen = pf.Map(pf.MapSpec("array", 4, 4, 2, name="frozen"))
    frozen.freeze()
    with pytest.raises(pf.MapError, match="entry 1: map 'frozen'") as caught:
        frozen.from_json([{"key": 1, "value": 0}])
    assert caught.value.errno == errno.EPERM


# --- batches ---


@pytest.mark.parametrize("kind", ["hash", "lru_hash", "percpu_hash", "array", "percpu_array"])
def test_batches_do_what_single_calls_do(kind: str) -> None:
    """Against the same operations one by one."""
    one, many = (pf.Map(pf.MapSpec(kind, 4, 12, 64), cpus=3) for _ in range(2))
    rng = random.Random(3)
    pairs = [(rng.randrange(64), rng.randbytes(12)) for _ in range(100)]
    assert many.update_batch(pairs) == 100
    for key, value in pairs:
        one[key] = value
    assert contents(many) == contents(one) == dict(many.lookup_batch())
    keys = [3, 60, 7, 63]
    assert many.lookup_batch(keys) == [dict(one.items()).get(k.to_bytes(4, "little")) for k in keys]
    assert many.lookup_batch([]) == []
    if "hash" in kind:
        present = sorted(contents(one))[:5]
        assert many.delete_batch(present) == 5
        for key in present:
            del one[key]
        assert contents(many) == contents(one)
        with pytest.raises(pf.MapError) as caught:
            many.delete_batch([next(iter(many)), present[0], 1])
        assert (caught.value.errno, caught.value.done) == (errno.ENOENT, 1)


def test_a_batch_stops_where_the_map_is_full_and_says_how_far_it_came() -> None:
    m = pf.Map(pf.MapSpec("hash", 4, 4, 3, name="small"))
    with pytest.raises(pf.MapError, match=r"key 03000000.*full") as caught:
        m.update_batch([(k, k) for k in range(9)])
    assert (caught.value.errno, caught.value.done, len(m)) == (errno.E2BIG, 3, 3)
    with pytest.raises(pf.InputError):
        m.update_batch([(0, 7), (1, "text")])
    assert m[0] == bytes(4), "nothing is set when one value is wrong"
    with pytest.raises(pf.MapError) as caught:
        m.update_batch({0: 1}, flags=pf.BPF_NOEXIST)
    assert (caught.value.errno, caught.value.done) == (errno.EEXIST, 0)


def test_typed_batches(obj: pf.Object) -> None:
    routes = obj.maps["routes"].typed
    assert routes.update_batch([(f"10.{i}.0.0/16", i) for i in range(9)]) == 9
    assert routes.lookup_batch(["10.4.1.1/32", "11.0.0.0/8"]) == [4, None]
    assert len(routes.lookup_batch()) == 9
    assert routes.delete_batch(["10.1.0.0/16"]) == 1
    with pytest.raises(pf.InputError, match="value"):
        routes.update_batch([("12.0.0.0/8", 1), ("13.0.0.0/8", "one")])
    assert len(routes) == 8


# --- before load, and sharing ---


def test_sizes_and_inner_maps_are_set_before_load(obj: pf.Object) -> None:
    spec = pf.ObjectSpec.from_file(OBJECT)
    spec.maps["slots"].inner = None
    spec.maps["records"].max_entries = 0
    with pytest.raises(pf.ObjectError, match=r"'records'.*max_entries is missing.*--max-entries"):
        spec.load()
    with pytest.raises(pf.ObjectError, match=r"'slots'.*load\(inner=\.\.\.\)"):
        spec.load(max_entries={"records": 5})
    inner = pf.Map(pf.MapSpec("hash", 2, 8, 4))
    made = spec.load(max_entries={"records": 5}, inner={"slots": inner})
    assert made.maps["records"].max_entries == 5
    made.maps["slots"][0] = inner
    with pytest.raises(pf.InputError, match="no map named 'nope' to give an inner map"):
        pf.load(OBJECT, inner={"nope": inner})


def test_objects_share_a_map_by_name(obj: pf.Object) -> None:
    other = pf.load(OBJECT, cpus=2, maps={"records": obj.maps["records"]})
    obj.maps["records"][FLOW] = bytes(obj.maps["records"].value_size)
    packet = obj.maps["records"].encode_key(FLOW) + bytes(46)
    assert other.programs["typed_maps"].test_run(packet).action == pf.XDP.DROP
    with pytest.raises(pf.MapMismatch, match=r"map 'records': max_entries 3 -> 64; give a map"):
        smaller = pf.load(OBJECT, max_entries={"records": 3}).maps["records"]
        pf.load(OBJECT, maps={"records": smaller})


# --- the command line ---


def test_a_replay_goes_on_where_another_ended(demo: str, tmp_path: Path) -> None:
    """Two runs with the maps carried through a file count what one run over both inputs counts."""
    dump, again, both = (str(tmp_path / name) for name in ("1.json", "2.json", "3.json"))
    run("replay", STATS, demo, "--dump-maps", dump)
    run("replay", STATS, demo, "--maps", dump, "--dump-maps", again)
    run("replay", STATS, demo, demo, "--dump-maps", both)
    assert Path(again).read_bytes() == Path(both).read_bytes()
    assert Path(again).read_bytes() != Path(dump).read_bytes()


def test_one_map_from_and_to_files(demo: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.json"
    source.write_text("word,full_at_ns,passed,dropped\n2001:db8::1,0,0,12345\n")
    run(
        "replay", RATELIMIT, demo, "--map", f"sources={source}", "--dump-map", f"sources={target}",
        "--max-entries", "sources=512",
    )  # fmt: skip
    assert 12345 in [row["value"]["dropped"] for row in json.loads(target.read_text())]
    text = run(
        "replay", RATELIMIT, demo, "--map", f"sources={target}", "--dump-map", "sources=-"
    ).text
    assert 12345 in [row["value"]["dropped"] for row in json.loads(text)]


BAD_OPTIONS = [
    (["--map", "sources"], 2, "--map takes NAME=FILE"),
    (["--map", "nope=x.json"], 2, "names a map that the object has not.*found nope"),
    (["--map", "sources=missing.json"], 1, "missing.json: the map file cannot be read"),
    (["--maps", "missing.json"], 1, "missing.json: the map file cannot be read"),
    (["--dump-map", "nope=x.json"], 2, "--dump-map names a map"),
    (["--dump-map", "sources=no/such/folder/x.json"], 1, "cannot be written: No such file"),
    (["--dump-map", "sources=-", "--dump-maps", "-"], 2, "standard output takes one thing"),
    (["--max-entries", "sources"], 2, "--max-entries takes NAME=N"),
    (["--max-entries", "sources=many"], 2, "found sources=many"),
    (["--max-entries", "nope=5"], 2, "--max-entries names a map"),
    (["--max-entries", "sources=5", "--max-entries", "sources=6"], 2, "names a map twice"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "status", "words"), BAD_OPTIONS, ids=lambda v: str(v)[:40])
def test_bad_options_are_one_sentence(
    demo: str, options: list[str], status: int, words: str
) -> None:
    done = run("replay", RATELIMIT, demo, *options, code=status)
    assert re.search(words, done.error), done.error
    assert "Traceback" not in done.error
    assert len(done.error.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["in.pcap", "link.pcap", "out.pcap", "port.pcap", "prog.o"])
def test_a_dump_replaces_no_file_of_the_run(tmp_path: Path, demo: str, name: str) -> None:
    """A mistyped name must not cost a capture."""
    for made, source in (("in.pcap", demo), ("prog.o", RATELIMIT)):
        (tmp_path / made).write_bytes(Path(source).read_bytes())
    (tmp_path / "link.pcap").hardlink_to(tmp_path / "in.pcap")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for option in (("--dump-maps", tmp_path / name), ("--dump-map", f"sources={tmp_path / name}")):
        done = run(
            "replay", tmp_path / "prog.o", tmp_path / "in*.pcap", *option,
            "-w", tmp_path / "out.pcap", "--port", f"3={tmp_path / 'port.pcap'}", code=1,
        )  # fmt: skip
        assert f"{name}: a dump would replace a file of the run" in done.error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_verify_takes_sizes() -> None:
    run("verify", RATELIMIT, "--max-entries", "sources=5")
    assert "nope" in run("verify", RATELIMIT, "--max-entries", "nope=5", code=2).error


def test_maps_of_real_programs_have_types_and_come_back() -> None:
    """Every map of the example and corpus objects: its types convert, and random contents survive a dump."""
    rng = random.Random(11)
    seen = 0
    for path in sorted(
        [*(ROOT / "examples").glob("*.o"), *(ROOT / "tests" / "programs").glob("*.o")]
    ):
        for name, spec in pf.ObjectSpec.from_file(path).maps.items():
            if spec.type not in (
                "hash",
                "array",
                "lru_hash",
                "percpu_hash",
                "percpu_array",
                "lpm_trie",
            ):
                continue
            first, again = pf.Map(spec, cpus=2, name=name), pf.Map(spec, cpus=2, name=name)
            for index in range(min(spec.max_entries, 5)):
                key = rng.randbytes(spec.key_size)
                if "array" in spec.type:
                    key = index.to_bytes(4, "little")
                if spec.type == "lpm_trie":
                    key = rng.randrange(8 * (spec.key_size - 4)).to_bytes(4, "little") + key[4:]
                first[key] = rng.randbytes(spec.value_size)
            assert again.from_json(json.loads(json.dumps(first.to_json()))) == len(first.to_json())
            assert contents(again) == contents(first), f"{path.name}: {name}"
            if spec.value_btf:
                assert first.types.value.size == spec.value_size
                seen += 1
    assert seen > 100
