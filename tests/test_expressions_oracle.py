"""Every expression over every real capture, against what tcpdump counted (../shared/pcaps/README.md)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from readers import altered, shared_folder

import pktfilter as pf
from pktfilter.session import Replay

PCAPS = shared_folder() / "pcaps"

pytestmark = pytest.mark.skipif(
    not PCAPS.is_dir(), reason="the captures with their oracle (../shared/pcaps) are not here"
)


def rows(name: str) -> Iterator[dict[str, Any]]:
    with (PCAPS / name).open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["file"] not in altered():
                yield row


def by_expression(name: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(name):
        found[row["expr"]].append(row)
    return found


def counted(program: pf.Program, file: str, engine: str = "auto") -> pf.ReplayResult:
    """What a replay of the file gave; a fresh hook, the same program for all files."""
    hook = pf.Hook()
    hook.attach(program)
    return Replay(str(PCAPS / file), hook, batch=4096, engine=engine).run()


def expected(row: dict[str, Any]) -> set[int]:
    """Counts that are right. The optimizer of libpcap changes what one expression means on one link type."""
    return {row["count"], row.get("count_unoptimized", row["count"])}


EXPRESSIONS = (PCAPS / "filters.txt").read_text().splitlines() if PCAPS.is_dir() else []


@pytest.fixture(scope="module")
def oracle() -> dict[str, list[dict[str, Any]]]:
    return by_expression("oracle_filters.jsonl")


@pytest.mark.parametrize("engine", ["interp", "jit"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counts_are_those_of_tcpdump(
    expression: str, engine: str, oracle: dict[str, list[dict[str, Any]]]
) -> None:
    if engine == "jit":
        pytest.importorskip("llvmlite", reason="the compiled tier needs llvmlite")
    program = pf.Program.from_expression(expression, None)
    wrong, seen = [], Counter[str]()
    for row in oracle[expression]:
        status = row["status"]
        if status == "refused-file":
            continue
        result = counted(program, row["file"], engine)
        passed, errors = result.actions["pass"], [str(e) for e in result.errors]
        refused = [e for e in result.errors if isinstance(e, pf.ExpressionError)]
        if status == "ok":
            # Of a filter that matches nothing tcpdump does not read the file, which may be damaged.
            good = passed in expected(row) and (not errors or "rejects all" in row.get("err", ""))
        elif status == "compile-error":
            message = row["err"].removeprefix("tcpdump: ")
            # Releases of libpcap name this link type differently.
            found = " ".join(errors).replace("Private use 2", "DLT 149")
            good = bool(refused) and result.packets == 0 and found.endswith(message)
        else:
            # tcpdump stopped at a record. Some we can read (sections of two byte orders, interfaces that differ,
            # a captured length above the snap length), and go on.
            went_on = not errors or "different from the" in row["err"]
            good = passed >= row["count"] if went_on else passed == row["count"] and not refused
        seen[status] += 1
        if not good:
            wrong.append((row["file"], status, row["count"], row.get("err"), passed, errors[:1]))
    assert not wrong, f"{len(wrong)} of {sum(seen.values())}: {wrong[:10]}"
    assert seen["ok"] > 400, seen


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_interfaces_that_differ_count_each_by_its_own_link_type(expression: str) -> None:
    program = pf.Program.from_expression(expression, None)
    wrong, seen = [], 0
    for row in by_expression("oracle_filters_split.jsonl")[expression]:
        result = counted(program, row["file"])
        counts = row["count_by_dlt"].values()
        refused = [str(e) for e in result.errors if isinstance(e, pf.ExpressionError)]
        if all(isinstance(count, int) for count in counts):
            good = result.actions["pass"] == row["total"] and not refused
        else:  # everything before the first packet of the interface that the expression does not fit
            meant = [text for text in counts if isinstance(text, str)]
            good = bool(refused) and meant[0][:60] in refused[0]
            good = good and result.actions["pass"] <= sum(c for c in counts if isinstance(c, int))
        seen += 1
        if not good:
            wrong.append((row["file"], row["count_by_dlt"], result.actions["pass"], refused))
    assert not wrong, wrong
    assert seen == 21
