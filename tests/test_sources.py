"""Inputs: files, globs, standard input, compression; and what damaged, absent and hostile ones get."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lz4.frame
import pytest
import readers
import zstandard
from commandline import (
    DEMO,
    ENVIRONMENT,
    PASS,
    PCAPS,
    Done,
    check,
    finish,
    pcap,
    run,
    start,
)

import pktfilter as pf
from pktfilter import sources

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
    "lz4": partial(lz4.frame.compress, content_checksum=True),
}
EACH = pytest.mark.parametrize("kind", COMPRESS)
PLAIN = DEMO.read_bytes()


def pass_hook() -> pf.Hook:
    hook = pf.Hook()
    hook.attach(pf.load(PASS).program())
    return hook


def copied(path: Path, out: Path) -> tuple[pf.ReplayResult, list[bytes]]:
    result = pf.replay(path, pass_hook(), write=out)
    walked = readers.walk(out)
    assert walked.damage is None
    return result, [record.data for record in walked.records]


def prefix(data: bytes) -> list[bytes]:
    """What an independent walker finds before the damage."""
    return [record.data for record in readers.walk(data).records]


@EACH
def test_compressed_whole_and_in_members(kind: str, tmp_path: Path) -> None:
    pack = COMPRESS[kind]
    cut = len(PLAIN) // 3
    for name, data in {
        "one": pack(PLAIN),
        "three": pack(PLAIN[:cut])
        + pack(b"")
        + pack(PLAIN[cut : 2 * cut])
        + pack(PLAIN[2 * cut :]),
    }.items():
        path = tmp_path / f"{name}.any"
        path.write_bytes(data)
        result, packets = copied(path, tmp_path / "out.pcap")
        assert result.packets == 2000, name
        assert packets == prefix(PLAIN)
        assert not result.errors


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_padding_after_the_last_member(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "padded"
    path.write_bytes(COMPRESS[kind](PLAIN) + bytes(4096))
    assert pf.replay(path, pass_hook()).packets == 2000


@EACH
def test_truncated_compressed_data(kind: str, tmp_path: Path) -> None:
    """Everything that the library gives of the prefix is processed; then the error."""
    packed = COMPRESS[kind](PLAIN)
    for share in (3, 60, 99):
        path = tmp_path / "cut.pcap.z"
        path.write_bytes(packed[: len(packed) * share // 100])
        done = run("replay", PASS, path, "-w", tmp_path / "out.pcap", "--json", code=1)
        assert done.error.count("\n") == 1
        assert "cut.pcap.z" in done.error and kind in done.error
        (entry,) = done.json["inputs"]
        assert entry["truncated"] is True
        packets = [r.data for r in readers.walk(tmp_path / "out.pcap").records]
        assert len(packets) == done.json["packets"] == entry["packets"]
        assert packets == prefix(PLAIN)[: len(packets)]
        # zstd, xz and lz4 work in blocks; this file has few of them.
        if kind == "gzip":
            known = zlib.decompressobj(31).decompress(path.read_bytes())
            assert len(packets) == len(prefix(known))


@EACH
def test_corrupt_compressed_data(kind: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    big = pcap([rng.randbytes(900) for _ in range(2000)])
    packed = bytearray(COMPRESS[kind](big))
    middle = len(packed) * 3 // 4
    packed[middle : middle + 64] = bytes(64)
    path = tmp_path / "bad.z"
    path.write_bytes(packed)
    result, packets = copied(path, tmp_path / "out.pcap")
    assert result.inputs[0].truncated or result.errors
    if kind in ("gzip", "zstd"):  # in the others random bytes are stored, and only a checksum tells
        assert len(packets) >= 1000
    same = sum(a == b for a, b in zip(packets, prefix(big), strict=False))
    assert same >= len(packets) - 4


@EACH
def test_compressed_standard_input(kind: str) -> None:
    assert run("replay", PASS, "-", "--json", stdin=COMPRESS[kind](PLAIN)).json["packets"] == 2000


def test_plain_standard_input_in_small_pieces() -> None:
    process = start("replay", PASS, "-", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    for at in range(0, 4000, 3):
        process.stdin.write(PLAIN[at : at + 3])
        process.stdin.flush()
    process.stdin.write(PLAIN[4002:])
    done = finish(process)
    assert done.code == 0
    assert done.json["packets"] == 2000
    assert done.json["inputs"] == [
        {"path": "-", "packets": 2000, "truncated": False, "error": None}
    ]


def test_standard_input_that_starts_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "two"
    path.write_bytes(b"front" + PLAIN)
    with path.open("rb") as file:
        os.lseek(file.fileno(), 5, os.SEEK_SET)
        assert run("replay", PASS, "-", "--json", stdin=file.fileno()).json["packets"] == 2000


def test_standard_input_that_does_not_block() -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    process = start("replay", PASS, "-", "--json", stdin=read_fd)
    os.close(read_fd)
    with os.fdopen(write_fd, "wb", buffering=0) as feed:
        feed.write(PLAIN[:5000])
        time.sleep(0.5)  # the reader finds nothing there
        feed.write(PLAIN[5000:60000])
        time.sleep(0.1)
        rest = memoryview(PLAIN)[60000:]
        while rest:
            rest = rest[feed.write(rest) or 0 :]
    done = finish(process)
    assert (done.code, done.json["packets"]) == (0, 2000)


def test_closed_standard_input() -> None:
    done = run("replay", PASS, "-", code=1, preexec=lambda: os.close(0))
    assert "standard input" in done.error


def test_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start("replay", PASS, fifo, "--json", cwd=tmp_path)
    time.sleep(0.3)
    fifo.write_bytes(PLAIN)
    assert finish(process).json["packets"] == 2000


@pytest.mark.parametrize("sent", [b"", PLAIN[:5], PLAIN[:9000], gzip.compress(PLAIN)[:9000]])
def test_ctrl_c_while_blocked_on_standard_input(sent: bytes, tmp_path: Path) -> None:
    """Before the first byte, in the magic, between packets, in a compressed stream: one is enough."""
    out = tmp_path / "out.pcap"
    process = start("replay", PASS, "-", "-w", out, "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(sent)
    process.stdin.flush()
    while not out.exists():
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    # The pipe stays open: only the signal can end it.
    code = process.wait(timeout=10)
    assert process.stdout is not None and process.stderr is not None
    done = check(Done(code, process.stdout.read(), process.stderr.read()))
    assert code == 130
    assert done.json["interrupted"] is True
    walked = readers.walk(out)
    assert walked.damage is None
    assert len(walked.records) == done.json["packets"]
    assert (done.json["packets"] > 50) == (len(sent) == 9000)
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_a_signal_does_not_disturb_batches() -> None:
    """pf.batches on a pipe goes on after a signal whose handler returns."""
    read_fd, write_fd = os.pipe()
    calls: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: calls.append(number))

    def feed() -> None:
        with os.fdopen(write_fd, "wb") as file:
            file.write(PLAIN[:30000])
            file.flush()
            time.sleep(0.4)
            file.write(PLAIN[30000:])

    thread = threading.Thread(target=feed)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        thread.start()
        total = sum(len(b) for b in pf.batches(f"/dev/fd/{read_fd}", pass_hook()))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        thread.join()
        os.close(read_fd)
    assert total == 2000
    assert calls


# Hostile compression


def rle_bomb(blocks: int) -> bytes:
    """A zstd frame of run-length blocks: 4 bytes become 128 KiB."""
    body = b"".join(struct.pack("<I", 1 << 1 | 131072 << 3)[:3] + b"\xff" for _ in range(blocks))
    first = pcap([bytes(60)] * 5)
    raw = struct.pack("<I", len(first) << 3)[:3] + first
    return b"\x28\xb5\x2f\xfd\x00\x58" + raw + body + b"\x01\x00\x00"


def xz_asking_for_4_gib() -> bytes:
    packed = bytearray(lzma.compress(PLAIN))
    size = (packed[12] + 1) * 4
    header = packed[12 : 12 + size - 4]
    assert header[2:4] == b"\x21\x01"  # LZMA2, one byte of properties
    header[4] = 40
    packed[12 : 12 + size] = header + struct.pack("<I", zlib.crc32(header))
    return bytes(packed)


#: The peak that getrusage gives is at least that of the parent, so the process tells its own.
TELL_PEAK = """
import atexit, re, sys
del sys.path[0]  # the current directory, which may be the source tree
def tell():
    with open("/proc/self/status") as status:
        print("PEAK", re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1], file=sys.stderr)
atexit.register(tell)
from pktfilter.cli import main
main()
"""


def measured(*arguments: object) -> tuple[int, str, int]:
    """Exit status, standard error, peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", TELL_PEAK, *map(str, arguments)], env=ENVIRONMENT,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    error, _, peak = done.stderr.rpartition("PEAK ")
    return done.returncode, error, int(peak) * 1024


BOMB = pcap([b"\0" * 60000] * 2600)


@pytest.mark.parametrize(
    ("name", "make", "status"),
    [
        ("gzip", lambda: gzip.compress(BOMB), 0),
        ("zstd", lambda: zstandard.ZstdCompressor().compress(BOMB), 0),
        ("xz", lambda: lzma.compress(BOMB, preset=0), 0),
        ("lz4", lambda: lz4.frame.compress(BOMB), 0),
        ("rle", lambda: rle_bomb(16384), 1),
    ],
)
def test_bombs_take_bounded_memory(
    name: str, make: Callable[[], bytes], status: int, tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(make())
    assert path.stat().st_size < 3 << 20
    code, error, peak = measured("replay", PASS, path)
    assert code == status, error
    assert peak < 120 << 20


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("zstd", b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"),  # window of 2 GiB
        ("zstd", b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x7f" + b"\x01\x00\x00"),
        ("xz", xz_asking_for_4_gib()),
    ],
)
def test_a_huge_window_is_refused(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "window"
    path.write_bytes(data)
    code, error, peak = measured("replay", PASS, path)
    assert code == 1
    assert "too much memory" in error and kind in error and "128 MiB" in error
    assert peak < 120 << 20


# Inputs that cannot be read


def test_inputs_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("not a capture at all\n")
    (tmp_path / "folder").mkdir()
    for name, word in {
        "empty": "empty", "text": "not a capture", "folder": "directory", "absent": "No such file",
    }.items():  # fmt: skip
        done = run("replay", PASS, tmp_path / name, code=1)
        assert str(tmp_path / name) in done.error and word in done.error
        assert done.error.count("\n") == 1
        with pytest.raises(pf.CaptureError):
            pf.replay(tmp_path / name, pass_hook())
    assert run("replay", PASS, "-", code=1, stdin=b"").error == (
        "pktfilter: standard input: the input is empty, expected a pcap or pcapng header\n"
    )


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.pcap"
    path.write_bytes(PLAIN)
    path.chmod(0)
    if os.access(path, os.R_OK):
        # As root nothing is unreadable, but what fails with EIO when read.
        assert "cannot be read" in run("replay", PASS, "/proc/self/mem", code=1).error
        return
    assert "Permission denied" in run("replay", PASS, path, code=1).error


def test_globs_and_several_inputs(tmp_path: Path) -> None:
    for name in ("b.pcap", "a.pcap", "c[1].pcap"):
        (tmp_path / name).write_bytes(pcap([name.encode().ljust(60, b"\0")] * 2))
    done = run("replay", PASS, "*.pcap", "-w", "out.all", "--json", cwd=tmp_path)
    assert [entry["path"] for entry in done.json["inputs"]] == ["a.pcap", "b.pcap", "c[1].pcap"]
    first = [record.data[:1] for record in readers.walk(tmp_path / "out.all").records]
    assert first == [b"a", b"a", b"b", b"b", b"c", b"c"]
    assert sources.expand(tmp_path / "c[1].pcap") == [str(tmp_path / "c[1].pcap")]
    assert "no file matches" in run("replay", PASS, "*.none", cwd=tmp_path, code=1).error
    assert "more than once" in run("replay", PASS, "-", "-", code=1).error


def test_one_bad_input_of_several(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(PLAIN[:10000])
    done = run(
        "replay", PASS, DEMO, bad, tmp_path / "absent", PCAPS / "nano.pcap", "--json", code=1
    )
    entries = done.json["inputs"]
    assert [entry["truncated"] for entry in entries] == [False, True, False, False]
    assert done.json["packets"] == sum(entry["packets"] for entry in entries) > 2200
    assert [bool(entry["error"]) for entry in entries] == [False, True, True, False]
    assert done.error.count("\n") == 2
