"""The verifier from Python: a verdict on bytecode, and what every `Program` goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._core import verifier as _core
from .._core.prog import PROG_TYPES, ProgRef
from ..errors import InputError, VerifierError
from ..objects import MapSpec, ProgramSpec
from .cpus import verified_cpus
from .definitions import definition
from .maps import Map

if TYPE_CHECKING:
    from ..diagnostics import Diagnostic
    from ..objects.functions import GlobalFunction
    from .program import Program


@dataclass(frozen=True)
class Verification:
    """A verdict: `diagnostics` is empty exactly when `ok`.

    `insns_processed` counts instructions over all explored paths, as the kernel's log does;
    `elapsed_us` is the time in the verifier; `log` the state log when it was asked for;
    `memory_peak` in bytes; `facts`, when asked for, what is known of each register before each
    instruction over all paths.
    """

    ok: bool
    log: str
    diagnostics: tuple[Diagnostic, ...]
    insns_processed: int
    elapsed_us: float
    states_total: int = 0
    states_peak: int = 0
    memory_peak: int = 0
    stack_depth: int = 0
    facts: Any = None


def verify(
    insns: bytes,
    type: str = "xdp",
    maps: Mapping[int, MapSpec | Map] | None = None,
    *,
    log: bool = False,
    facts: bool = False,
    cpus: int | None = None,
    spec: ProgramSpec | None = None,
) -> Verification:
    """Verifies bytecode without making a program; never raises for a bad program.

    `maps` gives the definition behind each number that ld_imm64 (src 1, 2) carries. `spec` adds what
    an object knows: source lines, global functions, frags. The reference for what is accepted is
    Linux 6.18 with CAP_BPF and CAP_PERFMON.
    """
    if type not in PROG_TYPES:
        raise InputError("no such program type", found=type, expected=" or ".join(PROG_TYPES))
    insns = bytes(insns)
    if len(insns) % 8:
        from ..diagnostics import Diagnostic

        broken = Diagnostic(
            "isa-size",
            f"the bytecode is {len(insns)} bytes long, not a multiple of 8",
            len(insns) // 8,
        )
        return Verification(False, "", (broken,), 0, 0.0)
    rows = [_map_row(number, item) for number, item in (maps or {}).items()]
    raw = _core.verify(
        insns,
        type,
        rows,
        _functions(spec),
        cpus=verified_cpus() if cpus is None else cpus,
        want=_want(spec) | (_core.WANT_FACTS if facts else 0),
        gpl_compatible=_gpl_compatible(spec),
        log=log,
    )
    return _result(raw, insns, spec)


def admit(
    prog: ProgRef, spec: ProgramSpec | None, *, memory_size: int | None = None
) -> Verification:
    """Verifies a created program and marks it; raises `VerifierError` with the diagnostics.

    `memory_size`: for type memory, the length that the region will have.
    """
    raw = _core.verify_program(
        prog,
        _functions(spec),
        cpus=verified_cpus(),
        want=_want(spec),
        gpl_compatible=_gpl_compatible(spec),
        log=False,
        memory_size=memory_size,
    )
    result = _result(raw, bytes(prog.insns), spec)
    if not result.ok:
        first = result.diagnostics[0]
        raise VerifierError(
            first.message,
            place=f"program '{prog.name}', instruction {first.insn}",
            hint=first.help or None,
            diagnostics=result.diagnostics,
            log=result.log,
        )
    return result


def request_of(program: Program) -> tuple[Any, ...]:
    """What the verifier was asked of a program besides its bytecode and maps."""
    spec = program.spec
    return (
        _functions(spec),
        verified_cpus(),
        _want(spec),
        _gpl_compatible(spec),
        program._memory_size,
    )


def facts_of(program: Program) -> Any:
    """What is known of each register before each instruction of a verified program (`verify`).

    None where the program is not proved again, as when the object that it came from is gone.
    """
    functions, cpus, want, gpl_compatible, memory_size = request_of(program)
    raw = _core.verify_program(
        program._ref,
        functions,
        cpus=cpus,
        want=want | _core.WANT_FACTS,
        gpl_compatible=gpl_compatible,
        log=False,
        memory_size=memory_size,
    )
    return raw["facts"] if raw["ok"] else None


def _map_row(number: int, item: MapSpec | Map) -> tuple[Any, ...]:
    spec = item.spec if isinstance(item, Map) else item
    known = spec.data if spec.frozen and spec.readonly_prog else None
    inner = None if spec.inner is None else definition(spec.inner)
    inner_lock = None if spec.inner is None else spec.inner.lock
    return (number, definition(spec), inner, known, spec.lock, inner_lock)


#: What Linux takes as GPL-compatible (include/linux/license.h).
GPL_COMPATIBLE = (
    "GPL",
    "GPL v2",
    "GPL and additional rights",
    "Dual BSD/GPL",
    "Dual MIT/GPL",
    "Dual MPL/GPL",
)


def _want(spec: ProgramSpec | None) -> int:
    if spec is None:
        return 0
    frags = _core.WANT_FRAGS if spec.frags else 0
    return int(frags | (_core.WANT_EGRESS if spec.attach == "devmap" else 0))


def _gpl_compatible(spec: ProgramSpec | None) -> bool:
    """Whether GPL-only helpers are there. Bare bytecode has no license: they are."""
    return spec is None or spec.license in GPL_COMPATIBLE


def _functions(spec: ProgramSpec | None) -> list[tuple[int, list[tuple[str, int, bool]]]]:
    globals_: Sequence[GlobalFunction] = () if spec is None else spec.globals
    return [(f.insn, [(a.kind, a.size, a.nonnull) for a in f.arguments]) for f in globals_]


def _result(raw: dict[str, Any], insns: bytes, spec: ProgramSpec | None) -> Verification:
    found: tuple[Diagnostic, ...] = ()
    if raw["diagnostic"] is not None:
        from ..diagnostics import make_diagnostic

        lines = () if spec is None else spec.lines
        functions = () if spec is None else spec.functions
        diagnostic = make_diagnostic(raw["diagnostic"], insns, lines, functions)
        if spec is not None and diagnostic.insn in spec.poison:
            diagnostic = replace(
                diagnostic,
                code="object-unresolved",
                message=spec.poison[diagnostic.insn],
                text="(unresolved)",
                registers={},
                help="guard it, as with bpf_core_field_exists(), or give other types (--btf)",
            )
        found = (diagnostic,)
    return Verification(
        ok=raw["ok"],
        log=raw["log"],
        diagnostics=found,
        insns_processed=raw["insns_processed"],
        elapsed_us=raw["elapsed_ns"] / 1000,
        states_total=raw["states_total"],
        states_peak=raw["states_peak"],
        memory_peak=raw["memory_peak"],
        stack_depth=raw["stack_depth"],
        facts=raw["facts"],
    )
