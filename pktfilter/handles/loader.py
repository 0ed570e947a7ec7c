"""From an object's specs to maps and programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InputError, MapMismatch, ObjectError, VerifierError
from ..objects import MapSpec, ObjectSpec, Skipped, set_loader
from ..objects.btf import Btf
from ..objects.externs import set_kconfig
from ..objects.target_btf import read_target
from .definitions import differences
from .maps import Map
from .program import Program


@dataclass()
class Object:
    """A loaded object: its programs and maps by name, and what was skipped."""

    path: str
    programs: dict[str, Program] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    license: str = ""
    skipped: list[Skipped] = field(default_factory=list)

    def program(self, name: str | None = None) -> Program:
        """The named program, or the only one; raises `InputError` listing them where it is not clear."""
        names = ", ".join(self.programs) or "none"
        if name is None:
            if len(self.programs) == 1:
                return next(iter(self.programs.values()))
            raise InputError(
                f"the object has {len(self.programs)} programs: {names}",
                file=self.path,
                hint="name one",
            )
        if name not in self.programs:
            raise InputError(
                f"no program named '{name}'", file=self.path, expected=f"one of: {names}"
            )
        return self.programs[name]


def load(
    source: str | os.PathLike[str] | ObjectSpec,
    *,
    max_entries: Mapping[str, int] | None = None,
    inner: Mapping[str, MapSpec | Map] | None = None,
    cpus: int | None = None,
    verify: bool = True,
    maps: Mapping[str, Map] | None = None,
    btf: str | os.PathLike[str] | Btf | None = None,
    kconfig: Mapping[str, bool | int | str] | None = None,
) -> Object:
    """Loads an object file (or an edited spec): creates its maps, then its programs.

    `max_entries` sets the sizes of maps by name, and `inner` what the inner maps of maps of maps are,
    for objects that leave it open: a definition, or a map that is like them. `cpus` is the number of
    values per key of per-CPU maps (default: the machine's CPUs). `maps` are existing maps to use, by
    name, in place of new ones: they keep their contents, and one that does not fit raises
    `MapMismatch`. `btf` are the types that CO-RE relocations are resolved against: "system" for the
    running kernel's, a file of BTF or an ELF file with it, parsed types, or None or "own" for the
    object's own. `kconfig` gives values to extern `__kconfig` variables, as `{"CONFIG_HZ": 250,
    "CONFIG_BPF": "y"}`. Raises `ObjectError` naming section, symbol and instruction, and
    `VerifierError` with the diagnostics where a program cannot be proved safe; with `verify=False`
    programs stay unverified, and only the checked interpreter runs them.
    """
    spec = source if isinstance(source, ObjectSpec) else ObjectSpec.from_file(source)
    for name, entries in (max_entries or {}).items():
        _named(spec, name, "to size").size(entries)
    for name, template in (inner or {}).items():
        outer = _named(spec, name, "to give an inner map")
        outer.inner = template.spec if isinstance(template, Map) else template
    if btf is not None:
        spec.relocate(btf if isinstance(btf, Btf) else read_target(btf))
    if kconfig is not None:
        set_kconfig(spec, kconfig)
    spec.check_supported()
    obj = Object(path=spec.path, license=spec.license, skipped=list(spec.skipped))
    numbers = spec.map_fds
    given = dict(maps or {})
    for name, existing in given.items():
        if name not in spec.maps:
            raise InputError(f"the object has no map named '{name}'", file=spec.path)
        check_map_fits(name, existing, spec.maps[name])
    if not spec.programs and spec.skipped:
        listed = "; ".join(f"{item.name}: {item.reason}" for item in spec.skipped)
        raise ObjectError("the object has no XDP program", file=spec.path, found=listed)
    for name, map_spec in spec.maps.items():
        if map_spec.unused:
            continue
        obj.maps[name] = given[name] if name in given else _create_map(spec, name, map_spec, cpus)
    for name, program in spec.programs.items():
        used = {fd: obj.maps[map_name] for fd, map_name in program.map_refs.items()}
        assert all(numbers[map_name] == fd for fd, map_name in program.map_refs.items())
        if program.expression is not None:
            obj.programs[name] = Program.from_expression(program.expression, None, verify=verify)
            continue
        try:
            obj.programs[name] = Program(
                program.insns,
                type=program.type,
                name=name,
                maps=used,
                frags=program.frags,
                spec=program,
                verify=verify,
            )
        except VerifierError as error:
            error.file = spec.path
            raise
        except InputError as error:
            raise ObjectError(
                f"program '{name}' cannot be loaded: {error}", file=spec.path
            ) from error
    for name, map_spec in spec.maps.items():
        if name not in given:
            _initial_values(spec, obj, name, map_spec)
    return obj


def _named(spec: ObjectSpec, name: str, purpose: str) -> MapSpec:
    if name not in spec.maps:
        known = ", ".join(spec.maps) or "no maps at all"
        raise InputError(
            f"no map named '{name}' {purpose}", file=spec.path, expected=f"one of: {known}"
        )
    return spec.maps[name]


def check_map_fits(name: str, existing: Map, spec: MapSpec) -> None:
    """Raises `MapMismatch` where an existing map is not what the definition says."""
    found = [(name, *row) for row in differences(existing, spec)]
    if found:
        error = mismatch(found)
        error.message = error.message.replace("the new program", "the object")
        error.hint = "give a map of the object's definition, or change that in its spec"
        raise error


def mismatch(found: list[tuple[str, str, object, object]]) -> MapMismatch:
    """The error for (map, field, current, new) rows."""
    by_map: dict[str, list[str]] = {}
    for name, field_name, mine, theirs in found:
        by_map.setdefault(name, []).append(f"{field_name} {mine} -> {theirs}")
    text = "; ".join(f"map '{name}': {', '.join(parts)}" for name, parts in by_map.items())
    return MapMismatch(
        f"the new program defines its maps differently: {text}",
        differences=found,
        hint="nothing was changed; use maps='migrate' with a function for the map, or maps='fresh'",
    )


def _create_map(spec: ObjectSpec, name: str, map_spec: MapSpec, cpus: int | None) -> Map:
    try:
        created = Map(map_spec, cpus=cpus, name=name)
    except InputError as error:
        raise ObjectError(str(error), file=spec.path) from error
    if map_spec.data is not None:
        created.update(0, map_spec.data)
    if map_spec.frozen:
        created.freeze()
    return created


def _initial_values(spec: ObjectSpec, obj: Object, name: str, map_spec: MapSpec) -> None:
    for slot, target in map_spec.values.items():
        known: Mapping[str, Program | Map] = obj.programs if map_spec.inner is None else obj.maps
        if target not in known:
            raise ObjectError(
                f"slot {slot} of map '{name}' is initialised with '{target}', which the object does not offer",
                file=spec.path,
            )
        obj.maps[name].update(slot, known[target])


set_loader(load)
