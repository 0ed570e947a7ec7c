"""The running system's network, as iproute2 prints it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ..errors import InputError

_COMMANDS = {
    "link": ("addr",),
    "route": ("-4", "route", "show", "table", "all"),
    "route6": ("-6", "route", "show", "table", "all"),
    "neigh": ("neigh", "show", "nud", "all"),
    "rule": ("-4", "rule"),
    "rule6": ("-6", "rule"),
    "netconf": ("netconf",),
}


def _ask(arguments: tuple[str, ...]) -> list[dict[str, Any]]:
    command = ["ip", "-N", "-j", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        rows = json.loads(done.stdout or b"[]")
    except FileNotFoundError as error:
        raise InputError(
            "the running system's network is read with the command ip, which is not installed",
            hint="install iproute2, or give a file",
        ) from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip() or f"exit status {error.returncode}"
        raise InputError(f"'{' '.join(command)}' failed: {text}") from error
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise InputError(f"'{' '.join(command)}' gave no answer: {error}") from error
    # A device without addresses of the asked kind is printed as an empty object.
    return [row for row in rows if row]


def read_system() -> dict[str, Any]:
    """The arguments of `Network` for this process's network namespace."""
    return {section: _ask(arguments) for section, arguments in _COMMANDS.items()}
