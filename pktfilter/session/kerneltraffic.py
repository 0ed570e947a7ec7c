"""The child of `kernelswap`: sends packets through the veth pair and judges what comes out.

`python kerneltraffic.py FD PROGRAMS`, in the namespace of the pair. FD is shared
memory: updates returned so far (u32), and whether to end (u32). A packet carries the first of these as
it was when the packet was sent; a stamp of an older update makes the packet stale.
"""

from __future__ import annotations

import json
import mmap
import socket
import struct
import sys

_ETHERTYPE = 0x88B5  # IEEE 802: for local experiments
_BARE = b"\xff\xff\xff\xff"
_BURST = 64
_SO_RCVBUFFORCE = 33


def _opened(name: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE))
    end.bind((name, _ETHERTYPE))
    return end


def main() -> None:
    """Runs until the parent says so, then prints one JSON object."""
    fd, programs = int(sys.argv[1]), int(sys.argv[2])
    shared = mmap.mmap(fd, mmap.PAGESIZE)
    sender, receiver = _opened("swap0"), _opened("swap1")
    receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
    receiver.settimeout(0.2)
    seen = dict.fromkeys(("packets", "bare", "stale"), 0)
    print("ready", flush=True)
    while not struct.unpack_from("<I", shared, 4)[0]:
        for _ in range(_BURST):
            returned = shared[:4]
            sender.send(_BARE + bytes(8) + struct.pack(">H", _ETHERTYPE) + returned + bytes(42))
        for _ in range(_BURST):
            try:
                packet = receiver.recv(256)
            except TimeoutError:
                break  # a packet was lost on the way; it is not counted
            seen["packets"] += 1
            if packet[:4] == _BARE:
                seen["bare"] += 1
                continue
            stamp, sent = struct.unpack("<I", packet[:4])[0], struct.unpack("<I", packet[14:18])[0]
            # Updates are few: at most half of the programs can have passed since the packet was sent.
            seen["stale"] += (stamp - sent) % programs > programs // 2
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
