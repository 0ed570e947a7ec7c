"""LLVM: IR text to an x86-64 object. The only module that imports llvmlite, and only when called."""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from typing import Any

from ..errors import CompileError

#: Branches in a unit's text up to which it gets all of LLVM's passes, or some.
BRANCHES_ALL = 900
BRANCHES_SOME = 2500


def reason_against() -> str | None:
    """Why nothing can be compiled here; None: it can."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return f"the compiled tier is for x86-64 Linux, this is {platform.machine()} {sys.platform}"
    try:
        import llvmlite.binding  # noqa: F401
    except ImportError as error:
        return f"llvmlite cannot be imported: {error}"
    return None


@lru_cache(maxsize=4)
def _machine(level: int) -> Any:
    reason = reason_against()
    if reason is not None:
        raise CompileError(reason)
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    cpu, features = host()
    # Maps and helpers lie anywhere: addresses are 64-bit, and those of the program's own data too.
    return target.create_target_machine(
        cpu=cpu, features=features, opt=level, reloc="static", codemodel="large"
    )


@lru_cache(maxsize=1)
def host() -> tuple[str, str]:
    """The name and the features of this machine's CPU, as LLVM calls them."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _optimized(text: str, level: int) -> tuple[Any, Any]:
    import llvmlite.binding as llvm

    machine = _machine(level)
    try:
        module = llvm.parse_assembly(text)
    except RuntimeError as error:
        raise CompileError(f"LLVM refuses the text: {str(error).strip()}") from None
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    _passes(builder, text).run(module, builder)
    return machine, module


def _passes(builder: Any, text: str) -> Any:
    """LLVM's own pipeline; for big programs one that takes no time out of proportion.

    LLVM simplifies control flow step by step until nothing changes, and gives up (with the process,
    where it was built with assertions) after a thousand steps; a chain of equal branches takes one
    step for each. Combining instructions takes time by the square of a value's uses.
    """
    branches = text.count("\n  br ")
    if branches <= BRANCHES_ALL:
        return builder.getModulePassManager()
    import llvmlite.binding as llvm

    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    if branches <= BRANCHES_SOME:
        passes.add_instruction_combine_pass()
        passes.add_new_gvn_pass()
    passes.add_dead_store_elimination_pass()
    passes.add_aggressive_dce_pass()
    return passes


def compile_ir(text: str, *, level: int = 2) -> bytes:
    """A relocatable object; raises `CompileError`."""
    machine, module = _optimized(text, level)
    return bytes(machine.emit_object(module))


def optimized_ir(text: str, *, level: int = 2) -> str:
    """The text after LLVM's passes."""
    return str(_optimized(text, level)[1])


def assembly(text: str, *, level: int = 2) -> str:
    """What the object holds, as assembly text."""
    machine, module = _optimized(text, level)
    return str(machine.emit_assembly(module))
