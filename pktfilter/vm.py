"""The virtual machine alone: bytecode over plain memory (program type `memory`)."""

from __future__ import annotations

from ._core.prog import execute as _execute
from .handles.program import CHECKED, INTERP, JIT, Program, resolve_engine

DEFAULT_BUDGET = 0  # the core's own: PF_EXEC_BUDGET instructions


def execute(
    insns: bytes,
    memory: bytes | bytearray = b"",
    engine: str = "checked",
    *,
    budget: int = DEFAULT_BUDGET,
    seed: int = 0,
) -> int:
    """Runs bytecode with r1 = address of `memory`, r2 = its length; returns the 64-bit r0.

    A bytearray is changed in place. "checked": every access and helper argument is checked at run
    time (`ExecutionFault`), an endless program ends at `budget` instructions. "interp": verified
    first, for a region of exactly this length (`VerifierError`), then run without checks. Illegal
    bytecode (RFC 9669) is a `ProgramError`. "jit": verified and compiled first, `ProgramError` where
    it cannot be. "auto" is "interp": compiling takes longer than one run.
    """
    number = INTERP if engine == "auto" else resolve_engine(engine)
    verify = number != CHECKED
    program = Program(
        bytes(insns), type="memory", name="memory", verify=verify, memory_size=len(memory)
    )
    buffer = memory if isinstance(memory, bytearray) else bytearray(memory)
    if number == JIT:
        from .handles.tiers import require_compiled

        require_compiled([program])
    return int(_execute(program._ref, buffer, number, budget, seed))
