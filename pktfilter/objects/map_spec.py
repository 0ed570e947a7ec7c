"""The definition of a map, and whether `bpf(2)` would take it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InputError
from .kinds import MAP_IN_MAP, map_type_by_name

if TYPE_CHECKING:
    from .btf import Btf

# Flags of bpf(2)'s BPF_MAP_CREATE that the object layer itself sets or reads.
BPF_F_NO_PREALLOC = 1 << 0
BPF_F_NUMA_NODE = 1 << 2
BPF_F_RDONLY_PROG = 1 << 7
BPF_F_WRONLY_PROG = 1 << 8

# Four-byte keys are fixed for these types, four-byte values for the second group (bpf(2)).
_INDEXED = ("array", "percpu_array", "prog_array", "array_of_maps", "xskmap", "perf_event_array")
#: They have no keys: key_size is 0.
KEYLESS = ("queue", "stack", "bloom_filter", "ringbuf")
_BLOOM_EXTRA_MAX = 15
_FD_VALUED = ("prog_array", "perf_event_array", *MAP_IN_MAP)
#: What may be 0; of a perf event array it means one slot for every CPU id.
_ZERO = {
    ("max_entries", "perf_event_array"),
    ("value_size", "ringbuf"),
    *(("key_size", name) for name in KEYLESS),
}
_LPM_KEY_MIN, _LPM_KEY_MAX = 5, 260
_U32_MAX = (1 << 32) - 1
_RING_MAX = 1 << 31
_HINTS = {"max_entries": "set it with load(max_entries=...) or --max-entries NAME=N"}


@dataclass()
class MapSpec:
    """Definition of a map; sizes in bytes, `flags` as in `bpf(2)`'s BPF_MAP_CREATE.

    `data` is the initial value of element 0 of a global-data map (`None` means zeros, as for
    `.bss`); `frozen` maps cannot be written by the user either. `values` holds the static
    initialisers of prog arrays and outer maps: slot to program or map name. `key_btf` and
    `value_btf` are type ids in the object's BTF, 0 when unknown. `lock` is the byte offset of the
    `struct bpf_spin_lock` in a value, None when there is none. `map_extra` is the number of hash
    functions of a bloom filter, 0 for 5.
    """

    type: str
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    inner: MapSpec | None = None
    name: str = ""
    data: bytes | None = None
    frozen: bool = False
    key_btf: int = 0
    value_btf: int = 0
    values: dict[int, str] = field(default_factory=dict)
    pinning: int = 0
    map_extra: int = 0
    numa_node: int = 0
    section: str = ""
    lock: int | None = None
    #: The types that `key_btf` and `value_btf` are ids in; None when there are none.
    btf: Btf | None = field(default=None, repr=False, compare=False)
    #: Of a type that is not supported, and no program refers to it: it is not made.
    unused: bool = False

    @property
    def readonly_prog(self) -> bool:
        """Whether programs may only read the map (BPF_F_RDONLY_PROG)."""
        return bool(self.flags & BPF_F_RDONLY_PROG)

    @property
    def restricted_prog(self) -> bool:
        """Whether programs may only read, or only write, the map."""
        return bool(self.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))

    def size(self, max_entries: int) -> None:
        """Sets `max_entries`, as a loader does: that of a ringbuf is rounded up to what bpf(2) takes
        (a power of two, and whole pages), as libbpf rounds it."""
        if self.type == "ringbuf" and 0 < max_entries <= _RING_MAX:
            max_entries = max(1 << (max_entries - 1).bit_length(), mmap.PAGESIZE)
        self.max_entries = max_entries

    def validate(self) -> None:
        """Raise `InputError` if `bpf(2)` would refuse the definition or the type is unsupported."""
        row = map_type_by_name(self.type)
        if row is None or not row.supported:
            raise self._bad("map type is not supported", found=self.type)
        for attribute in ("key_size", "value_size", "max_entries", "flags"):
            value = getattr(self, attribute)
            if not isinstance(value, int) or not 0 <= value <= _U32_MAX:
                raise self._bad(f"{attribute} is out of range", value, "an unsigned 32-bit number")
        for attribute in ("key_size", "value_size", "max_entries"):
            if getattr(self, attribute) == 0 and (attribute, self.type) not in _ZERO:
                raise self._bad(f"{attribute} is missing", 0, "at least 1", _HINTS.get(attribute))
        if self.type in KEYLESS and self.key_size:
            raise self._bad("a map of this type has no keys", f"key_size {self.key_size}", 0)
        if self.type == "ringbuf" and self.value_size:
            raise self._bad(
                "a ringbuf's records have no set size", f"value_size {self.value_size}", 0
            )
        most = _BLOOM_EXTRA_MAX if self.type == "bloom_filter" else 0
        if not 0 <= self.map_extra <= most:
            raise self._bad("map_extra is wrong for the type", self.map_extra, f"0 to {most}")
        if self.type in _INDEXED and self.key_size != 4:
            raise self._bad("key_size is wrong for the type", self.key_size, 4)
        if self.type in _FD_VALUED and self.value_size != 4:
            raise self._bad("value_size is wrong for the type", self.value_size, 4)
        if self.type == "lpm_trie":
            if not _LPM_KEY_MIN <= self.key_size <= _LPM_KEY_MAX:
                expected = f"{_LPM_KEY_MIN} to {_LPM_KEY_MAX} (4 bytes of prefix length, then data)"
                raise self._bad("key_size is wrong for the type", self.key_size, expected)
            if not self.flags & BPF_F_NO_PREALLOC:
                raise self._bad("flags are wrong for the type", self.flags, "BPF_F_NO_PREALLOC")
        if (self.type in MAP_IN_MAP) != (self.inner is not None):
            has = "no inner map" if self.inner is None else "an inner map"
            hint = "give one with load(inner=...)" if self.inner is None else None
            raise self._bad("map definition does not fit its type", has, hint=hint)
        if self.inner is not None:
            if self.inner.inner is not None or self.inner.type == "prog_array":
                raise self._bad("inner map cannot have this type", self.inner.type)
            self.inner.validate()
        if self.lock is not None:
            self._validate_lock(self.lock)
        if self.data is not None and len(self.data) != self.value_size:
            raise self._bad(
                "initial data does not fill the value", len(self.data), f"{self.value_size} bytes"
            )
        if self.type != "hash_of_maps" and any(slot >= self.max_entries for slot in self.values):
            found = f"slot {max(self.values)}"
            raise self._bad("initialiser is outside the map", found, f"below {self.max_entries}")

    def _validate_lock(self, lock: int) -> None:
        if self.type not in ("hash", "array"):
            raise self._bad("values cannot have a bpf_spin_lock", self.type, "hash or array")
        if self.restricted_prog:
            raise self._bad(
                "values with a bpf_spin_lock must be writable", f"flags {self.flags:#x}"
            )
        if lock < 0 or lock % 4 or lock + 4 > self.value_size:
            expected = f"a multiple of 4, and 4 bytes inside of {self.value_size}"
            raise self._bad("lock is at a wrong offset", lock, expected)

    def _bad(
        self, message: str, found: object = None, expected: object = None, hint: str | None = None
    ) -> InputError:
        place = f"map '{self.name}'" if self.name else f"map of type {self.type}"
        return InputError(message, place=place, found=found, expected=expected, hint=hint)
