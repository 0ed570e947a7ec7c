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
        InterfaceError,
        LinkBusy,
        LinkDetached,
        LinkError,
        MapError,
        MapMismatch,
        NoSuchGeneration,
        ObjectError,
        OutputError,
        PktfilterError,
        ProgramError,
        StaleGeneration,
        StaleProgram,
        TransactionError,
        VerifierError,
        WouldDeadlock,
    )
    from .handles.events import Event
    from .handles.history import Generation
    from .handles.hooks import Datapath, Hook, HookStats
    from .handles.links import CanUpdate, Link, LinkInfo
    from .handles.loader import Object, load
    from .handles.maps import BPF_ANY, BPF_EXIST, BPF_F_LOCK, BPF_NOEXIST, Map, MapKeyError
    from .handles.port_entries import CpumapEntry, DevmapEntry
    from .handles.program import XDP, Program, TestRun
    from .handles.transactions import Transaction, transaction
    from .handles.trial_report import ArmReport, Guard, Sample, TrialReport
    from .handles.trials import Trial
    from .handles.updates import PendingUpdate, Update
    from .handles.verification import Verification, verify
    from .insight.coverage import Coverage, cover
    from .insight.profile import Profile, profile
    from .insight.steps import Step
    from .insight.trace import Trace, trace
    from .network import Network
    from .objects import MapSpec, ObjectSpec, ProgramSpec
    from .session.batches import Batch, batches
    from .session.live import Live, live
    from .session.live_results import LiveResult
    from .session.replay import Replay, replay
    from .session.results import ReplayResult
    from .sources.live import LiveSource

_ERRORS = (
    "AssemblerError",
    "CaptureError",
    "ExecutionFault",
    "ExpressionError",
    "GraceTimeout",
    "IncompatibleProgram",
    "InputError",
    "InterfaceError",
    "LinkBusy",
    "LinkDetached",
    "LinkError",
    "MapError",
    "MapMismatch",
    "NoSuchGeneration",
    "ObjectError",
    "OutputError",
    "PktfilterError",
    "ProgramError",
    "StaleGeneration",
    "StaleProgram",
    "TransactionError",
    "VerifierError",
    "WouldDeadlock",
)
_WHERE = {
    **dict.fromkeys(_ERRORS, ".errors"),
    **dict.fromkeys(("Datapath", "Hook", "HookStats"), ".handles.hooks"),
    **dict.fromkeys(("CanUpdate", "Link", "LinkInfo"), ".handles.links"),
    **dict.fromkeys(("Transaction", "transaction"), ".handles.transactions"),
    **dict.fromkeys(("PendingUpdate", "Update"), ".handles.updates"),
    "Event": ".handles.events",
    "Generation": ".handles.history",
    **dict.fromkeys(("ArmReport", "Guard", "Sample", "TrialReport"), ".handles.trial_report"),
    "Trial": ".handles.trials",
    **dict.fromkeys(("Object", "load"), ".handles.loader"),
    **dict.fromkeys(("BPF_ANY", "BPF_EXIST", "BPF_F_LOCK", "BPF_NOEXIST"), ".handles.maps"),
    **dict.fromkeys(("Map", "MapKeyError"), ".handles.maps"),
    **dict.fromkeys(("CpumapEntry", "DevmapEntry"), ".handles.port_entries"),
    "Diagnostic": ".diagnostics",
    **dict.fromkeys(("XDP", "Program", "TestRun"), ".handles.program"),
    **dict.fromkeys(("Verification", "verify"), ".handles.verification"),
    "Network": ".network",
    **dict.fromkeys(("MapSpec", "ObjectSpec", "ProgramSpec"), ".objects"),
    **dict.fromkeys(("Replay", "ReplayResult", "replay"), ".session"),
    **dict.fromkeys(("Batch", "batches"), ".session.batches"),
    **dict.fromkeys(("Live", "live"), ".session.live"),
    "LiveResult": ".session.live_results",
    "LiveSource": ".sources.live",
    **dict.fromkeys(("Coverage", "cover"), ".insight.coverage"),
    **dict.fromkeys(("Profile", "profile"), ".insight.profile"),
    **dict.fromkeys(("Step", "Trace", "trace"), ".insight.trace"),
}

__all__ = [
    "BPF_ANY",
    "BPF_EXIST",
    "BPF_F_LOCK",
    "BPF_NOEXIST",
    "XDP",
    "ArmReport",
    "AssemblerError",
    "Batch",
    "CanUpdate",
    "CaptureError",
    "Coverage",
    "CpumapEntry",
    "Datapath",
    "DevmapEntry",
    "Diagnostic",
    "Event",
    "ExecutionFault",
    "ExpressionError",
    "Generation",
    "GraceTimeout",
    "Guard",
    "Hook",
    "HookStats",
    "IncompatibleProgram",
    "InputError",
    "InterfaceError",
    "Link",
    "LinkBusy",
    "LinkDetached",
    "LinkError",
    "LinkInfo",
    "Live",
    "LiveResult",
    "LiveSource",
    "Map",
    "MapError",
    "MapKeyError",
    "MapMismatch",
    "MapSpec",
    "Network",
    "NoSuchGeneration",
    "Object",
    "ObjectError",
    "ObjectSpec",
    "OutputError",
    "PendingUpdate",
    "PktfilterError",
    "Profile",
    "Program",
    "ProgramError",
    "ProgramSpec",
    "Replay",
    "ReplayResult",
    "Sample",
    "StaleGeneration",
    "StaleProgram",
    "Step",
    "TestRun",
    "Trace",
    "Transaction",
    "TransactionError",
    "Trial",
    "TrialReport",
    "Update",
    "Verification",
    "VerifierError",
    "WouldDeadlock",
    "batches",
    "cover",
    "live",
    "load",
    "profile",
    "replay",
    "trace",
    "transaction",
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
    try:
        value = getattr(import_module(_WHERE[name], __name__), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(f"{__name__}._core."):
            raise
        raise ImportError(
            f"{__path__[0]} is pktfilter's source tree, without the compiled core; start Python in "
            "another directory to use the installed package, or run: python setup.py build_ext --inplace"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
