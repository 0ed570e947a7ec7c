"""The corpus covers the survey of public XDP programs."""

from __future__ import annotations

from functools import lru_cache

import scored
import survey

from pktfilter.objects import ObjectSpec

LEAST_SOURCES = 60
LARGE = ("large_balancer", "large_firewall", "large_parser")
LEAST_INSNS = 3000
BSWAP = 0xD7


@lru_cache(maxsize=1)
def users() -> dict[str, set[str]]:
    """For each thing used: the sources whose object uses it, at any level."""
    found: dict[str, set[str]] = {}
    for each in scored.objects():
        # As the file is: what the loader sets afterwards is a row too.
        for row in survey.uses(ObjectSpec.from_file(each.path)):
            found.setdefault(row, set()).add(each.stem)
    return found


def test_every_source_is_there_at_every_level() -> None:
    assert len(scored.stems()) >= LEAST_SOURCES
    missing = [str(each.path) for each in scored.objects() if not each.path.exists()]
    assert not missing
    assert set(scored.stems()) >= scored.NOT_V1


def test_every_row_of_the_survey_has_a_program() -> None:
    uncovered = sorted(survey.ROWS - users().keys())
    assert not uncovered, f"no program of the corpus uses: {', '.join(uncovered)}"


def test_every_row_is_supported() -> None:
    absent = sorted(row for row in survey.ROWS if not survey.supported(row))
    assert not absent, f"not supported: {', '.join(absent)}"


def test_levels_are_what_they_say() -> None:
    """v1 has no 32-bit jumps; v3 and v4 use them; only v4 has the byte swap without condition."""
    rows: dict[str, list[frozenset[str]]] = {level: [] for level in scored.LEVELS}
    swaps = dict.fromkeys(scored.LEVELS, 0)
    for each in scored.objects():
        spec = ObjectSpec.from_file(each.path)
        rows[each.level].append(survey.uses(spec))
        code = b"".join(program.insns for program in spec.programs.values())
        swaps[each.level] += sum(code[at] == BSWAP for at in range(0, len(code), 8))
    jumps = "feature 32-bit jumps"
    assert not any(jumps in uses for uses in rows["v1"])
    assert sum(jumps in uses for uses in rows["v3"]) > len(rows["v3"]) // 2
    assert sum(jumps in uses for uses in rows["v4"]) > len(rows["v4"]) // 2
    assert swaps["v4"] > swaps["v1"] + swaps["v3"]


def test_the_largest_are_large() -> None:
    for stem in LARGE:
        for level in scored.LEVELS:
            (program,) = scored.Object(stem, level).spec().programs.values()
            assert program.insn_count >= LEAST_INSNS, (stem, level)
