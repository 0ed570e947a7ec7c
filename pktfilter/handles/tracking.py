"""Which network a run asks, where programs use connection tracking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._core.hook import programs_of
from ..errors import InputError
from ..network import Network, network_ref

__all__ = ["Network", "network_of_hook", "network_of_program"]

if TYPE_CHECKING:
    from .._core.network import NetRef
    from .._core.prog import ProgRef
    from .hooks import Hook
    from .program import Program


def network_of_program(network: Network | None, program: ProgRef) -> NetRef | None:
    """The network of one run. Without one, a program that tracks connections gets an empty one: in
    Linux there always is a table. Raises `TypeError` for anything that is no network."""
    if network is None and _tracks([program]) is not None:
        network = Network()
    return network_ref(network)


def network_of_hook(
    network: Network | None, hook: Hook, workers: int = 1, programs: Iterable[Program] = ()
) -> NetRef | None:
    """The same for a run over a hook; `programs` come in later. Raises `InputError` for several
    workers where a program tracks connections: which packet comes first would be chance."""
    found = _tracks(hook.datapath._ref.programs()) or _tracks([p._ref for p in programs])
    if found is not None and workers != 1:
        raise InputError(
            "programs that track connections run in one worker",
            place=f"program '{found}'",
            found=f"{workers} workers",
            expected="1 worker: the packets of one connection may be in different workers",
        )
    if network is None and found is not None:
        network = Network()
    return network_ref(network)


def _tracks(programs: Iterable[ProgRef]) -> str | None:
    """The name of the first that asks the connection table, by tail calls too; None if none does."""
    for program in programs:
        for each in programs_of(program) if program.tail_calls else [program]:
            if each.tracks:
                return str(each.name)
    return None
