"""`--max-entries`, `--map`, `--maps`, `--dump-map`, `--dump-maps`: maps before and after a run."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from . import UsageError

if TYPE_CHECKING:
    from ..handles.links import Link
    from ..handles.loader import Object
    from ..handles.maps import Map
    from ..objects import ObjectSpec

Command = Callable[..., Any]
_ENTRIES_MAX = (1 << 32) - 1

max_entries_option = click.option(
    "--max-entries",
    "max_entries",
    multiple=True,
    metavar="NAME=N",
    help="Size of a map, in place of the object's. Repeatable.",
)


def map_options(command: Command) -> Command:
    """All of them, for commands that run programs."""
    for option in (
        click.option(
            "--dump-maps",
            metavar="FILE",
            help="Write what all maps hold after the run, but constants and tail calls (- is "
            "standard output).",
        ),
        click.option(
            "--dump-map",
            "dump_map",
            multiple=True,
            metavar="NAME=FILE",
            help="Write what a map holds after the run: JSON, or CSV by the file's name. Repeatable.",
        ),
        click.option(
            "--maps",
            "maps_file",
            metavar="FILE",
            help="Fill maps before the run from what --dump-maps wrote.",
        ),
        click.option(
            "--map",
            "fill_map",
            multiple=True,
            metavar="NAME=FILE",
            help="Fill a map before the run: JSON, or CSV by the file's name. Repeatable.",
        ),
        max_entries_option,
    ):
        command = option(command)
    return command


def _pairs(texts: tuple[str, ...], option: str, what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, rest = text.partition("=")
        if not separator or not name or not rest:
            raise UsageError(f"{option} takes NAME={what}", found=text)
        if name in found:
            raise UsageError(f"{option} names a map twice", found=name)
        found[name] = rest
    return found


def entries_of_option(texts: tuple[str, ...]) -> dict[str, int]:
    """The sizes by map name that `--max-entries` gives; raises `UsageError`."""
    sizes = {}
    for name, number in _pairs(texts, "--max-entries", "N").items():
        plain = number.isascii() and number.isdecimal() and len(number) <= 10
        if not plain or not 1 <= int(number) <= _ENTRIES_MAX:
            raise UsageError(
                "--max-entries takes a number of entries",
                found=f"{name}={number[:40]}",
                expected=f"1 to {_ENTRIES_MAX}",
            )
        sizes[name] = int(number)
    return sizes


@dataclass()
class MapFiles:
    """What the options ask for."""

    sizes: dict[str, int] = field(default_factory=dict)
    fill: dict[str, str] = field(default_factory=dict)
    fill_all: str | None = None
    dump: dict[str, str] = field(default_factory=dict)
    dump_all: str | None = None

    def resize(self, spec: ObjectSpec) -> None:
        """Sets the sizes in an object, of the maps that it has."""
        for name in self.sizes.keys() & spec.maps.keys():
            spec.maps[name].size(self.sizes[name])

    def resize_own(self, spec: ObjectSpec) -> None:
        """Sets the sizes in the object that they are about; raises `UsageError` when it has not all of them."""
        for name in self.sizes:
            if name not in spec.maps:
                raise _no_map("--max-entries", name, spec.path, spec.maps)
        self.resize(spec)

    @property
    def to_stdout(self) -> bool:
        """A dump goes to standard output, so that nothing else may."""
        return "-" in (*self.dump.values(), self.dump_all)

    def check(self, obj: Object, to_stdout: bool, used: Iterable[str] = ()) -> None:
        """Refuses names that the object has not, and dumps that would replace a file `used` by the run or the object's,
        before anything runs."""
        for option, names in (("--map", self.fill), ("--dump-map", self.dump)):
            for name in names:
                if name not in obj.maps:
                    raise _no_map(option, name, obj.path, obj.maps)
                if obj.maps[name].keyless:
                    raise UsageError(
                        f"{option} names a map without keys",
                        found=f"{name}, a {obj.maps[name].type}",
                    )
        outputs = [*self.dump.values(), *([self.dump_all] if self.dump_all else [])]
        if outputs.count("-") + to_stdout > 1:
            raise UsageError("standard output takes one thing", hint="name files for the others")
        twice = [name for name in outputs if outputs.count(name) > 1]
        if twice:
            raise UsageError("two dumps go to one file", found=twice[0])
        for name in (obj.path, *used):
            for output in outputs:
                if output != "-" and same_file(output, name):
                    raise InputError("a dump would replace a file of the run", file=output)

    def load(self, obj: Object) -> None:
        """Fills the object's maps: from `--maps` first, then from `--map`."""
        if not (self.fill or self.fill_all):
            return
        from ..handles.map_files import fill, fill_all

        if self.fill_all is not None:
            fill_all(obj.maps, self.fill_all, programs=obj.programs)
        for name, file in self.fill.items():
            fill(obj.maps[name], file, programs=obj.programs, maps=obj.maps)

    def save(self, obj: Object, link: Link) -> None:
        """Writes what maps hold after the run: those of the program that runs then, else of the object."""
        if not (self.dump or self.dump_all):
            return
        from ..handles.continuity import reachable_maps

        program = link.program
        self.save_maps({**obj.maps, **({} if program is None else reachable_maps(program))})

    def save_maps(self, now: Mapping[str, Map]) -> None:
        """Writes what these maps hold."""
        if not (self.dump or self.dump_all):
            return
        from ..handles.map_files import dump, dump_all

        for name, file in self.dump.items():
            dump(now[name], file, now)
        if self.dump_all is not None:
            dump_all(now, self.dump_all)


def same_file(output: str, name: str) -> bool:
    """Whether writing `output` would replace the file `name`."""
    try:
        return stat.S_ISREG(os.stat(output).st_mode) and os.path.samefile(output, name)
    except OSError:
        return os.path.abspath(output) == os.path.abspath(name)


def _no_map(option: str, name: str, path: str, maps: Mapping[str, object]) -> UsageError:
    known = ", ".join(maps) or "none at all"
    return UsageError(
        f"{option} names a map that the object has not",
        file=path,
        found=name,
        expected=f"one of: {known}",
    )


def map_files_of(options: dict[str, Any]) -> MapFiles:
    """Takes the options of `map_options` out of a command's; raises `UsageError`."""
    return MapFiles(
        entries_of_option(options.pop("max_entries")),
        _pairs(options.pop("fill_map"), "--map", "FILE"),
        options.pop("maps_file"),
        _pairs(options.pop("dump_map"), "--dump-map", "FILE"),
        options.pop("dump_maps"),
    )
