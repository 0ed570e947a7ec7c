"""SHA-256 as Python has it built in: `hashlib` loads OpenSSL first, 8 ms of every short command."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

#: In this order: the name since Python 3.12, the one before, and where neither was built.
_MODULES = ("_sha2", "_sha256", "hashlib")


def _find() -> Callable[..., Any]:
    for module in _MODULES:
        try:
            return getattr(import_module(module), "sha256")  # type: ignore[no-any-return] # noqa: B009
        except ImportError:
            continue
    raise ImportError("this Python has no SHA-256")


_sha256 = _find()


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """The 32 bytes of FIPS 180-4's SHA-256."""
    return bytes(_sha256(data).digest())
