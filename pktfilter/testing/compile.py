"""C sources of programs under test, compiled once a session."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from ..errors import InputError, ObjectError

_NAMES = ("clang", *(f"clang-{version}" for version in range(22, 9, -1)))
_SECONDS = 120


def compiler() -> str | None:
    """The first clang on the PATH, or `$CLANG`."""
    return os.environ.get("CLANG") or next((name for name in _NAMES if shutil.which(name)), None)


def compile_source(source: Path, folder: Path, clang: str, flags: tuple[str, ...] = ()) -> Path:
    """The object of a C file, in `folder`. Raises `ObjectError` with the compiler's first error."""
    try:
        text = source.read_bytes()
    except OSError as error:
        raise InputError(
            f"the source cannot be read: {error.strerror}", file=str(source)
        ) from error
    key = hashlib.sha256(
        b"\0".join([text, str(source).encode(), *(flag.encode() for flag in flags)])
    )
    out = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
    if out.exists():
        return out
    made = out.with_suffix(".part")  # a compiler that is stopped leaves no object
    command = [clang, "-O2", "-g", "-target", "bpf", *flags, "-c", str(source), "-o", str(made)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            cwd=source.parent,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ObjectError(f"{clang} cannot be run: {error}", file=str(source)) from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        first = (errors or done.stderr.splitlines() or ["no message"])[0]
        raise ObjectError(f"the source does not compile: {first}", hint=f"run: {' '.join(command)}")
    made.rename(out)
    return out
