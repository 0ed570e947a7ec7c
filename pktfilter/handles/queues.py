"""Maps without keys from Python: queues, stacks, bloom filters and ring buffers."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import MapError
from ..objects.map_spec import KEYLESS

if TYPE_CHECKING:
    from .._core.map import MapRef
    from ..objects import MapSpec
    from .maps import Scalar


_WAYS = {
    "queue": "push, pop and peek",
    "stack": "push, pop and peek",
    "bloom_filter": "add and `in`",
    "ringbuf": "consume",
}


class Keyless:
    """What a `Map` of such a type can do. Semantics: kernel Documentation/bpf, map_queue_stack.rst
    map_bloom_filter.rst and ringbuf.rst; errno values as bpf(2) gives them. Other types raise EOPNOTSUPP."""

    _ref: MapRef
    spec: MapSpec

    if TYPE_CHECKING:  # the map's own

        @property
        def value_size(self) -> int: ...

        def _place(self) -> str: ...

        def _error(self, err: int, verb: str, key: Any = None) -> MapError: ...

        def _join(self, value: Any) -> bytes: ...

    @property
    def keyless(self) -> bool:
        """Whether the map has no keys: a queue, a stack, a bloom filter or a ringbuf."""
        return self.spec.type in KEYLESS

    def push(self, value: Scalar, *, flags: int = 0) -> None:
        """Adds `value` at the end of a queue, on a stack, or to a bloom filter.

        A full queue or stack raises `MapError` (E2BIG); with BPF_EXIST its oldest value gives way.
        Other flags are EINVAL; a frozen map is EPERM.
        """
        raw = self._join(value) if self.keyless and self.value_size else b"\0"
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

    def consume(self) -> Iterator[bytes]:
        """Takes a ringbuf's records out, oldest first, up to the first that a program is still writing.

        What is not asked for stays in. EOPNOTSUPP for other types; EPERM where BPF_F_WRONLY is set.
        Runs with a listener for events (docs/events.md) take the records out themselves.
        """
        if self.spec.type != "ringbuf":
            raise self._error(errno.EOPNOTSUPP, "consume")
        while True:
            err, record = self._ref.next_record()
            if err == errno.ENODATA:
                return
            self._check(err, "consume")
            yield record

    @property
    def lost(self) -> int:
        """Records that programs could not put into a ringbuf for want of room; 0 for other types."""
        return int(self._ref.lost)

    def _check(self, err: int, verb: str) -> None:
        if err:
            raise self._error(err, verb)

    def _no_keys(self) -> MapError:
        ways = _WAYS[self.spec.type]
        return MapError(
            f"a {self.spec.type} has no keys: use {ways}", place=self._place(), errno=errno.EINVAL
        )
