"""BPF objects as data: ELF, BTF, map definitions and linked programs, before anything is loaded."""

from .map_spec import MapSpec
from .spec import (
    CoreRelo,
    FuncInfo,
    LineInfo,
    ObjectSpec,
    ProgramSpec,
    Skipped,
    set_loader,
)

__all__ = [
    "CoreRelo",
    "FuncInfo",
    "LineInfo",
    "MapSpec",
    "ObjectSpec",
    "ProgramSpec",
    "Skipped",
    "set_loader",
]
