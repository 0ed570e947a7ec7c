"""The command line as a user meets it, and captures and programs to give it.

:func:`run` runs a command as a subprocess and holds every answer to what all commands promise:
never a traceback, and on failure a sentence on standard error.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pktfilter

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PCAPS = ROOT / "pcaps"
DEMO = PCAPS / "demo.pcap"
PASS = EXAMPLES / "pass.o"
PORTFW = EXAMPLES / "portfw.o"

# Not `-m`: that would put the current directory, which may be the source tree, first.
COMMAND = [
    sys.executable,
    "-c",
    "import sys; del sys.path[0]; sys.argv[0] = 'pktfilter'; from pktfilter.__main__ import main; main()",
]
#: The package under test, wherever it is; commands run in directories that hold no other.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(pktfilter.__file__).parents[1])}


@dataclass(frozen=True)
class Done:
    """A finished command: exit status, both streams as bytes."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def error(self) -> str:
        return self.err.decode(errors="backslashreplace")

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def check(done: Done) -> Done:
    """What holds for every command whatever it was given."""
    assert b"Traceback" not in done.err + done.out, done.error
    assert b"Exception ignored" not in done.err, done.error
    assert done.code in (0, 1, 2, 130), done
    if done.code in (1, 2):
        assert done.err.strip(), "a failure without a word"
    return done


def run(
    *arguments: object, stdin: bytes | int | None = None, cwd: Path | None = None, code: int = 0,
    preexec: Callable[[], None] | None = None, stdout: int = subprocess.PIPE,
) -> Done:  # fmt: skip
    """Runs a command to its end; `stdin` is what it reads (default: nothing)."""
    feed: dict[str, Any] = {"stdin": stdin} if isinstance(stdin, int) else {"input": stdin or b""}
    done = subprocess.run(
        [*COMMAND, *(os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments)],
        env=ENVIRONMENT, cwd=cwd or PCAPS, stdout=stdout, stderr=subprocess.PIPE, timeout=120,
        check=False, preexec_fn=preexec, **feed,
    )  # fmt: skip
    result = check(Done(done.returncode, done.stdout or b"", done.stderr))
    assert result.code == code, result.error
    return result


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a command; the caller ends it and gives its streams to :func:`finish`."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes], timeout: float = 30) -> Done:
    """Waits for a started command; a hang fails the test and leaves no process."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return check(Done(process.returncode, out or b"", err or b""))


def pcap(
    packets: Iterable[bytes], *, linktype: int = 1, nano: bool = False, order: str = "<",
    wire: int = 0, step_ns: int = 1_234_567,
) -> bytes:  # fmt: skip
    """A classic capture; each packet was `wire` bytes longer on the wire."""
    out = [
        struct.pack(
            order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 65535, linktype
        )
    ]
    for index, data in enumerate(packets):
        seconds, rest = divmod(1_600_000_000 * 10**9 + index * step_ns, 10**9)
        fraction = rest if nano else rest // 1000
        out.append(
            struct.pack(order + "IIII", seconds, fraction, len(data), len(data) + wire) + data
        )
    return b"".join(out)


def pcapng(packets: Iterable[tuple[int, bytes]], linktypes: Iterable[int] = (1,)) -> bytes:
    """A pcapng of (interface, packet)s, one interface per link type, microseconds."""

    def block(kind: int, body: bytes) -> bytes:
        length = 12 + len(body)
        return struct.pack("<II", kind, length) + body + struct.pack("<I", length)

    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for linktype in linktypes:
        out += block(1, struct.pack("<HHI", linktype, 0, 0))
    for index, (interface, data) in enumerate(packets):
        head = struct.pack("<IIIII", interface, 0, index, len(data), len(data))
        out += block(6, head + data + bytes(-len(data) % 4))
    return out


def assembly(name: str, body: str) -> str:
    """Source of one XDP program."""
    return f".section xdp\n.license GPL\n.program {name}\n{name}:\n{body}"


#: r0 = its random number or the clock, whole.
RANDOM = assembly("rnd", "call bpf_get_prandom_u32#7\nexit\n")
CLOCK = assembly("clock", "call bpf_ktime_get_ns#5\nexit\n")
#: Reads 8 bytes beyond data_end of every packet.
OUT_OF_BOUNDS = assembly("oob", "r2 = *(u32 *)(r1 +4)\nr3 = *(u64 *)(r2 +0)\nr0 = 2\nexit\n")
#: Returns the action in the packet's first byte, unknown ones too.
FIRST_BYTE = assembly(
    "first",
    "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 1\nr0 = 0\n"
    "if r4 > r3 goto out\nr0 = *(u8 *)(r2 +0)\nout:\nexit\n",
)


def program(tmp_path: Path, text: str, name: str = "p.s") -> Path:
    """An assembly file with this text."""
    path = tmp_path / name
    path.write_text(text)
    return path
