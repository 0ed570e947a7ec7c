from typing import Any

from .prog import ProgRef

WANT_FACTS: int
WANT_FRAGS: int
WANT_EGRESS: int
FACT_KINDS: tuple[str, ...]

def verify(
    insns: bytes,
    type: str,
    maps: list[tuple[Any, ...]],
    functions: list[tuple[int, list[tuple[str, int, bool]]]],
    *,
    cpus: int,
    want: int,
    gpl_compatible: bool,
    log: bool,
) -> dict[str, Any]: ...
def verify_program(
    prog: ProgRef,
    functions: list[tuple[int, list[tuple[str, int, bool]]]],
    *,
    cpus: int,
    want: int,
    gpl_compatible: bool,
    log: bool,
    memory_size: int | None,
) -> dict[str, Any]: ...
