"""Control of a running engine from another process: a Unix socket, one JSON object a line."""

from __future__ import annotations

from .client import Client, sockets
from .server import ControlServer, Engine
from .watch import Watcher

__all__ = ["Client", "ControlServer", "Engine", "Watcher", "sockets"]
