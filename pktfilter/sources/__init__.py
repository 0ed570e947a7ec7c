"""Where packets come from: captures (`files`) and live interfaces (`live`)."""

from .files import (
    STDIN,
    STDIN_FD,
    PathLike,
    Source,
    expand,
)
from .live import InterfaceCounts, LiveSource

__all__ = [
    "STDIN",
    "STDIN_FD",
    "InterfaceCounts",
    "LiveSource",
    "PathLike",
    "Source",
    "expand",
]
