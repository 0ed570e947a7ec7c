"""The groups by name, and running some of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from ..errors import PktfilterError
from . import groups_core, groups_io, groups_vm
from .runner import Session, one_cpu

GROUPS: dict[str, tuple[str, Callable[[Session], None]]] = {
    "filter": ("64-instruction filter: tiers, librte_bpf, the kernel", groups_vm.filter64),
    "counted": ("filter with hash lookup and count: tiers, the kernel", groups_vm.counted),
    "tcpdump": ("an expression over a capture, beside tcpdump", groups_io.tcpdump),
    "replay": ("whole replays beside read(2)", groups_io.replay),
    "reading": ("reading captures beside read(2), libpcap, dpkt, scapy", groups_io.reading),
    "workers": ("one worker, two, four", groups_io.workers),
    "examples": ("every example program by tier", groups_vm.examples),
    "maps": ("map operations by type and tier", groups_vm.maps),
    "dispatch": ("one instruction of each class by tier", groups_vm.dispatch),
    "compile": ("time to native code", groups_core.compiling),
    "verify": ("time of the verifier, beside the kernel's", groups_core.verification),
    "swaps": ("replacing a program under load", groups_core.swaps),
    "startup": ("whole processes that do little", groups_io.startup),
}


def default_examples() -> Path | None:
    """The folder of the example programs beside the package; None for an installed one."""
    folder = Path(__file__).parents[2] / "examples"
    return folder if (folder / "filter64.o").exists() else None


def run_groups(session: Session, names: Iterable[str]) -> None:
    """Runs the groups, each pinned to one CPU. One that fails is skipped with its reason.

    On KeyboardInterrupt `session.run` has what was measured, and is marked incomplete.
    """
    for name in names:
        with ExitStack() as stack:
            stack.enter_context(one_cpu())
            try:
                GROUPS[name][1](session)
            except KeyboardInterrupt:
                session.run.complete = False
                raise
            except (PktfilterError, OSError) as error:
                session.skip(name, str(error))
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    from .machine import BUSY

    if load > cpus * (1 + BUSY):
        session.run.warnings.append(
            f"the machine was busy while measuring: load average {load:.2f} on {cpus} processors at the end"
        )
