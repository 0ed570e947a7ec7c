"""The portable backend: scapy's listening socket, through a pipe, into the capture reader.

scapy is an optional dependency: it is imported when this backend is asked for.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from typing import Any

from .._core.io import Reader
from ..errors import InputError, InterfaceError

_MAGIC_NANO = 0xA1B23C4D
_ETHERNET = 1


class ScapyFeed:
    """Receives on a thread of its own; `reader` takes its packets from `read_fd`, which does not block."""

    def __init__(self, interface: str, *, promiscuous: bool, snaplen: int) -> None:
        self._interface, self._snaplen = interface, snaplen
        self._error: Exception | None = None
        self._socket = _listen(interface, promiscuous)
        self._stop_fd, self._stop_write_fd = os.pipe()
        self.read_fd, self._write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        os.write(
            self._write_fd,
            struct.pack("=IHHiIII", _MAGIC_NANO, 2, 4, 0, 0, snaplen, _ETHERNET),
        )
        self.reader = Reader(self.read_fd)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="pktfilter-scapy", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                # A limit, since not every socket of scapy's can be waited for with select.
                ready, _, _ = select.select([self._socket, self._stop_fd], [], [], 0.1)
                if self._stop_fd in ready:
                    return
                if ready:
                    self._take()
        except BrokenPipeError:
            pass  # the reader has gone
        except Exception as error:  # scapy's sockets raise errors of their own
            self._error = error
        finally:
            os.close(self._write_fd)

    def _take(self) -> None:
        kind, data, stamp = self._socket.recv_raw()
        if not data:
            return
        if kind is not None and kind.__name__ != "Ether":
            raise InterfaceError(f"it carries {kind.__name__}, expected Ethernet")
        now = time.time_ns() if stamp is None else int(float(stamp) * 1_000_000) * 1000
        kept = data[: self._snaplen]
        head = struct.pack("=IIII", *divmod(now, 1_000_000_000), len(kept), len(data))
        view = memoryview(head + kept)
        while view:
            view = view[os.write(self._write_fd, view) :]

    def check(self) -> None:
        """Raises what ended the receiving, other than `stop`."""
        # Set before the pipe is closed: who has read to the end sees it.
        if self._error is not None:
            raise InterfaceError(
                f"receiving failed: {self._error}", file=self._interface
            ) from self._error

    def stop(self) -> None:
        """Ends the receiving; what is in the pipe can still be read."""
        if not self._stopped:
            self._stopped = True
            os.close(self._stop_write_fd)

    def close(self) -> None:
        """Ends everything."""
        self.stop()
        os.close(self.read_fd)  # a write that is still going gets EPIPE
        self._thread.join()
        os.close(self._stop_fd)
        self._socket.close()


def _listen(interface: str, promiscuous: bool) -> Any:
    try:
        from scapy.config import conf
        from scapy.error import Scapy_Exception
    except ImportError:
        raise InputError(
            "the scapy backend needs scapy, which is not installed", hint="pip install scapy"
        ) from None
    try:
        import scapy.layers.l2  # noqa: F401 (scapy learns Ethernet from it)

        return conf.L2listen(iface=interface, promisc=promiscuous)
    except PermissionError:
        raise InterfaceError(
            "no permission to use packets of an interface",
            file=interface,
            hint="run as root, or with the capability CAP_NET_RAW",
        ) from None
    except (OSError, Scapy_Exception) as error:
        raise InterfaceError(f"scapy cannot open it: {error}", file=interface) from error
