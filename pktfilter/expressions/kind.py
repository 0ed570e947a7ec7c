"""What an expression is compiled for."""

from __future__ import annotations

from typing import NamedTuple

from .._core.io import linktype_name

#: How a PROG that is an expression begins.
PREFIX = "pcap:"


class LinkKind(NamedTuple):
    """A link type's number in files, and whether the capture's byte order is not this machine's."""

    linktype: int
    swapped: bool = False

    def __str__(self) -> str:
        return f"link type {self.linktype} ({linktype_name(self.linktype)})"


ETHERNET = LinkKind(1)
NULL = 0  # BSD loopback: an address family in the byte order of the machine, then the packet
