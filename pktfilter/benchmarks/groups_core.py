"""Groups about what stands around a run: verification, compiling, replacing a program."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from ..errors import PktfilterError
from ..handles.program import Program
from ..handles.verification import verify as verify_insns
from ..objects import ObjectSpec, ProgramSpec
from ..session.swapbench import Load, load, stamps
from . import dpdk, kernelrun, programs
from .model import Bound, Ratio, Skipped
from .runner import Session, Subject, Timed, all_cpus, once
from .tiers import compile_ns, why_not

#: Done when: time to compile, by number of instructions, in milliseconds.
COMPILE_MS = {64: 80.0, 3000: 1500.0}
_COST_BATCHES = 256
_SWAP_UPDATES, _SWAP_UPDATES_QUICK = 2_000, 300


def _verify(spec: ObjectSpec, program: ProgramSpec) -> float:
    maps = {number: spec.maps[name] for number, name in program.map_refs.items()}
    result = verify_insns(program.insns, program.type, maps, spec=program)
    if not result.ok:
        raise PktfilterError(
            f"program '{program.name}' was refused: {result.diagnostics[0].message}"
        )
    return result.elapsed_us * 1000


def _verify_insns(insns: bytes) -> float:
    return verify_insns(insns).elapsed_us * 1000


def _kernel_verify(insns: bytes) -> float:
    return kernelrun.verification_us(insns) * 1000


def _repeated(one: Callable[[], float]) -> Timed:
    """Of what tells its own nanoseconds."""
    return lambda times: sum(one() for _ in range(times))


def _objects(folder: Path | None) -> list[tuple[str, ObjectSpec, ProgramSpec]]:
    if folder is None:
        return []
    found = []
    for path in sorted(folder.glob("*.o")):
        spec = ObjectSpec.from_file(path)
        name, program = next(iter(spec.programs.items()))
        found.append((f"{path.stem}:{name}", spec, program))
    return found


def verification(session: Session) -> None:
    """The verifier's own time on the examples and on straight programs, and the kernel's for the latter."""
    for name, spec, program in _objects(session.examples):
        session.measure(
            f"verify/{name.replace(':', '-')}",
            f"verifying example {name}",
            "µs",
            [
                Subject(
                    "pktfilter",
                    _repeated(partial(_verify, spec, program)),
                    scale=1e-3,
                )
            ],
            facts={"instructions": str(program.insn_count)},
            note="the verifier alone, without parsing or loading",
        )
    if session.examples is None:
        session.skip(
            "verify", "no example programs beside the package; name their folder with --examples"
        )
    for count in (64, 3000):
        insns = programs.straight(count)
        subjects = [
            Subject(
                "pktfilter",
                _repeated(partial(_verify_insns, insns)),
                scale=1e-3,
            )
        ]
        skipped = []
        try:
            kernelrun.verification_us(insns)
            subjects.append(
                Subject(
                    "kernel",
                    _repeated(partial(_kernel_verify, insns)),
                    scale=1e-3,
                    role="peer",
                )
            )
        except dpdk.Unavailable as reason:
            skipped.append(Skipped("kernel", str(reason)))
        session.measure(
            f"verify/straight-{count}",
            f"verifying {len(insns) // 8:,} instructions",
            "µs",
            subjects,
            ratios=[Ratio("pktfilter", "kernel", limit=1.0, main=count == 3000)],
            skipped=skipped,
            note="the kernel's time is that of its verifier log, in whole microseconds",
        )


def _compile_ns(insns: bytes) -> float:
    """Translation, LLVM and loading, of a program that no cache has."""
    before = os.environ.get("PKTFILTER_CACHE")
    os.environ["PKTFILTER_CACHE"] = "off"
    try:
        return compile_ns(Program.from_bytes(insns, name="straight"))
    finally:
        if before is None:
            del os.environ["PKTFILTER_CACHE"]
        else:
            os.environ["PKTFILTER_CACHE"] = before


def compiling(session: Session) -> None:
    """Time from a verified program to native code."""
    reason = why_not("jit", programs.xdp(programs.empty(), "empty"))
    if reason:
        session.skip("compile", reason)
        return
    cases = {"filter": programs.xdp_filter(), "digest-3000": programs.straight(3000)}
    for name, insns in cases.items():
        count = 64 if name == "filter" else 3000
        session.measure(
            f"compile/{name}",
            f"compiling {'the 64-instruction filter' if count == 64 else '3,000 instructions'}",
            "ms",
            [
                Subject("compile", _repeated(partial(_compile_ns, insns)), whole=True, scale=1e-6),
                Subject("create and verify", once(partial(Program.from_bytes, insns)), whole=True,
                        role="peer", scale=1e-6),
            ],
            bounds=[Bound("compile", COMPILE_MS[count])],
            facts={"instructions": str(len(insns) // 8)},
            note="processor time from a verified program to native code, the cache left out; LLVM is imported before",
        )  # fmt: skip


def _second(pair: list[float], _times: int) -> float:
    return pair[1]


def swaps(session: Session) -> None:
    """Replacing a program under full load: publishing, waiting, and what being replaceable costs."""
    programs_ = stamps(1024)
    updates = _SWAP_UPDATES_QUICK if session.quick else _SWAP_UPDATES
    with all_cpus() as cpus:
        if cpus < 2:
            session.skip("swaps", "a worker and the writer need a processor each")
            return
        with load(programs_) as work:
            work.swap.start()

            def some(index: int) -> float:
                return float(sum(work.swap.update()[index] for _ in range(updates)))

            session.measure(
                "swaps/update",
                "replacing a program under full load",
                "ns/update",
                [
                    Subject("publish", lambda _: some(0), parts=updates, whole=True),
                    Subject("publish and wait", lambda _: some(2), parts=updates, whole=True),
                ],
                note=f"wall time, mean of {updates:,} updates a round; tails, other ways and the kernel's own: "
                "`pktfilter bench swap`",
            )
            work.swap.stop()
    for batch in (16, 256):
        with load(programs_[:2], batch=batch) as work:
            pair, plain = [0.0, 0.0], "behind a plain pointer"

            def through(_: int, work: Load = work, pair: list[float] = pair) -> float:
                # Both in one call, there and back; the median of several, since one preemption outweighs all.
                taken = [work.swap.cost(_COST_BATCHES) for _ in range(31)]
                pair[:] = [median(slot for slot, _ in taken), median(plain for _, plain in taken)]
                return pair[0]

            session.measure(
                f"swaps/cost-{batch}",
                f"being replaceable: batches of {batch}",
                "ns/batch",
                [
                    Subject("through the slot", through, whole=True, baseline=plain, parts=_COST_BATCHES),
                    Subject(plain, partial(_second, pair), whole=True, role="baseline", parts=_COST_BATCHES),
                ],
                note="a program of two instructions; net: less the same loop behind a plain pointer",
            )  # fmt: skip
