"""Packets per second through the live ring, and between two interfaces, over veth pairs of its own.

Run as root: `python bench/live_ring.py [--seconds S]`. Prints one JSON object a row. The sender is the
transmit sink over a generated capture, on a thread of its own; on a veth it also does the kernel's part
of receiving, so that two cores carry both ends.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from commandline import EXAMPLES, pcap
from live_net import Net, packet
from pktfilter._core.io import Reader
from pktfilter._core.live import Transmit
from pktfilter._core.run import Worker

import pktfilter as pf
from pktfilter.cli.programs import load_program

PACKETS = 20_000


def _send(capture: Path, seconds: float) -> int:
    """Sends the capture out of a0 again and again as fast as it goes."""
    sender = Transmit(socket.if_nametoindex("a1"), socket.if_nametoindex("a0"))
    hook = pf.Hook("sender")
    made = Worker(
        hook.datapath._ref, hook.index, batch=64, cpu=0, seed=0, linear_limit=0, name="sender"
    )
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with capture.open("rb") as file:
            reader = Reader(file.fileno())
            made.step(reader, sender, (1 << 64) - 1, (1 << 64) - 1)
    return int(sender.counts(1)["sent"])


def _measure(
    net: Net, capture: Path, program: str, seconds: float, out: str | None
) -> dict[str, object]:
    hook = pf.Hook("ingress")
    hook.attach(load_program(str(EXAMPLES / program))[1])
    started = threading.Event()
    live = pf.Live(
        "a1", hook, out=out, ring_mib=64, latency_ms=10, on_start=lambda _: started.set()
    )
    used = 0.0

    def receive() -> pf.LiveResult:
        nonlocal used
        begun = time.thread_time()
        result = live.run()
        used = time.thread_time() - begun
        return result

    run = net.background(receive)
    started.wait()
    begun = time.monotonic()
    sent = net.call(_send, capture, seconds)
    sending = time.monotonic() - begun
    time.sleep(0.3)
    live.stop()
    result: pf.LiveResult = run.result()
    row: dict[str, object] = {
        "program": program,
        "out": out,
        "sent": sent,
        "sent_per_s": round(sent / sending),
        "seen": result.packets,
        "dropped": result.ring_drops,
        "seen_per_s": round(result.packets / sending),
        "cpu_ns_per_packet": round(1e9 * used / max(result.packets, 1)),
        "packets_per_batch": round(result.packets / max(result.batches, 1), 1),
    }
    if result.sent:
        row["forwarded"] = result.sent[1].sent
        row["forward_dropped"] = result.sent[1].dropped
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    net = Net()
    with tempfile.TemporaryDirectory() as folder:
        for size in (64, 512, 1500):
            capture = Path(folder) / f"{size}.pcap"
            capture.write_bytes(pcap(packet(i, size) for i in range(PACKETS)))
            for program, out in (("filter64.o", None), ("pass.o", "b1")):
                print(json.dumps({"size": size, **_measure(net, capture, program, seconds, out)}))
    net.close()


if __name__ == "__main__":
    main()
