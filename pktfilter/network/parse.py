"""From what `ip -j` prints to the rows of the core's tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from .row import INET, INET6, MAIN, U32, Row

_ROUTE_TYPES = {
    "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6, "unreachable": 7,
    "prohibit": 8, "throw": 9,
}  # fmt: skip
#: As ip -N prints them: ARPHRD_ETHER, ARPHRD_LOOPBACK.
_LINK_TYPES = {"[1]": "ether", "[772]": "loopback"}
#: The two low bits are not type of service (RFC 3168); csrc/helper/route.c has its own use for 255.
_TOS_MAX = 0xFC
_NO_HOP = (6, 7, 8, 9)
_ACTIONS = {"unicast": 1, "to_tbl": 1, "lookup": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_SCOPES = {"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
_PREFERENCES = {"low": 1, "medium": 2, "high": 3}
_RULE_KEYS = {
    "priority", "src", "srclen", "dst", "dstlen", "fwmark", "fwmask", "iif", "oif", "tos", "table", "action", "not",
    "protocol", "iif_detached", "oif_detached",
}  # fmt: skip
_REACHABLE = {"PERMANENT", "NOARP", "REACHABLE", "PROBE", "STALE", "DELAY"}
#: The rules that Linux makes, by family: nothing of the user's.
_OWN_RULES = {INET: {(0, 255), (32766, 254), (32767, 253)}, INET6: {(0, 255), (32766, 254)}}
_LOCAL = 255
_NO_DEVICE = U32
_METRIC6 = 1024

Rows = Sequence[Mapping[str, Any]]


class Tables:
    """Collects rows in the order that `NetRef` takes; `merged` as in csrc/helper/network.h."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._index: dict[str, int] = {}
        self.links: list[tuple[Any, ...]] = []
        self.hops: list[tuple[Any, ...]] = []
        self.routes: list[tuple[Any, ...]] = []
        self.neighbours: list[tuple[Any, ...]] = []
        self.sources: list[tuple[Any, ...]] = []
        self.rules: list[tuple[Any, ...]] = []
        self.merged = True

    def _rows(self, section: str, rows: Rows) -> list[Row]:
        return [Row(self._file, section, i, row) for i, row in enumerate(rows)]

    # ---- links ----

    def read_links(self, rows: Rows, netconf: Rows | None) -> None:
        """Links, their addresses, and whether they forward; the loopback is there without being named."""
        forwards = None if netconf is None else self._forwarding(netconf)
        seen: set[int] = set()
        for row in self._rows("link", rows):
            ifindex = row.number("ifindex", 1, 0x7FFFFFFF)
            name = row.text("ifname")
            if ifindex in seen or name in self._index:
                row.refuse("a link stands there twice", "ifname", name, "each name and number once")
            seen.add(ifindex)
            self._index[name] = ifindex
            self._link(row, ifindex, name, forwards)
        if 1 not in seen and "lo" not in self._index:
            self._index["lo"] = 1
            self.links.append((1, 65536, 14, bytes(6), False, False, True))

    def _forwarding(self, netconf: Rows) -> set[tuple[str, str]]:
        return {
            (row.text("family"), row.text("interface"))
            for row in self._rows("netconf", netconf)
            if "interface" in row.data and row.flag("forwarding", default=False)
        }

    def _link(
        self, row: Row, ifindex: int, name: str, forwards: set[tuple[str, str]] | None
    ) -> None:
        kind = row.text("link_type", "ether")
        kind = _LINK_TYPES.get(kind, kind)
        flags = row.texts("flags")
        plain = kind == "loopback" or "LOOPBACK" in flags or "POINTOPOINT" in flags
        header = row.number(
            "hard_header_len", 0, 0xFFFF, 14 if kind in ("ether", "loopback") else 0
        )
        both = row.flag("forwarding", default=forwards is None)
        forward4 = both or bool(forwards and ("inet", name) in forwards)
        forward6 = row.flag("forwarding6", default=both) or bool(
            forwards and ("inet6", name) in forwards
        )
        mac = row.mac("address") if kind in ("ether", "loopback") else bytes(6)
        mtu = row.number("mtu", 0, U32, 65536 if kind == "loopback" else 1500)
        self.links.append((ifindex, mtu, header, mac, forward4, forward6, plain))
        for address in row.rows("addr_info"):
            family = INET6 if address.text("family") == "inet6" else INET
            if address.text("family") not in ("inet", "inet6"):
                continue
            local = address.address("local", family)
            prefix = address.number("prefixlen", 0, 32 if family == INET else 128)
            scope = address.choice("scope", _SCOPES, 0)
            if address.flag("tentative", default=False) or address.flag("dadfailed", default=False):
                continue
            old = address.flag("deprecated", default=False)
            if not address.flag("secondary", default=False) or family == INET6:
                self.sources.append((family, local, prefix, ifindex, scope, old))

    def device(self, row: Row, key: str = "dev") -> int:
        name = row.text(key)
        if name not in self._index:
            row.refuse(
                "there is no such link",
                key,
                f"'{name}'",
                "one of " + ", ".join(list(self._index)[:8]),
                hint="give what ip -j link prints as 'link'",
            )
        return self._index[name]

    # ---- routes ----

    def read_routes(self, route: Rows, route6: Rows) -> None:
        """Both lists; `ip -j route show table all` prints both families in one."""
        for section, rows, family in (("route", route, INET), ("route6", route6, INET6)):
            for row in self._rows(section, rows):
                self._route(row, row.family(family))
        if not any(r[4] == _LOCAL for r in self.routes):
            self._own_addresses()

    def _own_addresses(self) -> None:
        """The local table from the links' addresses, where it was not given."""
        for family, address, prefix, ifindex, _, _ in list(self.sources):
            bits = 32 if family == INET else 128
            self._local(family, address, bits, "local", ifindex)
            if family == INET and ifindex == 1:
                net = ipaddress.ip_network((address, prefix), strict=False)
                self._local(family, net.network_address.packed, prefix, "local", ifindex)
            elif family == INET and prefix < 31:
                net = ipaddress.ip_network((address, prefix), strict=False)
                self._local(family, net.broadcast_address.packed, 32, "broadcast", ifindex)

    def _local(self, family: int, to: bytes, prefix: int, kind: str, ifindex: int) -> None:
        first = len(self.hops)
        self.hops.append((b"", ifindex, 1, 0, False, False))
        number = _ROUTE_TYPES[kind]
        self.routes.append((family, to, prefix, number, _LOCAL, 0, 0, first, 1, 0, 254, None, 2))

    def _route(self, row: Row, family: int) -> None:
        for key in ("from", "src"):
            if key in row.data:
                row.refuse(
                    "routes by source address are not supported", key, repr(row.data[key]), "none"
                )
        kind = row.choice("type", _ROUTE_TYPES, 1)
        if kind not in _ROUTE_TYPES.values():
            row.refuse("no such type of route", "type", str(kind), ", ".join(_ROUTE_TYPES))
        to, prefix = row.network("dst", family)
        first = len(self.hops)
        if kind not in _NO_HOP:
            nested = row.rows("nexthops")
            for hop in nested or [row]:
                self._hop(hop, row, family)
        mtu = 0
        for metric in row.rows("metrics"):
            if "mtu" in metric.data and "mtu" in metric.texts("lock"):
                mtu = metric.number("mtu", 1, U32)
        source = row.address("prefsrc", family) if "prefsrc" in row.data else None
        self.routes.append(
            (
                family,
                to,
                prefix,
                kind,
                row.table("table", MAIN),
                row.number("metric", 0, U32, 0 if family == INET else _METRIC6),
                mtu,
                first,
                len(self.hops) - first,
                row.number("tos", 0, _TOS_MAX, 0) if family == INET else 0,
                row.choice("scope", _SCOPES, 0),
                source,
                row.choice("pref", _PREFERENCES, 2),
            )
        )

    def _hop(self, hop: Row, route: Row, family: int) -> None:
        ifindex = self.device(hop if "dev" in hop.data else route)
        gateway, other = b"", 0
        if "via" in hop.data:
            via = hop.row("via")
            other = INET6 if via.text("family") == "inet6" else INET
            gateway = via.address("host", other)
        elif "gateway" in hop.data:
            other = family
            gateway = hop.address("gateway", family)
        flags = hop.texts("flags")
        weight = hop.number("weight", 1, 65536, 1)
        encap = "encap" in hop.data or "encap" in route.data
        self.hops.append((gateway, ifindex, weight, other, "dead" in flags, encap))

    # ---- neighbours ----

    def read_neighbours(self, rows: Rows) -> None:
        """Those that a packet can be sent to now; of several for one address the last counts."""
        found: dict[tuple[int, bytes, int], bytes] = {}
        for row in self._rows("neigh", rows):
            if "proxy" in row.data:
                continue
            family = row.family(INET)
            address, ifindex = row.address("dst", family), self.device(row)
            if "state" in row.data and not _REACHABLE & set(row.texts("state")):
                continue
            if "state" not in row.data and "lladdr" not in row.data:
                continue
            found[family, address, ifindex] = row.mac("lladdr", need=False)
        self.neighbours = [(*key, mac) for key, mac in found.items()]

    # ---- rules ----

    def read_rules(self, rule: Rows, rule6: Rows) -> None:
        """Policy rules; those that Linux makes by itself change nothing."""
        for section, rows, family in (("rule", rule, INET), ("rule6", rule6, INET6)):
            made = [self._rule(row, family) for row in self._rows(section, rows)]
            # Everything but the priority and the table: prefixes, mark, devices, service, action.
            plain = {(r[1], r[13]) for r in made if not any(r[2:12]) and r[12] == 1}
            if len(plain) == len(made) and plain <= _OWN_RULES[family]:
                continue
            self.rules += made
            if family == INET:
                self.merged = False

    def _rule(self, row: Row, family: int) -> tuple[Any, ...]:
        unknown = set(row.data) - _RULE_KEYS
        if unknown:
            row.refuse(
                "rules of this kind are not supported",
                min(unknown),
                "it",
                ", ".join(sorted(_RULE_KEYS)),
            )
        action = row.choice("action", _ACTIONS, 1)
        if action not in _ACTIONS.values():
            row.refuse(
                "rules that do this are not supported", "action", str(action), ", ".join(_ACTIONS)
            )
        source, source_prefix = row.prefix("src", "srclen", family)
        to, to_prefix = row.prefix("dst", "dstlen", family)
        mark = row.number("fwmark", 0, U32, 0)
        return (
            family,
            row.number("priority", 0, U32, 0),
            source,
            source_prefix,
            to,
            to_prefix,
            mark,
            row.number("fwmask", 0, U32, U32 if mark else 0),
            self._index.get(row.text("iif"), _NO_DEVICE) if "iif" in row.data else 0,
            self._index.get(row.text("oif"), _NO_DEVICE) if "oif" in row.data else 0,
            row.number("tos", 0, _TOS_MAX, 0),
            "not" in row.data,
            action,
            row.table("table", MAIN),
        )
