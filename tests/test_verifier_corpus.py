"""What the verifier says, and how much it works, over the frozen corpus.

Both are written down: every refusal in ``diagnostics.tsv``, and in ``work.tsv`` the instructions and
the memory of the larger programs. After a change that is meant, ``python tests/test_verifier_corpus.py``
writes both anew; then read what changed.
"""

from __future__ import annotations

from pathlib import Path

from test_verifier import CHECKED_READ, code, verdicts

import pktfilter as pf
from pktfilter.handles.verification import Verification

FOLDER = Path(__file__).parent / "verifier_cases"
DIAGNOSTICS = FOLDER / "diagnostics.tsv"
WORK = FOLDER / "work.tsv"
LARGE = 300  # instructions explored, from which on a program's work is written down
# Cases that end with the budget: their peak of memory is that of an unfinished search.
MORE_WORK, MORE_MEMORY = 1.01, 1.05


def row(result: Verification) -> str:
    """A refusal in one line: code, place, path (+ taken, - not), registers, message, help."""
    (found,) = result.diagnostics
    path = " ".join(f"{step.insn}{'+' if step.taken else '-'}" for step in found.path)
    dropped = f"({found.path_dropped}) " if found.path_dropped else ""
    registers = "; ".join(f"{name} {text}" for name, text in found.registers.items())
    cells = [found.code, f"{found.insn}", dropped + path, registers, found.message, found.help]
    return "\t".join(cells)


def read(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines if not line.startswith("#"))


def test_refusals_say_what_is_written_down_as_for_linux() -> None:
    known = read(DIAGNOSTICS)
    said = {entry.name: row(result) for entry, result in verdicts() if not result.ok}
    compared = said.keys() & known.keys()
    assert len(compared) >= 970
    wrong = [f"{name}\n- {known[name]}\n+ {said[name]}" for name in compared]
    wrong = [text for text, name in zip(wrong, compared, strict=True) if said[name] != known[name]]
    assert not wrong, "\n".join(wrong[:5])


def test_refusals_carry_the_words_asked_for() -> None:
    for entry, result in verdicts():
        if entry.expected == "reject" and not result.ok:
            text = result.diagnostics[0].render(entry.name).lower()
            missing = [word for word in entry.says if word.lower() not in text]
            assert not missing, f"{entry.name}: {missing} not in\n{text}"


def test_work_over_the_corpus_of_linux_programs_does_not_grow() -> None:
    done = {entry.name: result for entry, result in verdicts() if result.ok}
    known = read(WORK)
    assert len(known.keys() & done.keys()) >= 50
    for name, text in known.items():
        if name in done:
            steps, memory = (int(cell) for cell in text.split("\t"))
            assert done[name].insns_processed <= MORE_WORK * steps + 2, name
            assert done[name].memory_peak <= MORE_MEMORY * memory, name
            assert done[name].memory_peak > 0


def test_log_of_a_small_program() -> None:
    """Before each instruction the live registers: both ways of the branch, the far one last."""
    start, end = "packet pointer at 0", "packet end pointer (data_end)"
    assert pf.verify(code(CHECKED_READ), log=True).log.splitlines() == [
        "r1: ctx pointer",
        "0: (frame 0) r2 = *(u32 *)(r1 +0)",
        f"r1: ctx pointer; r2: {start}, 0 bytes proved",
        "1: (frame 0) r3 = *(u32 *)(r1 +4)",
        f"r2: {start}, 0 bytes proved; r3: {end}",
        "2: (frame 0) r4 = r2",
        f"r2: {start}, 0 bytes proved; r3: {end}; r4: {start}, 0 bytes proved",
        "3: (frame 0) r4 += 34",
        f"r2: {start}, 0 bytes proved; r3: {end}; r4: packet pointer at 34, 0 bytes proved",
        "4: (frame 0) r0 = 2",
        f"r0: number 2; r2: {start}, 0 bytes proved; r3: {end};"
        " r4: packet pointer at 34, 0 bytes proved",
        "5: (frame 0) if r4 > r3 goto pc+1",
        f"r2: {start}, 34 bytes proved",
        "6: (frame 0) r0 = *(u8 *)(r2 +33)",
        "r0: number 0..255",
        "7: (frame 0) exit",
        "r0: number 2",
        "7: (frame 0) exit",
    ]
    log = pf.verify(code("r0 = 0x1122334455 ll; exit".replace("; ", "\n")), log=True).log
    assert log.splitlines() == [
        "0: (frame 0) r0 = 0x1122334455 ll",
        "r0: number 73588229205",
        "2: (frame 0) exit",
    ]


def write() -> None:
    """Writes down what the present verifier says and does."""
    lines = ["# name, code, instruction, path, registers, message, help; see the file's test"]
    lines += sorted(f"{e.name}\t{row(result)}" for e, result in verdicts() if not result.ok)
    DIAGNOSTICS.write_text("\n".join([*lines, ""]), encoding="utf-8")
    lines = ["# name, instructions over all paths, bytes of memory at most"]
    lines += sorted(
        f"{e.name}\t{result.insns_processed}\t{result.memory_peak}"
        for e, result in verdicts()
        if result.ok and result.insns_processed >= LARGE
    )
    WORK.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    write()
