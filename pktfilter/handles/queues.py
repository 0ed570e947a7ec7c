"""Maps without keys from Python: queues, stacks and bloom filters."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ..errors import MapError
from ..objects.map_spec import KEYLESS

if TYPE_CHECKING:
    from .._core.map import MapRef
    from ..objects import MapSpec
    from .maps import Scalar


class Keyless:
    """What a `Map` of such a type can do. Semantics: kernel Documentation/bpf, map_queue_stack.rst
    and map_bloom_filter.rst; errno values as bpf(2) gives them. Other types raise EOPNOTSUPP."""

    _ref: MapRef
    spec: MapSpec

    if TYPE_CHECKING:  # the map's own

        def _place(self) -> str: ...

        def _error(self, err: int, verb: str, key: Any = None) -> MapError: ...

        def _join(self, value: Any) -> bytes: ...

    @property
    def keyless(self) -> bool:
        """Whether the map holds values without keys: a queue, a stack or a bloom filter."""
        return self.spec.type in KEYLESS

    def push(self, value: Scalar, *, flags: int = 0) -> None:
        """Adds `value` at the end of a queue, on a stack, or to a bloom filter.

        A full queue or stack raises `MapError` (E2BIG); with BPF_EXIST its oldest value gives way.
        Other flags are EINVAL; a frozen map is EPERM.
        """
        raw = self._join(value) if self.keyless else b"\0"
        self._check(self._ref.push(raw, flags), "push")

    def pop(self) -> bytes:
        """Takes a queue's oldest or a stack's newest value out; an empty one raises `MapKeyError`
        (ENOENT)."""
        err, value = self._ref.pop()
        self._check(err, "pop")
        return bytes(value)

    def peek(self) -> bytes:
        """The value that `pop` would take out; it stays. A bloom filter, which gives nothing back,
        raises EOPNOTSUPP: ask it with `value in map`."""
        if self.spec.type == "bloom_filter":
            raise self._error(errno.EOPNOTSUPP, "peek")
        err, value = self._ref.peek()
        self._check(err, "peek")
        return bytes(value)

    def add(self, value: Scalar) -> None:
        """Adds `value` to a bloom filter; EOPNOTSUPP for other types."""
        if self.spec.type != "bloom_filter":
            raise self._error(errno.EOPNOTSUPP, "add")
        self.push(value)

    def may_contain(self, value: Scalar) -> bool:
        """Whether `value` may be in a bloom filter; False is certain. Also `value in map`."""
        if self.spec.type != "bloom_filter":
            raise self._error(errno.EOPNOTSUPP, "may_contain")
        err = int(self._ref.has(self._join(value)))
        if err != errno.ENOENT:
            self._check(err, "lookup")
        return not err

    def _check(self, err: int, verb: str) -> None:
        if err:
            raise self._error(err, verb)

    def _no_keys(self) -> MapError:
        ways = "add and `in`" if self.spec.type == "bloom_filter" else "push, pop and peek"
        return MapError(
            f"a {self.spec.type} has no keys: use {ways}", place=self._place(), errno=errno.EINVAL
        )
