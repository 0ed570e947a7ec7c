"""Programs: verified where possible, staged, run once over a packet or attached to hooks."""

from __future__ import annotations

import enum
import itertools
import struct
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._core.prog import ANY_LINK, PROG_TYPES, ProgRef
from .._core.run import test_run as _test_run
from ..errors import InputError, ProgramError
from ..network import Network
from ..objects import ProgramSpec
from .events import EVENT_BYTES, EVENT_BYTES_MAX, Event
from .maps import Map
from .tracking import network_of_program
from .verification import Verification, admit

if TYPE_CHECKING:
    from .._core.observe import Observer
    from ..expressions import LinkKind
    from .expression import ExpressionProgram

#: Engines by the number the core gives them.
ENGINES = ("checked", "interp", "jit")
CHECKED, INTERP, JIT = range(3)
#: Linear bytes of a packet that a program sees, as in Linux (`linear="kernel"`), or all of it.
LINEAR = {"kernel": 3520, "full": 0xFFFFFFFF}

_LD_IMM64 = 0x18
_ids = itertools.count(1)
_handles: weakref.WeakValueDictionary[int, Program] = weakref.WeakValueDictionary()


class XDP(enum.IntEnum):
    """What an XDP program may return (uapi/linux/bpf.h, enum xdp_action)."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


@dataclass(frozen=True)
class TestRun:
    """What one test run gave, as BPF_PROG_TEST_RUN.

    `retval` is the raw 32-bit return value, `action` the verdict (an unknown value is ABORTED),
    `data` the packet afterwards, `data_meta` the metadata in front of it, `duration_ns` the mean
    time of one run; `trace` holds the lines of bpf_trace_printk, `redirect` the ifindex or map key of
    a redirect; `events` what went to perf event arrays and ring buffers, in order, and `events_lost` how many
    found no room.
    """

    __test__ = False  # pytest: not a test class

    retval: int
    action: XDP
    data: bytes
    data_meta: bytes
    duration_ns: int
    trace: list[str] = field(default_factory=list)
    redirect: int | None = None
    events: list[Event] = field(default_factory=list)
    events_lost: int = 0


def resolve_engine(engine: str) -> int:
    """Number of the best engine that may run; `auto` leaves the choice to each program."""
    if engine not in ("auto", *ENGINES):
        raise InputError("no such engine", found=engine, expected="auto, checked, interp or jit")
    return JIT if engine == "auto" else ENGINES.index(engine)


class Program:
    """A staged, immutable program. Made by `load`, `ObjectSpec.load` or `Program.from_bytes`."""

    _memory_size: int | None = None
    #: Why it cannot be compiled, once that was tried.
    _uncompilable: str | None = None

    def __init__(
        self,
        insns: bytes,
        *,
        type: str = "xdp",
        name: str = "",
        maps: Mapping[int, Map] | None = None,
        frags: bool = False,
        spec: ProgramSpec | None = None,
        verify: bool = True,
        memory_size: int | None = None,
        link: int = ANY_LINK,
    ) -> None:
        if type not in PROG_TYPES:
            raise InputError("no such program type", found=type, expected=" or ".join(PROG_TYPES))
        insns = bytes(insns)
        if len(insns) % 8:
            raise ProgramError(
                "bytecode is not whole instructions",
                found=f"{len(insns)} bytes",
                expected="a multiple of 8",
            )
        #: Map number as the instructions carry it -> map.
        self.maps: dict[int, Map] = dict(maps or {})
        #: Where the program came from; None for bare bytecode.
        self.spec = spec
        self._ref = ProgRef.create(
            type,
            name,
            next(_ids),
            insns,
            {fd: m._ref for fd, m in self.maps.items()},
            frags,
            link,
        )
        if not verify:
            self._ref.check_registers()
        #: The verifier's verdict; None when it was not asked for.
        self.verification: Verification | None = (
            admit(self._ref, spec, memory_size=memory_size) if verify else None
        )
        self._ref.stage(CHECKED)
        if verify:
            self._ref.stage(INTERP)
        self._memory_size = memory_size
        _handles[self._ref.id] = self

    @classmethod
    def from_bytes(
        cls,
        insns: bytes,
        type: str = "xdp",
        name: str = "",
        maps: Mapping[int, Map] | None = None,
        *,
        frags: bool = False,
        verify: bool = True,
    ) -> Program:
        """A program from bytecode; ld_imm64 with src 1 or 2 carries a key of `maps` in imm.

        Raises `ProgramError` where the bytecode is not legal (RFC 9669) or not supported,
        `VerifierError` where it cannot be proved safe. `verify=False` makes an unverified program,
        which only the checked interpreter runs.
        """
        return cls(insns, type=type, name=name, maps=maps, frags=frags, verify=verify)

    @classmethod
    def from_expression(
        cls, expression: str, linktype: int | None = 1, *, verify: bool = True
    ) -> ExpressionProgram:
        """A tcpdump expression as a program of type pcap: PASS where it matches, DROP elsewhere.

        Compiled for packets of `linktype` (a number as in capture files; 1 is Ethernet) at once, and
        for others when they come; None: for those that come. "" matches everything. Raises
        `ExpressionError` with libpcap's message. See docs/expressions.md.
        """
        from .expression import ExpressionProgram

        return ExpressionProgram(expression, linktype, verify=verify)

    def prepare(self, kind: LinkKind) -> Program:  # noqa: ARG002
        """What runs over packets with this kind of link header: the program itself, unless it is an expression."""
        return self

    @property
    def name(self) -> str:
        """The name given at creation."""
        return str(self._ref.name)

    @property
    def type(self) -> str:
        """ "xdp", "memory" or "pcap"."""
        return str(self._ref.type)

    @property
    def tag(self) -> str:
        """Hash of the instructions, 16 hex digits: see `program_tag`."""
        return program_tag(self.insns).hex()

    @property
    def insns(self) -> bytes:
        """The original bytecode."""
        return bytes(self._ref.insns)

    @property
    def id(self) -> int:
        """Unique in this process."""
        return int(self._ref.id)

    @property
    def engine(self) -> str:
        """The best engine that runs it now: "jit" once it was compiled, "interp" for other verified
        programs, "checked" for unverified ones."""
        best = JIT if self._ref.staged(JIT) else INTERP
        return ENGINES[best if self._ref.verified else CHECKED]

    def __repr__(self) -> str:
        return f"<Program {self.name or '(unnamed)'} id={self.id} {self.type} {len(self.insns) // 8} insns>"

    def test_run(
        self,
        packet: bytes,
        repeat: int = 1,
        meta: bytes = b"",
        ingress_ifindex: int = 1,
        rx_queue: int = 0,
        cpu: int = 0,
        time_ns: int | None = None,
        seed: int = 0,
        engine: str = "auto",
        *,
        linear: str = "kernel",
        budget: int = 0,
        wire_len: int = 0,
        network: Network | None = None,
        events: int = EVENT_BYTES,
        observer: Observer | None = None,
    ) -> TestRun:
        """Runs the program over one packet, as BPF_PROG_TEST_RUN.

        `time_ns` is what the clocks say (None: now), `seed` that of bpf_get_prandom_u32, `cpu` the CPU
        id; `wire_len` the length on the wire that type pcap sees (0: the packet's); `network` what
        bpf_fib_lookup and its like ask (None: an empty one); `events` the bytes of the buffer for
        events (0: nobody listens, and programs get ENOENT); `observer` is told every step of the
        checked interpreter (`pktfilter.trace`). Raises
        `ExecutionFault` where the checked interpreter stops the program, `InputError` for a
        packet that Linux would refuse (under 14 bytes). engine "jit" first compiles the program and
        what it can tail-call, or raises `ProgramError`; "auto" is the best engine that all of
        these have.
        """
        if linear not in LINEAR:
            raise InputError("no such geometry", found=linear, expected="kernel or full")
        if not 1 <= repeat <= 0xFFFFFFFF:
            raise InputError("repeat is out of range", found=repeat, expected="1 to 4294967295")
        if not 0 <= events <= EVENT_BYTES_MAX:
            raise InputError(
                "the buffer for events is out of range",
                found=events,
                expected=f"0 to {EVENT_BYTES_MAX} bytes",
            )
        if not 0 <= wire_len <= 0xFFFFFFFF:
            raise InputError("wire_len is out of range", found=wire_len, expected="0 to 4294967295")
        if self.type == "memory":
            raise InputError(
                "a program of this type runs over no packets",
                found=self.type,
                expected="xdp or pcap",
                hint="use pktfilter.vm.execute",
            )
        if time_ns is None:
            import time

            time_ns = time.time_ns()
        if engine == "jit":
            from .tiers import require_compiled

            require_compiled([self])
        result = _test_run(
            self._ref,
            packet,
            meta,
            repeat=repeat,
            cpu=cpu,
            ingress_ifindex=ingress_ifindex,
            rx_queue=rx_queue,
            linear_limit=LINEAR[linear],
            time_ns=time_ns,
            seed=seed,
            budget=budget,
            engine=resolve_engine(engine),
            wire_len=wire_len,
            network=network_of_program(network, self._ref),
            events=events,
            observer=observer,
        )
        retval = result["retval"]
        return TestRun(
            retval=retval,
            action=XDP(retval) if retval <= XDP.REDIRECT else XDP.ABORTED,
            data=result["data"],
            data_meta=result["data_meta"],
            duration_ns=result["duration_ns"],
            trace=result["trace"],
            redirect=result["redirect"],
            events=[Event(*row) for row in result["events"]],
            events_lost=result["events_lost"],
        )


def program_tag(insns: bytes) -> bytes:
    """The first 8 bytes of SHA-256 over the instructions with map numbers zeroed.

    The same construction as Linux 6.18's program tag (bpf_prog_calc_tag), so that equal code has an
    equal tag whatever numbers its maps got.
    """
    from hashlib import sha256  # takes a libcrypto with it, which most runs never need

    data = bytearray(insns)
    i = 0
    while i + 8 <= len(data):
        if data[i] == _LD_IMM64:
            if data[i + 1] >> 4 in (1, 2, 5, 6):
                struct.pack_into("<i", data, i + 4, 0)
                if i + 16 <= len(data):
                    struct.pack_into("<i", data, i + 12, 0)
            i += 8
        i += 8
    return sha256(data).digest()[:8]


def program_handle(ref: ProgRef) -> Program:
    """The handle of a program that the core gave back; a new one when the user has dropped his."""
    handle = _handles.get(ref.id)
    if handle is None:
        handle = Program.__new__(Program)
        handle._ref = ref
        handle.maps = {}
        handle.spec = None
        handle.verification = None
        _handles[ref.id] = handle
    return handle
