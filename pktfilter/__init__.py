"""pktfilter: runs XDP programs in user space over captures, and replaces them atomically.

Everything public is here; modules are imported when a name is first used, so that `import pktfilter`
is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import vm
    from .diagnostics import Diagnostic
    from .errors import (
        AssemblerError,
        CaptureError,
        ExecutionFault,
        GraceTimeout,
        IncompatibleProgram,
        InputError,
        LinkDetached,
        LinkError,
        MapError,
        ObjectError,
        OutputError,
        PktfilterError,
        ProgramError,
        StaleGeneration,
        StaleProgram,
        VerifierError,
        WouldDeadlock,
    )
    from .handles.hooks import Datapath, Hook, HookStats, Link, Update
    from .handles.loader import Object, load
    from .handles.maps import BPF_ANY, BPF_EXIST, BPF_NOEXIST, Map, MapKeyError
    from .handles.program import XDP, Program, TestRun
    from .handles.verification import Verification, verify
    from .objects import MapSpec, ObjectSpec, ProgramSpec
    from .session import Batch, Replay, ReplayResult, batches, replay

_ERRORS = (
    "AssemblerError",
    "CaptureError",
    "ExecutionFault",
    "GraceTimeout",
    "IncompatibleProgram",
    "InputError",
    "LinkDetached",
    "LinkError",
    "MapError",
    "ObjectError",
    "OutputError",
    "PktfilterError",
    "ProgramError",
    "StaleGeneration",
    "StaleProgram",
    "VerifierError",
    "WouldDeadlock",
)
_WHERE = {
    **dict.fromkeys(_ERRORS, ".errors"),
    **dict.fromkeys(("Datapath", "Hook", "HookStats", "Link", "Update"), ".handles.hooks"),
    **dict.fromkeys(("Object", "load"), ".handles.loader"),
    **dict.fromkeys(("BPF_ANY", "BPF_EXIST", "BPF_NOEXIST", "Map", "MapKeyError"), ".handles.maps"),
    "Diagnostic": ".diagnostics",
    **dict.fromkeys(("XDP", "Program", "TestRun"), ".handles.program"),
    **dict.fromkeys(("Verification", "verify"), ".handles.verification"),
    **dict.fromkeys(("MapSpec", "ObjectSpec", "ProgramSpec"), ".objects"),
    **dict.fromkeys(("Batch", "Replay", "ReplayResult", "batches", "replay"), ".session"),
}

__all__ = [
    "BPF_ANY",
    "BPF_EXIST",
    "BPF_NOEXIST",
    "XDP",
    "AssemblerError",
    "Batch",
    "CaptureError",
    "Datapath",
    "Diagnostic",
    "ExecutionFault",
    "GraceTimeout",
    "Hook",
    "HookStats",
    "IncompatibleProgram",
    "InputError",
    "Link",
    "LinkDetached",
    "LinkError",
    "Map",
    "MapError",
    "MapKeyError",
    "MapSpec",
    "Object",
    "ObjectError",
    "ObjectSpec",
    "OutputError",
    "PktfilterError",
    "Program",
    "ProgramError",
    "ProgramSpec",
    "Replay",
    "ReplayResult",
    "StaleGeneration",
    "StaleProgram",
    "TestRun",
    "Update",
    "Verification",
    "VerifierError",
    "WouldDeadlock",
    "batches",
    "load",
    "replay",
    "verify",
    "vm",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "vm":
        return import_module(".vm", __name__)
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "ObjectSpec":
        import_module(".handles.loader", __name__)  # gives specs their load()
    value = getattr(import_module(_WHERE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
