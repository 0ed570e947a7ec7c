"""Result files and reports: what is written is read back, what is broken is refused, pages stand alone."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from commandline import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pktfilter.benchmarks import svg, view
from pktfilter.benchmarks.history import compare
from pktfilter.benchmarks.markdown import markdown
from pktfilter.benchmarks.model import Benchmark, Bound, Ratio, Run, Series, Skipped, load_run
from pktfilter.benchmarks.page import page
from pktfilter.errors import InputError

HOSTILE = "<script>alert(1)</script>\"'&|`\n]]> ${x}"


def made(factor: float = 1.0, calibration: float = 100.0, label: str = "one") -> Run:
    """A run of two benchmarks; `factor` slows ours down."""
    noise = [0.00, 0.02, 0.01, 0.03, 0.00, 0.05, 0.02, 0.01, 0.04, 0.02, 0.01, 0.015]
    ours = [(4.0 + n) * factor + 1 for n in noise]
    return Run(
        created="2026-01-02T03:04:05Z",
        commit="abcdef012345",
        label=label,
        machine={"processor": "P", "kernel": "Linux 6", "processors": "2", "cpu_flags": "fpu avx2"},
        versions={"python": "3.11"},
        warnings=["the machine is busy"],
        skipped=[Skipped("tcpdump", "tcpdump is not installed")],
        benchmarks=[
            Benchmark(
                id="filter/full",
                group="filter",
                title="a filter",
                unit="ns/packet",
                note="net: less an empty program",
                load=[0.1, 0.2],
                calibration_ns=[calibration] * 12,
                series=[
                    Series("jit", "subject", ours, "empty"),
                    Series("empty", "baseline", [1.0] * 12),
                    Series("librte_bpf JIT", "peer", [10 + 10 * n for n in noise]),
                ],
                ratios=[Ratio("jit", "librte_bpf JIT", limit=0.8, main=True)],
                bounds=[Bound("jit", 4.5), Bound("jit", 4.5, minus="empty")],
                skipped=[Skipped("checked", "left out")],
                facts={"packets": "4,096 distinct"},
            ),
            Benchmark(
                id="reading/64",
                group="reading",
                title="reading",
                unit="ns/packet",
                calibration_ns=[calibration] * 12,
                series=[Series("pktfilter", "subject", [7 + n for n in noise])],
            ),
        ],
    )


def saved(folder: Path, found: Run, name: str = "r.json") -> Path:
    path = folder / name
    found.save(path)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = made()
    assert load_run(saved(tmp_path, found)) == found
    assert not list(tmp_path.glob(".*"))


def test_net_and_limits() -> None:
    found = made()
    one = found.benchmarks[0]
    assert one.net("jit") == pytest.approx([v - 1 for v in one.series[0].values])
    assert one.net("librte_bpf JIT") == one.series[2].values
    (ratio,) = view.ratio_rows(found)
    assert ratio.interval.value == pytest.approx(5.0175 / 10.175)
    assert ratio.holds
    assert [row.holds for row in view.bound_rows(found)] == [False, True]


def test_an_interval_with_1_in_it_says_nothing() -> None:
    run_ = made()
    (row,) = view.ratio_rows(run_)
    assert row.says == "2.03 times as fast"
    run_.benchmarks[0].series[2].values = [4.5, 5.5] * 6
    (row,) = view.ratio_rows(run_)
    assert row.interval.low <= 1 <= row.interval.high
    assert row.says == "no sure difference"


def test_a_net_figure_within_its_noise_makes_no_ratio() -> None:
    found = made()
    one = found.benchmarks[0]
    one.series[0].values = [1.01] * 12  # of which 1.0 is the empty program
    one.ratios = [Ratio("jit", "librte_bpf JIT", net=True)]
    assert list(view.ratio_rows(found)) == []


def test_amounts_in_words() -> None:
    values = [12_400, 215.4, 43.14, 4.306, 0, 0.0123, 999.6, 1234.0, 0.5]
    words = ["12,400", "215", "43.1", "4.31", "0.00", "0.0123", "1000", "1,230", "0.50"]
    assert [view.amount(v) for v in values] == words
    assert [view.share(v) for v in (0.64, 1 / 233, 1.5)] == ["0.64", "1/233", "1.50"]
    assert [view.times(v) for v in (0.25, 1.0, 3.0)] == [
        "4.00 times as fast",
        "the same",
        "3.00 times as slow",
    ]


def history_of(old: Run, new: Run) -> dict[str, str]:
    return {f"{c.benchmark} {c.series}": c.verdict for c in compare(old, new).changes}


def test_history_tells_a_change_from_none() -> None:
    same = {"filter/full jit": "no change", "reading/64 pktfilter": "no change"}
    assert history_of(made(), made(label="two")) == same
    assert history_of(made(), made(1.5))["filter/full jit"] == "slower"
    assert history_of(made(1.5), made())["filter/full jit"] == "faster"
    assert history_of(made(), made(1.5))["reading/64 pktfilter"] == "no change"
    # The machine itself became slower by half: nothing can be said.
    assert history_of(made(), made(1.5, calibration=160)) == same
    # So did a peer, which is the same code as before.
    busy = made(1.5)
    busy.benchmarks[0].series[2].values = [v * 1.7 for v in busy.benchmarks[0].series[2].values]
    assert history_of(made(), busy) == same


def test_history_of_what_cannot_be_compared() -> None:
    other = made()
    other.machine["processor"] = "Q"
    assert "the processors differ" in compare(made(), other).reason
    nothing = made()
    nothing.benchmarks[0].unit = nothing.benchmarks[1].unit = "ms"
    assert compare(made(), nothing).reason == "they have no series in common"


def element(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


@pytest.mark.parametrize(
    "runs", [[made()], [made(), made(1.5, label="two")], [made(label=HOSTILE)] * 3]
)
def test_page_is_well_formed_and_stands_alone(runs: list[Run]) -> None:
    text = page(runs)
    root = element(text)
    assert root.tag == "html"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for link in root.iter("a"):
        target = link.get("href", "")
        assert target.startswith("#")
        assert target[1:] in ids
    tags = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    words = "".join(root.itertext())
    for said in (
        "Ratios",
        "Limits",
        "Methods",
        "the machine is busy".capitalize(),
        "times as fast",
    ):
        assert said in words, said
    assert ("history" in ids) == (len(runs) > 1)


def test_every_round_is_in_the_picture() -> None:
    run_ = made()
    drawn = element(svg.rounds([run_.benchmarks[0]], "ns/packet", svg.WIDE))
    paths = [e.get("d", "") for e in drawn.iter("{http://www.w3.org/2000/svg}path")]
    assert sum(path.count("h0") for path in paths) == 3 * 12
    box = [float(v) for v in drawn.get("viewBox", "").split()]
    for path in paths:
        for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)", path):
            assert 0 <= float(x) <= box[2]
            assert 0 <= float(y) <= box[3]


@given(
    values=st.lists(
        st.lists(st.floats(-1e17, 1e17), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    text=st.text(max_size=40),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_result_that_is_read_can_be_shown(
    tmp_path: Path, values: list[list[float]], text: str
) -> None:
    series = [Series(f"s{i}", "subject", v, "s0" if i else None) for i, v in enumerate(values)]
    names = [one.name for one in series]
    benchmark = Benchmark(
        id=f"g/{text}", group=text, title=text, unit=text, note=text, series=series,
        ratios=[Ratio(a, "s0", net=True, limit=1.0, main=True) for a in names],
        bounds=[Bound(a, 1.0) for a in names], facts={text: text},
    )  # fmt: skip
    found = Run(created=text, label=text, benchmarks=[benchmark], warnings=[text])
    path = tmp_path / "any.json"
    path.write_text(json.dumps(found.to_json()))
    read = load_run(path)
    element(page([read, read]))
    assert markdown([read, read]).startswith("# pktfilter benchmarks")
    element(
        svg.main_picture(list(view.ratio_rows(read)), text.replace("\0", ""))
        if text.isalnum()
        else "<a/>"
    )


def _without(table: dict[str, Any], *path: str | int) -> dict[str, Any]:
    return _with(table, *path, value=None)


def _with(table: dict[str, Any], *path: str | int, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(table)
    at: Any = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


FIRST = ("benchmarks", 0)
BROKEN = [
    (("format",), "other", "format"),
    (("version",), 2, "another version"),
    (("version",), [], "another version"),
    (("benchmarks",), {}, "benchmarks"),
    (FIRST, 7, "benchmarks[0]"),
    ((*FIRST, "id"), None, "benchmarks[0].id"),
    ((*FIRST, "id"), "reading/64", "benchmarks"),
    ((*FIRST, "title"), "x" * 30_000, "benchmarks[0].title"),
    ((*FIRST, "series", 0, "values"), [], "values"),
    ((*FIRST, "series", 0, "values"), ["1"], "values[0]"),
    ((*FIRST, "series", 0, "values"), [True], "values[0]"),
    ((*FIRST, "series", 0, "values"), [float("nan")] * 12, "values[0]"),
    ((*FIRST, "series", 0, "values"), [10**400] * 12, "values[0]"),
    ((*FIRST, "series", 0, "values"), [1.0], "series"),
    ((*FIRST, "series", 0, "role"), "friend", "role"),
    ((*FIRST, "series", 0, "baseline"), "nobody", "baseline"),
    ((*FIRST, "series", 1, "name"), "jit", "series"),
    ((*FIRST, "ratios", 0, "under"), "nobody", "ratios[0]"),
    ((*FIRST, "ratios", 0, "limit"), "much", "limit"),
    ((*FIRST, "bounds", 0, "minus"), 3, "bounds[0]"),
    ((*FIRST, "load"), [None], "load[0]"),
    (("machine",), {"a": 1}, "machine.a"),
    (("complete",), "yes", "complete"),
    (("warnings",), "none", "warnings"),
]


@pytest.mark.parametrize(("path", "value", "place"), BROKEN)
def test_broken_results_are_refused_in_one_sentence(
    tmp_path: Path, path: tuple[str | int, ...], value: object, place: str
) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps(_with(made().to_json(), *path, value=value)))
    with pytest.raises(InputError) as caught:
        load_run(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ")
    assert place in said
    assert "found" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1, 2", b"\xff\xfe\x00", b"[" * 100_000, b"null", b'"x"', b"\x00" * 100]
)
def test_what_is_no_result_file_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(data)
    done = run("report", file, code=1)
    assert done.error.startswith(f"pktfilter: {file}: ")
    assert done.error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_missing_and_unwritable(tmp_path: Path) -> None:
    assert "cannot be read" in run("report", tmp_path / "none.json", code=1).error
    assert "cannot be read" in run("report", tmp_path, code=1).error
    file = saved(tmp_path, made())
    lost = tmp_path / "nowhere" / "r.html"
    assert "cannot be written" in run("report", file, "-o", lost, code=1).error
    run("report", code=2)


def test_command_line_writes_page_markdown_and_picture(tmp_path: Path) -> None:
    old, new = saved(tmp_path, made()), saved(tmp_path, made(1.5, label="two"), "two.json")
    out, picture = tmp_path / "r.html", tmp_path / "p.svg"
    run("report", old, new, "-o", out, "--picture", picture)
    assert "slower" in "".join(element(out.read_text()).itertext())
    drawn = element(picture.read_text())
    assert "1.45 times as fast" in "".join(drawn.itertext())
    said = run("report", old, new, "--markdown").text
    assert "| filter/full | jit |" in said
    assert "| slower |" in said
    assert "tcpdump is not installed" in said


def test_markdown_cannot_be_broken_out_of() -> None:
    run_ = made()
    run_.benchmarks[0].title = HOSTILE
    text = markdown([run_])
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if "alert" in line]
    assert rows
    # An unescaped bar would be one column more than the heading has.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {10}
