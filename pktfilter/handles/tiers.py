"""Tiers: how programs come to compiled code, before a run and while one goes on.

Terms
  to compile   facts from the verifier, LLVM IR, an object (`pktfilter.jit`), loaded and made the
               program's code (csrc/native); from then on worlds choose it (csrc/hook)
  tier-up      a publication of a world in which more programs run compiled: a new revision, the same
               generation

The code of a program is made once for the process and lives with the program. One program is
compiled at a time: LLVM keeps a core busy, and the others are for the packets. LLVM runs without
the GIL; the translation, a few milliseconds, with it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.hook import programs_of
from ..errors import CompileError, ProgramError
from .program import JIT, Program, program_handle

if TYPE_CHECKING:
    from types import TracebackType

    from .._core.hook import DatapathRef

#: A run shorter than this ends sooner than compiled code would come.
DELAY_S = 0.05
#: Between two looks at whether the datapath has other programs.
POLL_S = 0.05
#: Results that a run keeps for its report.
KEPT = 256
#: Input that the interpreter takes about as long for as it takes to find an object in the cache.
CACHE_FIRST_BYTES = 8 << 20
#: What a compilation takes: LLVM's import, and what each program and each instruction adds. Of the
#: examples; a program of another kind may take twice as long.
_IMPORT_S, _PROGRAM_S, _INSN_S = 0.12, 0.03, 0.00035

_compiling = threading.Lock()


@dataclass(frozen=True)
class Compiled:
    """What came of compiling a program: `cached`, the object was on disk; `reason`, why it has no code."""

    program: str
    seconds: float
    cached: bool = False
    reason: str | None = None


class _Cancelled(Exception):  # noqa: N818
    """The run that wanted the code ended."""


def compile_program(
    program: Program,
    *,
    cache_only: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Compiled | None:
    """Gives the program compiled code; None where it has some already.

    With `cache_only` an object that is not in the cache is no `reason`: None as well; the same where
    `cancelled` said so between two steps. What cannot be compiled is asked once.
    """
    if program._ref.staged(JIT):
        return None
    if program._uncompilable is not None:
        return Compiled(program.name, 0.0, reason=program._uncompilable)
    with _compiling:
        start = time.perf_counter()
        try:
            cached = _stage(program, cache_only, cancelled)
        except _Cancelled:
            return None
        except ProgramError as error:
            program._uncompilable = str(error)
            return Compiled(program.name, time.perf_counter() - start, reason=str(error))
        return (
            None if cached is None else Compiled(program.name, time.perf_counter() - start, cached)
        )


def _stage(program: Program, cache_only: bool, cancelled: Callable[[], bool]) -> bool | None:
    """Whether the object came from the cache; None: another thread was first, or it is not there."""
    from ..jit import cache
    from ..jit.unit import unit_of
    from .verification import facts_of, request_of

    ref = program._ref
    if ref.staged(JIT):
        return None
    if not ref.verified:
        raise CompileError("only verified programs are compiled, and this one is not")
    if _machine() is not None:
        raise CompileError(_machine() or "")
    # Facts follow from the unit and from what else the verifier was asked: the key needs neither
    # them nor, where the object is there, a second verification.
    unit = unit_of(ref, None)
    key = cache.key((unit, request_of(program)))
    code = cache.load(key)
    if code is not None:
        with suppress(ProgramError):  # of a loader that takes less, perhaps: made anew below
            ref.stage_native(code)
            return True
    if cache_only:
        return None
    from dataclasses import replace

    from ..jit.llvm import compile_ir, reason_against
    from ..jit.translate import translate

    reason = reason_against()
    if reason is not None:
        raise CompileError(reason)
    _unless(cancelled)
    facts = facts_of(program)
    while (now := unit_of(ref, None)) != unit:
        # A map was frozen meanwhile: its contents may be in the facts, and so have to be in the key.
        unit, key = now, cache.key((now, request_of(program)))
        facts = facts_of(program)
    text = translate(replace(unit, facts=facts))
    _unless(cancelled)
    code = compile_ir(text)
    ref.stage_native(code)
    cache.store(key, code)
    return False


def _machine() -> str | None:
    import platform

    if sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64"):
        return None
    return f"the compiled tier is for x86-64 Linux, this is {platform.machine()} {sys.platform}"


def _unless(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise _Cancelled


def require_compiled(programs: Iterable[Program]) -> list[Compiled]:
    """Compiles these programs and all that they can tail-call; `ProgramError` where one cannot be."""
    done = []
    for root in programs:
        for program in [program_handle(ref) for ref in programs_of(root._ref)]:
            result = compile_program(program)
            if result is None:
                continue
            if result.reason is not None:
                raise ProgramError(
                    f"cannot be compiled: {result.reason}",
                    place=f"program '{program.name}'",
                    hint="engine 'auto' runs it in the interpreter",
                )
            done.append(result)
    return done


class TierUp:
    """What a run does for its programs' code, as a context around the run.

    "jit": before the run everything is compiled, or `ProgramError` is raised. "auto": before it what is
    in the cache is loaded, where the input (`size` bytes; None: not known) is long enough, and once the
    run has lasted `DELAY_S` a thread compiles the rest, if `remaining` (seconds, None: not known)
    says that it pays. With both, the thread then looks after programs that updates, trials and prog
    arrays bring. The thread has ended when the context has.
    """

    def __init__(
        self,
        datapath: DatapathRef,
        engine: str,
        *,
        size: int | None = None,
        remaining: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._datapath = datapath
        self._wanted = engine
        self._size = size
        self._remaining = remaining
        self._stop = threading.Event()
        self._look = threading.Event()  # there is more to compile, which no revision tells of
        self._thread: threading.Thread | None = None
        self._noting = threading.Lock()  # of what the thread and the run's own both change, below
        self._expected: list[Program] = []
        self._failed: dict[int, Compiled] = {}
        self._held: list[Program] = []  # handles, which remember what cannot be compiled
        #: What was compiled, or could not be, in the order in which it was done: the last `KEPT`.
        self.compiled: list[Compiled] = []
        #: Time that compiling took, in whatever thread.
        self.seconds = 0.0
        #: Publications of better code while the run went on.
        self.tier_ups = 0

    @property
    def strict(self) -> bool:
        """Whether programs without compiled code are refused."""
        return self._wanted == "jit"

    @property
    def _cache_first(self) -> bool:
        """Whether there is so much to run that looking into the cache before it pays."""
        return self._size is None or self._size >= CACHE_FIRST_BYTES

    def __enter__(self) -> TierUp:
        if self._wanted not in ("auto", "jit"):
            return self
        if self.strict:
            self._note(require_compiled(self._programs()))
            self._datapath.refresh()
        elif self._cache_first:
            self._compile(self._programs(), cache_only=True)
            self._datapath.refresh()
        self._thread = threading.Thread(target=self._work, name="pktfilter-tiers")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def expect(self, programs: Iterable[Program]) -> None:
        """Programs that will be published: compiled now ("jit", `ProgramError`), or with the others."""
        if self.strict:
            self._note(require_compiled(programs))
        else:
            self._expected += programs

    def grown(self, programs: Iterable[Program]) -> None:
        """Families that got members, which nobody published: compiled now ("jit", `ProgramError`; as far as the cache
        has them where the input is long), or with the others."""
        if self._thread is None:
            return  # another engine was asked for
        if self.strict:
            self._note(require_compiled(programs))
        elif self._cache_first:
            self._compile(self._programs(), cache_only=True)
        self._publish()
        self._look.set()

    def _programs(self) -> list[Program]:
        refs = self._datapath.programs()
        for expected in self._expected:
            refs += programs_of(expected._ref)
        programs = list({ref.id: program_handle(ref) for ref in refs}.values())
        # A run of days sees many: what is gone is let go.
        with self._noting:
            self._held = programs
            self._failed = {p.id: self._failed[p.id] for p in programs if p.id in self._failed}
        return programs

    def _note(self, results: list[Compiled]) -> None:
        with self._noting:
            self.seconds += sum(result.seconds for result in results)
            self.compiled += results
            del self.compiled[:-KEPT]

    def _work(self) -> None:
        try:
            self._watch()
        except Exception as error:  # ours, or no memory; the run goes on as it is, and says so
            self._note([Compiled("", 0.0, reason=f"internal error: {error!r}")])

    def _watch(self) -> None:
        """Revisions, and `grown`, tell of other programs. Our own publication is one too: a look that finds nothing."""
        seen = -1
        wait = POLL_S if self.strict else DELAY_S
        while not self._stop.wait(wait):
            wait = POLL_S
            revision = self._datapath.info()["revision"]
            if self._look.is_set():
                self._look.clear()
                seen = -1
            if revision != seen and self._raise():
                seen = revision

    def _raise(self) -> bool:
        """Compiles what the datapath has not compiled, and publishes it; False: not now."""
        missing = [
            p for p in self._programs() if not p._ref.staged(JIT) and p.id not in self._failed
        ]
        if not missing:
            self._publish()
            return True
        self._compile(missing, cache_only=True)
        missing = [p for p in missing if not p._ref.staged(JIT) and p.id not in self._failed]
        self._publish()
        if missing and not self.strict:
            left = self._remaining()
            if left is not None and left < _estimate(missing):
                return False
        self._compile(missing)
        self._publish()
        return not self._stop.is_set()

    def _publish(self) -> None:
        published = self._datapath.refresh()
        with self._noting:
            self.tier_ups += published

    def _compile(self, programs: Sequence[Program], cache_only: bool = False) -> None:
        for program in programs:
            if self._stop.is_set():
                return
            try:
                result = compile_program(
                    program, cache_only=cache_only, cancelled=self._stop.is_set
                )
            except Exception as error:  # ours; the run goes on without, and says so
                result = Compiled(program.name, 0.0, reason=f"internal error: {error!r}")
            if result is not None:
                self._note([result])
                if result.reason is not None:
                    with self._noting:
                        self._failed[program.id] = result


def _estimate(programs: Sequence[Program]) -> float:
    """Seconds until these are compiled: roughly, as it decides about nothing but time."""
    imports = 0.0 if "llvmlite.binding" in sys.modules else _IMPORT_S
    return imports + sum(_PROGRAM_S + _INSN_S * (len(p.insns) // 8) for p in programs)
