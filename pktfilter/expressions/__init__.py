"""tcpdump expressions: libpcap's compiler, classic BPF, and its translation to eBPF bytecode.

`kind` is what everything else has to know; `compile` is where expressions become bytecode.
"""

from .kind import ETHERNET, PREFIX, LinkKind

__all__ = ["ETHERNET", "PREFIX", "LinkKind"]
