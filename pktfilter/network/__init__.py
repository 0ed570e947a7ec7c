"""The network around a program: what bpf_fib_lookup, bpf_check_mtu, SYN cookie and socket helpers ask."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.network import NetRef
from ..errors import InputError, wrong_kind

#: What a network may be made of, each as iproute2 prints it.
SECTIONS = ("link", "route", "route6", "neigh", "rule", "rule6", "netconf", "socket", "ct")
#: Largest file that is read.
FILE_MAX = 1 << 30

#: Most connections that a table may hold.
CT_MAX = 1 << 24

Rows = Sequence[Mapping[str, Any]]


class Network:
    """Links, routes and neighbours, immutable once made; any number of runs may use one at a time.
    Only its connections change: by programs, and stay for the next run.

    Every argument is a list of what `ip -j` prints: `link` (`ip -j link`, or `ip -j addr` with the
    addresses), `route`, `route6`, `neigh`, `rule`, `rule6`, `netconf`. What is left out is empty,
    but that given links forward unless `netconf` or a link's `forwarding` says otherwise.
    `socket` is what bpf_sk_lookup_tcp and its like find, `ct` the connections that the table of
    bpf_xdp_ct_lookup and its like begins with, which holds `ct_max` of them (docs/network.md).
    `syncookie_key` is 32 bytes (two SipHash keys) or 64 (two for IPv4, two for IPv6); zeros where it
    is not given. Raises `InputError` that names section, row and key. docs/network.md has the details.
    """

    def __init__(
        self,
        *,
        link: Rows = (),
        route: Rows = (),
        route6: Rows = (),
        neigh: Rows = (),
        rule: Rows = (),
        rule6: Rows = (),
        netconf: Rows | None = None,
        socket: Rows = (),
        ct: Rows = (),
        ct_max: int = 65_536,
        syncookie_key: bytes = bytes(32),
        file: str | None = None,
    ) -> None:
        if len(syncookie_key) not in (32, 64):
            raise InputError(
                "a SYN cookie key has the wrong length",
                file=file,
                found=f"{len(syncookie_key)} bytes",
                expected="32 (two keys) or 64 (two for IPv4, two for IPv6)",
            )
        if not max(len(ct), 1) <= ct_max <= CT_MAX:
            raise InputError(
                "the connection table has no such size",
                file=file,
                place="ct_max",
                found=ct_max,
                expected=f"{max(len(ct), 1)} to {CT_MAX}",
            )
        from .connections import read_connections
        from .parse import Tables
        from .sockets import read_sockets

        tables = Tables(file)
        tables.read_links(link, netconf)
        tables.read_routes(route, route6)
        tables.read_neighbours(neigh)
        tables.read_rules(rule, rule6)
        sockets = read_sockets(file, socket, tables.device)
        connections = read_connections(file, ct)
        self._ref = NetRef(
            links=tables.links,
            hops=tables.hops,
            routes=tables.routes,
            neighbours=tables.neighbours,
            sources=tables.sources,
            rules=tables.rules,
            sockets=sockets,
            connections=connections,
            connection_max=ct_max,
            merged=tables.merged,
            cookie_keys=bytes(syncookie_key) * (64 // len(syncookie_key)),
        )
        #: How much of each it has.
        self.counts: dict[str, int] = {
            "links": len(tables.links),
            "routes": len(tables.routes),
            "neighbours": len(tables.neighbours),
            "rules": len(tables.rules),
            "sockets": len(sockets),
            "connections": len(connections),
        }

    def __repr__(self) -> str:
        return "<Network " + " ".join(f"{what}={n}" for what, n in self.counts.items()) + ">"

    def connections(self, time_ns: int) -> list[dict[str, Any]]:
        """The connections there are, as rows of section `ct`, for the time that programs saw last:
        of a capture's last packet, or `test_run(..., time_ns=)`. Expired ones are left out."""
        from .connections import spell

        return [spell(entry) for entry in self._ref.connections(time_ns)]

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, file: str | None = None) -> Network:
        """From one object with the keys of the constructor; `syncookie_key` is in hex digits.

        Raises `InputError` for a key that it does not know or a section that is no list.
        """
        if not isinstance(data, Mapping):
            raise InputError(
                "a network is one JSON object",
                file=file,
                found=type(data).__name__,
                expected="an object with " + ", ".join(SECTIONS),
            )
        arguments: dict[str, Any] = {}
        for name, value in data.items():
            if name == "syncookie_key":
                arguments[name] = _key(value, file)
            elif name == "ct_max":
                arguments[name] = _count(value, file)
            elif name not in SECTIONS:
                raise InputError(
                    "no such section in a network",
                    file=file,
                    found=f"'{name}'",
                    expected=", ".join((*SECTIONS, "ct_max", "syncookie_key")),
                )
            elif not isinstance(value, list):
                raise InputError(
                    f"section '{name}' of a network is no list",
                    file=file,
                    found=type(value).__name__,
                    expected=f"the list that ip -j prints for {name}",
                )
            else:
                arguments[name] = value
        return cls(**arguments, file=file)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Network:
        """From a JSON file; raises `InputError` where it cannot be read or is no such object."""
        import json

        name = os.fspath(path)
        try:
            if os.path.getsize(name) > FILE_MAX:
                raise InputError("the network file is too large", file=name, expected="up to 1 GiB")
            with open(name, "rb") as stream:
                data = json.load(stream)
        except OSError as error:
            raise InputError(
                f"the network file cannot be read: {error.strerror}", file=name
            ) from error
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"the network file is no JSON: {error}",
                file=name,
                hint='collect what ip -j prints: {"link": ..., "route": ..., "route6": ..., "neigh": ...}',
            ) from error
        return cls.from_json(data, file=name)

    @classmethod
    def from_system(cls, *, syncookie_key: bytes = bytes(32)) -> Network:
        """The network of the calling process's network namespace, by `ip -j`; `InputError` where that fails."""
        from .system import read_system

        return cls(**read_system(), syncookie_key=syncookie_key, file="ip -j")


def network_ref(network: Network | None) -> NetRef | None:
    """The core's object; raises `TypeError` for anything that is no network."""
    if network is None:
        return None
    if not isinstance(network, Network):
        raise wrong_kind("the network", network, "a Network")
    return network._ref


def _count(value: object, file: str | None) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InputError(
        "not a number",
        file=file,
        place="ct_max",
        found=repr(value)[:80],
        expected=f"how many connections the table holds, 1 to {CT_MAX}",
    )


def _key(value: object, file: str | None) -> bytes:
    try:
        if isinstance(value, str):
            return bytes.fromhex(value)
    except ValueError:
        pass
    raise InputError(
        "a SYN cookie key is not in hex digits",
        file=file,
        found=repr(value),
        expected="64 or 128 digits",
    )
