"""The running datapath, as control operations see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from ..handles.hooks import Datapath
from ..handles.links import Link
from ..handles.maps import Map
from ..objects import ObjectSpec


class Engine:
    """The running datapath as control operations see it.

    `parse` turns a PROG of the command line into its parsed object and the program's name.
    """

    def __init__(
        self, datapath: Datapath, parse: Callable[[str], tuple[ObjectSpec, str]], title: str
    ) -> None:
        self.datapath = datapath
        self.parse = parse
        self.title = title
        self.started = time.time()
        self.lock = threading.Lock()

    def links(self) -> list[Link]:
        """Attached links, hook by hook, in the order in which they run."""
        return [link for hook in self.datapath.hooks.values() for link in hook.links]

    def link(self, number: Any) -> Link:
        """The link of this id; with None the only one."""
        links = self.links()
        if number is None:
            if not links:
                raise InputError("no link is attached any more, so no program runs")
            if len(links) > 1:
                raise InputError(
                    "several links are attached",
                    found=", ".join(str(link.id) for link in links),
                    hint="choose one by its id; 'pktfilter link list' shows them",
                )
            return links[0]
        for link in links:
            if link.id == number:
                return link
        ids = ", ".join(str(link.id) for link in links)
        raise InputError(
            "no such link is attached", found=number, expected=f"one of: {ids}" if ids else None
        )

    def maps(self) -> list[Map]:
        """Maps that attached programs name, each once."""
        found: dict[int, Map] = {}
        for link in self.links():
            program = link.program
            for each in () if program is None else program.maps.values():
                found.setdefault(each.id, each)
        return list(found.values())

    def map(self, name: Any) -> Map:
        """The map of this name or id."""
        found = [m for m in self.maps() if name in (m.name, m.id, str(m.id))]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(m.id) for m in found)
            raise InputError("several maps have this name", found=name, hint=f"give an id: {ids}")
        known = ", ".join(m.name or str(m.id) for m in self.maps()) or "none"
        raise InputError("no running program has this map", found=name, expected=f"one of: {known}")
