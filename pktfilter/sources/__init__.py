"""Where packets come from: captures (`files`); live interfaces (`live`) are imported when they are used."""

from .files import (
    STDIN,
    STDIN_FD,
    PathLike,
    Source,
    expand,
)

__all__ = [
    "STDIN",
    "STDIN_FD",
    "PathLike",
    "Source",
    "expand",
]
