"""Groups that read captures and run whole processes: reading, replay, tcpdump, workers, start-up."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .._core.io import Reader
from .._core.measure import read_all
from ..errors import PktfilterError
from ..handles.hooks import Hook
from ..handles.program import Program
from ..session.options import DEFAULT_BATCH
from ..session.replay import Replay
from . import programs
from .expression_traffic import write_matching
from .model import Bound, Ratio, Skipped
from .runner import Session, Subject, all_cpus, once
from .tiers import why_not

CHUNK = 256 << 10
"""Bytes per read(2), of pktfilter's reader and of the peer alike."""
PROFILES = {"imix": "imix_csit_v4_1", "64": "64"}
#: Done when: over read(2), per packet.
OVER_READ_NS = {"imix": 16.0, "64": 11.0}
EXPRESSION = "tcp port 443 and not (tcp[tcpflags] & tcp-syn != 0)"
TCPDUMP_WHOLE, WORKERS_OF_ONE = 0.5, 1 / 1.7
STARTUP_MS = 200.0


def _read(path: Path) -> None:
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _ours(path: Path, count: int) -> None:
    with open(path, "rb", buffering=0) as file:
        packets, _, _ = read_all(Reader(file.fileno()), DEFAULT_BATCH)
    if packets != count:
        raise PktfilterError(
            "the capture was not read whole", file=path, found=packets, expected=count
        )


def _dpkt(path: Path) -> None:
    import dpkt

    with open(path, "rb") as file:
        for _stamp, data in dpkt.pcap.Reader(file):
            dpkt.ethernet.Ethernet(data)


def _cypcap(path: Path) -> None:
    import cypcap

    with cypcap.open_offline(str(path)) as capture:
        for _header, _data in capture:
            pass


def _scapy(path: Path) -> None:
    from scapy.all import PcapReader

    with PcapReader(str(path)) as reader:
        for _packet in reader:
            pass


_READERS: dict[str, tuple[str, Callable[[Path], None], float]] = {
    "libpcap, cypcap": ("cypcap", _cypcap, 0.1),
    "dpkt, Ethernet decoded": ("dpkt", _dpkt, 0.01),
    "scapy": ("scapy", _scapy, 0.0005),
}
"""Peers that read in Python: the module, what it does, and the share of the packets it is given."""


def reading(session: Session) -> None:
    """Reading a capture, without a program, beside read(2), libpcap, dpkt and scapy."""
    for short, profile in PROFILES.items():
        path = session.capture(profile)
        count = session.packets
        subjects = [
            Subject("pktfilter", once(partial(_ours, path, count)), parts=count, whole=True),
            Subject("read(2)", once(partial(_read, path)), parts=count, role="peer", whole=True),
        ]
        skipped = []
        for name, (module, body, share) in _READERS.items():
            if importlib.util.find_spec(module) is None:
                skipped.append(Skipped(name, f"{module} is not installed"))
                continue
            few = max(100, int(count * share))
            part = session.capture(profile, few)
            subjects.append(
                Subject(name, once(partial(body, part)), parts=few, role="peer", whole=True)
            )
        session.measure(
            f"reading/{short}",
            f"reading a capture of {count:,} packets, {_PROFILE_TITLES[short]}",
            "ns/packet",
            subjects,
            ratios=[
                Ratio("pktfilter", name, main=name.startswith("libpcap") and short == "imix")
                for name in ("read(2)", *_READERS)
            ],
            skipped=skipped,
            facts={"bytes": f"{path.stat().st_size:,}", "page cache": "warm"},
            note="the floor is read(2) into one buffer of 256 KiB; slow readers read fewer packets of the same kind",
        )


_PROFILE_TITLES = {"imix": "IMIX sizes", "64": "64 bytes"}


def _replayed(path: Path, hook: Hook, count: int, engine: str, workers: int = 1) -> float:
    """Nanoseconds from the first read to the last verdict."""
    result = Replay([path], hook, engine=engine, workers=workers).run()
    if result.packets != count or result.errors:
        raise PktfilterError("the replay was not whole", found=result.packets, expected=count)
    return result.elapsed_s * 1e9


def _hook(program: Program | None) -> Hook:
    hook = Hook("bench")
    if program is not None:
        hook.attach(program)
    return hook


def replay(session: Session) -> None:
    """A whole replay, by tier, beside read(2) of the same file."""
    for short, profile in PROFILES.items():
        path, count = session.capture(profile), session.packets
        subjects = [
            Subject("read(2)", once(partial(_read, path)), parts=count, role="baseline", whole=True)
        ]
        skipped, bounds = [], []
        cases = {
            "no program": (None, "interp"),
            "filter, jit": (programs.xdp(programs.xdp_filter(), "filter"), "jit"),
            "filter, interp": (programs.xdp(programs.xdp_filter(), "filter"), "interp"),
        }
        for name, (program, engine) in cases.items():
            reason = why_not(engine, program)
            if reason:
                skipped.append(Skipped(name, reason))
                continue
            hook = _hook(program)

            def run(
                _: int, hook: Hook = hook, path: Path = path, engine: str = engine, n: int = count
            ) -> float:
                return _replayed(path, hook, n, engine)

            subjects.append(Subject(name, run, parts=count, baseline="read(2)", whole=True))
            if name.endswith("jit"):
                bounds.append(Bound(name, OVER_READ_NS[short], minus="read(2)"))
        session.measure(
            f"replay/{short}",
            f"replay of {count:,} packets, {_PROFILE_TITLES[short]}",
            "ns/packet",
            subjects,
            ratios=[Ratio("filter, jit", "filter, interp")],
            bounds=bounds,
            skipped=skipped,
            facts={
                "bytes": f"{path.stat().st_size:,}",
                "batch": str(DEFAULT_BATCH),
                "page cache": "warm",
            },
            note="elapsed_s of the replay (wall time, first read to last verdict); net: less read(2) of the same file",
        )


def command(*words: str) -> Callable[[int], float]:
    """Wall time of a whole process; raises `PktfilterError` where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # An installed package has its modules compiled; one that is not would be compiled in every round.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(_: int) -> float:
        start = time.perf_counter_ns()
        done = subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        taken = time.perf_counter_ns() - start
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise PktfilterError(f"{Path(words[0]).name} failed: {lines[-1]}")
        return float(taken)

    return run


def pktfilter_command(*words: str) -> Callable[[int], float]:
    """The same of `pktfilter` in this interpreter."""
    return command(sys.executable, "-m", "pktfilter", *words)


def tcpdump(session: Session) -> None:
    """`pktfilter replay 'pcap:...'` and `tcpdump -r` with the same expression, whole processes."""
    if shutil.which("tcpdump") is None:
        session.skip("tcpdump", "tcpdump is not installed")
        return
    count = session.packets
    path, small = session.folder / "half.pcap", session.folder / "half-small.pcap"
    write_matching(path, count)
    ours = pktfilter_command("replay", f"pcap:{EXPRESSION}", str(path), "-w", os.devnull)
    try:
        ours(1)
    except PktfilterError as error:
        session.skip("tcpdump", str(error))
        return
    write_matching(small, count // 10)
    theirs = ("-w", os.devnull, EXPRESSION)
    session.measure(
        "tcpdump/imix",
        f"expression over {count:,} packets, half match, whole process",
        "ms",
        [
            Subject("pktfilter replay", ours, whole=True, scale=1e-6, baseline="pktfilter replay, a tenth"),
            Subject("tcpdump -r", command("tcpdump", "-r", str(path), *theirs), whole=True, role="peer",
                    scale=1e-6, baseline="tcpdump -r, a tenth"),
            Subject("pktfilter replay, a tenth", pktfilter_command(
                "replay", f"pcap:{EXPRESSION}", str(small), "-w", os.devnull), whole=True, role="baseline", scale=1e-6),
            Subject("tcpdump -r, a tenth", command("tcpdump", "-r", str(small), *theirs), whole=True,
                    role="baseline", scale=1e-6),
        ],
        ratios=[
            Ratio("pktfilter replay", "tcpdump -r", limit=TCPDUMP_WHOLE, main=True),
            Ratio("pktfilter replay", "tcpdump -r", net=True),
        ],
        facts={"expression": EXPRESSION, "written to": os.devnull, "page cache": "warm"},
        note="wall time; net: less the same over a tenth of the packets, which is the slope",
    )  # fmt: skip


def workers(session: Session) -> None:
    """One worker, two and four on a compute-bound program."""
    path, count = session.capture(PROFILES["64"]), session.packets
    program = programs.xdp(programs.straight(1000), "digest")
    engine = "interp" if why_not("jit", program) else "jit"
    with all_cpus() as cpus:
        subjects, skipped = [], []
        for number in (1, 2, 4):
            name = f"{number} worker{'s' * (number > 1)}"
            hook = _hook(program)

            def run(_: int, hook: Hook = hook, number: int = number) -> float:
                return _replayed(path, hook, count, engine, number)

            if number > cpus:
                skipped.append(Skipped(name, f"{cpus} processors are allowed"))
                continue
            try:
                Replay([session.capture(PROFILES["64"], 1000)], hook, workers=number).run()
            except PktfilterError as error:
                skipped.append(Skipped(name, str(error)))
                continue
            subjects.append(Subject(name, run, parts=count, whole=True))
        session.measure(
            "workers/compute",
            f"workers on a program of 1,000 instructions ({engine}), {count:,} packets",
            "ns/packet",
            subjects,
            ratios=[Ratio("2 workers", "1 worker", limit=round(WORKERS_OF_ONE, 4), main=True)],
            skipped=skipped,
            facts={"processors": str(cpus)},
            note="wall time, first read to last verdict; not pinned",
        )


def startup(session: Session) -> None:
    """Whole processes that do little: what the command line costs before it works."""
    path = session.capture(PROFILES["64"], 10)
    source = session.folder / "pass.s"
    source.write_text(programs.EMPTY)
    words = ("replay", f"{source}:empty", str(path), "--json")
    subjects = [
        Subject("replay of 10 packets", pktfilter_command(*words), whole=True, scale=1e-6),
        Subject(
            "python -c pass",
            command(sys.executable, "-c", "pass"),
            whole=True,
            role="baseline",
            scale=1e-6,
        ),
    ]
    skipped = []
    if importlib.util.find_spec("dpkt") is not None:
        text = f"import dpkt; print(sum(1 for _ in dpkt.pcap.Reader(open({str(path)!r}, 'rb'))))"
        subjects.append(
            Subject(
                "dpkt loop",
                command(sys.executable, "-c", text),
                whole=True,
                role="peer",
                scale=1e-6,
            )
        )
    else:
        skipped.append(Skipped("dpkt loop", "dpkt is not installed"))
    session.measure(
        "startup/replay",
        "a whole process over 10 packets",
        "ms",
        subjects,
        bounds=[Bound("replay of 10 packets", STARTUP_MS)],
        skipped=skipped,
        note="wall time of the process, interpreter included",
        facts={"command": json.dumps(["pktfilter", *words[:1], "PROG", "F", *words[3:]])},
    )
