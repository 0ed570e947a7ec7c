"""One program in every form: compiled with and without facts, loaded, compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tiers_library import FORMS, FOUND, Library, Plan, Report

from pktfilter.errors import CompileError
from pktfilter.jit.llvm import compile_ir
from pktfilter.jit.translate import translate
from pktfilter.jit.unit import Unit

ALL_FORMS = frozenset(FORMS)


def plan(
    seed: int, singles: int, feeds: int, feed: int, forms: frozenset[str], **more: Any
) -> Plan:
    """struct pf_tier_plan; `limit_ms` bounds the processor time of one comparison."""
    wanted = sum(1 << place for place, name in enumerate(FORMS) if name in forms)
    return Plan(seed, singles, feeds, feed, wanted, **{"limit_ms": 20000, **more})


@dataclass
class Totals:
    """Sums over programs."""

    programs: int = 0
    accepted: int = 0
    compared: int = 0
    """Accepted programs that ran in every form that was asked for."""
    pairs: int = 0
    runs: int = 0
    executed: int = 0
    addresses: int = 0
    budget: int = 0
    covered: int = 0
    reachable: int = 0
    kernel: int = 0
    fallbacks: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Counts a comparison."""
        for name in ("pairs", "runs", "executed", "addresses", "budget", "covered", "reachable"):
            setattr(self, name, getattr(self, name) + int(getattr(report, name)))

    def merge(self, other: dict[str, Any]) -> None:
        """Adds what another process counted."""
        for name, value in other.items():
            if name == "findings":
                self.findings += value
            elif name == "fallbacks":
                for reason, count in value.items():
                    self.fallbacks[reason] = self.fallbacks.get(reason, 0) + count
            else:
                setattr(self, name, getattr(self, name) + value)

    def text(self) -> str:
        """A few lines for people."""
        coverage = 100 * self.covered / self.reachable if self.reachable else 0.0
        lines = [
            f"programs {self.programs}, accepted {self.accepted}, compared in all forms "
            f"{self.compared}",
            f"pairs {self.pairs}, runs {self.runs}, instructions reached {coverage:.1f} %",
            f"left out: results made of addresses {self.addresses}, out of budget {self.budget}",
            f"not compiled {sum(self.fallbacks.values())}, findings {len(self.findings)}",
        ]
        lines += [f"  {n} not compiled: {why}" for why, n in sorted(self.fallbacks.items())]
        return "\n".join(lines)


class Engines:
    """Compiles and compares programs of a library."""

    def __init__(self, library: Library, forms: frozenset[str] = ALL_FORMS, level: int = 2) -> None:
        self.library, self.forms, self.level = library, forms, level
        self._targets(library.pool())

    def _targets(self, world: int) -> None:
        """Compiles what programs of the pool tail-call, once."""
        if not self.forms & {"compiled", "plain"}:
            return
        for place, shape in enumerate(self.library.maps(world)):
            key = 0
            while shape.type == "prog_array" and key < shape.max_entries:
                prog = self.library.target(world, place, key)
                if prog:
                    code = self._object(self.library.unit(prog, world, None))
                    why = self.library.stage(prog, code)
                    if why is not None:
                        raise RuntimeError(f"a tail call's target cannot be loaded: {why}")
                key += 1

    def _object(self, unit: Unit) -> bytes:
        return compile_ir(translate(unit), level=self.level)

    def compile(self, program: int, world: int, **more: Any) -> str | None:
        """Makes and loads both compiled forms; why not, or None."""
        library = self.library
        for form in ("compiled", "plain"):
            if form not in self.forms:
                continue
            prog = library.prog(program, form == "plain")
            count = len(library.code(prog)[0]) // 8
            facts = library.facts(program, count) if form == "compiled" else None
            try:
                why = library.stage(prog, self._object(library.unit(prog, world, facts, **more)))
            except CompileError as error:
                return str(error)
            if why is not None:
                return f"the loader: {why}"
        return None


def described(report: Report) -> str:
    """A finding in one line."""
    return f"{FOUND[report.found]}: {report.text.decode(errors='replace')}"
