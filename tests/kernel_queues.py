"""The kernel's maps without keys, and xskmaps, as an oracle (bpf(2) through tests/kernel.py)."""

from __future__ import annotations

import ctypes
import errno
import struct

from kernel import MAP_TYPES, KernelError, KernelMap, _address, _bpf, _buffer, _Descriptor

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _LOOKUP_AND_DELETE = 0, 1, 2, 21


class KernelQueue(KernelMap):
    """A queue, stack or bloom filter (or, with a key_size, any map) made with map_extra."""

    def __init__(
        self,
        type: str,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        *,
        key_size: int = 0,
        extra: int = 0,
    ) -> None:
        self.type, self.key_size, self.value_size = type, key_size, value_size
        self.max_entries, self.percpu = max_entries, False
        sizes = (MAP_TYPES[type], key_size, value_size, max_entries, flags)
        attr = struct.pack("<7I16s5IQ", *sizes, 0, 0, b"", 0, 0, 0, 0, 0, extra)
        fd = _bpf(_MAP_CREATE, ctypes.create_string_buffer(attr, len(attr)))
        if fd < 0:
            raise KernelError(-fd, f"map create {type}")
        _Descriptor.__init__(self, fd)

    def push(self, value: bytes, flags: int = 0) -> None:
        """BPF_MAP_UPDATE_ELEM without a key."""
        self._element("push", _MAP_UPDATE, None, _buffer(value), flags)

    def _out(self, command: int, start: bytes) -> bytes:
        value = ctypes.create_string_buffer(start, self.value_size)
        attr = struct.pack("<IIQQQ", self.fd, 0, 0, _address(value), 0)
        result = _bpf(command, ctypes.create_string_buffer(attr, len(attr)))
        if result < 0:
            raise KernelError(-result, f"map read {self.type}")
        return value.raw

    def pop(self) -> bytes:
        """BPF_MAP_LOOKUP_AND_DELETE_ELEM."""
        return self._out(_LOOKUP_AND_DELETE, bytes(self.value_size))

    def peek(self) -> bytes:
        """BPF_MAP_LOOKUP_ELEM."""
        return self._out(_MAP_LOOKUP, bytes(self.value_size))

    def contains(self, value: bytes) -> bool:
        """A bloom filter's answer."""
        try:
            self._out(_MAP_LOOKUP, value)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True
