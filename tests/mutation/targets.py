"""What is mutated, and what of the test suite may kill a mutant, fastest first.

A target names its sources and its stages. Everything is data, so that a target is a table row and
not a rewrite.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Sanitizer variants in which the core may be built; "" is the plain one.
ASAN = "address,undefined"
TSAN = "thread"


@dataclass(frozen=True)
class CTests:
    """Programs of ``tests/c`` by pattern, built with a sanitizer or none, run one after another.

    ``layers`` are the folders of the core that they need, all if there are none.
    """

    name: str
    patterns: tuple[str, ...]
    sanitize: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class PythonTests:
    """Test modules, run by pytest against a package that has the mutated library.

    ``plugins`` are modules of this folder that pytest loads.
    """

    name: str
    files: tuple[str, ...]
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Campaign:
    """The campaign against the verifier, with facts, from a fixed seed over a fixed number.

    ``layers`` are the folders of the core that it is linked with (fuzz/Makefile).
    """

    name: str
    programs: int
    layers: tuple[str, ...]
    seed: int = 1


Stage = CTests | PythonTests | Campaign


@dataclass(frozen=True)
class Target:
    """``files`` are patterns below the root, what is mutated; ``stages`` kill in their order."""

    files: tuple[str, ...]
    stages: tuple[Stage, ...]
    without: frozenset[str] = field(default_factory=frozenset)


VERIFIER = ("tables", "isa", "rcu", "prog", "map", "verifier")

TARGETS = {
    "verifier": Target(
        # plant.h is empty but in the campaign's own build with planted bugs
        files=("csrc/verifier/*.[ch]",),
        without=frozenset({"csrc/verifier/plant.h"}),
        stages=(
            CTests("c", ("test_verifier*.c", "test_scalar*.c"), layers=VERIFIER),
            PythonTests("corpus", ("tests/test_verifier*.py",), ("frozen_corpus",)),
            CTests("sanitizers", ("test_verifier*.c",), ASAN, VERIFIER),
            Campaign("campaign", 15_000, (*VERIFIER, "packet", "helper", "vm")),
        ),
    ),
    # Publishing and reclaiming, which the same tests see.
    "hook": Target(
        files=("csrc/rcu/*.[ch]", "csrc/hook/*.[ch]"),
        stages=(
            CTests(
                "c",
                (
                    "test_hook.c",
                    "test_hook_links.c",
                    "test_hook_reach.c",
                    "test_rcu.c",
                    "test_map_binding.c",
                ),
            ),
            CTests("stress", ("test_*_stress.c", "test_run.c")),
            CTests("races", ("test_rcu.c", "test_swap_stress.c"), TSAN),
            CTests("sanitizers", ("test_hook.c", "test_hook_links.c"), ASAN),
            PythonTests("python", ("tests/test_hooks.py", "tests/test_links*.py")),
        ),
    ),
}
