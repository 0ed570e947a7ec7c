"""Programs made to run compiled, for tests: the translation alone, without cache or background."""

from __future__ import annotations

import functools
from typing import Any

from pktfilter._core.prog import execute
from pktfilter._core.run import test_run as _test_run

from pktfilter._core import verifier as _verifier
from pktfilter.handles.maps import default_cpus
from pktfilter.handles.program import ENGINES, Program
from pktfilter.handles.verification import _functions, _gpl_compatible, _want
from pktfilter.jit.llvm import compile_ir
from pktfilter.jit.translate import translate
from pktfilter.jit.unit import Unit, unit_of

JIT = ENGINES.index("jit")


def make_unit(program: Program, *, facts: bool = True) -> Unit:
    """The unit of a verified program, with the verifier's facts or without."""
    found = None
    if facts:
        raw = _verifier.verify_program(
            program._ref,
            _functions(program.spec),
            cpus=default_cpus(),
            want=_want(program.spec) | _verifier.WANT_FACTS,
            gpl_compatible=_gpl_compatible(program.spec),
            log=False,
            memory_size=None,
        )
        assert raw["ok"]
        found = raw["facts"]
    return unit_of(program._ref, found)


def text_of(program: Program, *, facts: bool = True) -> str:
    """The IR text."""
    return translate(make_unit(program, facts=facts))


def stage(program: Program, *, facts: bool = True, level: int = 2) -> None:
    """Compiles the program and makes the code its own; once for each program."""
    program._ref.stage_native(_object(text_of(program, facts=facts), level))


@functools.lru_cache(maxsize=2000)
def _object(text: str, level: int) -> bytes:
    """Equal text gives an equal object, in whatever process or module it is wanted."""
    return compile_ir(text, level=level)


def run(program: Program, packet: bytes, engine: str, **options: Any) -> tuple[Any, ...]:
    """One test run; what can be observed of it."""
    values: dict[str, Any] = {
        "repeat": 1,
        "cpu": 0,
        "ingress_ifindex": 1,
        "rx_queue": 0,
        "linear_limit": 3520,
        "time_ns": 10**18,
        "seed": 7,
        "budget": 0,
        **options,
    }
    meta = values.pop("meta", b"")
    got = _test_run(program._ref, packet, meta, engine=ENGINES.index(engine), **values)
    return tuple(got[k] for k in ("retval", "data", "data_meta", "trace", "redirect"))


def memory_program(insns: bytes, *, size: int | None = None) -> Program:
    """A verified program of type memory."""
    return Program(insns, type="memory", name="memory", memory_size=size)


def run_memory(program: Program, memory: bytearray, engine: str = "jit") -> int:
    """r0 of a run over the buffer, which it changes."""
    return int(execute(program._ref, memory, ENGINES.index(engine), 0, 0))
