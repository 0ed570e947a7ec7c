"""Programs (csrc/prog, csrc/vm): creation, staging, and execution over plain memory."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from pktfilter._core.c_isa cimport pf_insn
from pktfilter._core.c_map cimport pf_map, pf_map_get, pf_ref, pf_ref_count
from pktfilter._core.c_prog cimport (
    PF_LINK_HEAD, PF_PROG_MEMORY, PF_PROG_PCAP, PF_PROG_XDP, pf_engine, pf_exec, pf_exec_create, pf_exec_destroy,
    pf_prog, pf_prog_check_registers, pf_prog_code, pf_prog_create, pf_prog_def, pf_prog_join, pf_prog_map, pf_prog_put,
    pf_vm_execute, pf_vm_stage,
)
from pktfilter._core.c_native cimport pf_native_stage
from pktfilter._core.c_tables cimport PF_LINK_KIND, pf_diag, pf_err
from pktfilter._core.errors cimport raise_diag
from pktfilter._core.map cimport MapRef

from pktfilter.errors import ProgramError

PROG_TYPES = {"xdp": <int>PF_PROG_XDP, "memory": <int>PF_PROG_MEMORY, "pcap": <int>PF_PROG_PCAP}
TYPE_NAMES = {number: name for name, number in PROG_TYPES.items()}
#: A program that is in no family, and the head of one (csrc/prog/prog.h, P5).
ANY_LINK, LINK_HEAD = 0, <unsigned int>PF_LINK_HEAD


def link_kind(uint32_t linktype, bint swapped):
    """PF_LINK_KIND."""
    return PF_LINK_KIND(linktype, swapped)


cdef class ProgRef:
    """One reference to a program."""

    def __dealloc__(self):
        if self.ptr is not NULL:
            pf_prog_put(self.ptr)

    @staticmethod
    cdef ProgRef wrap(pf_prog *prog):
        cdef ProgRef self = ProgRef.__new__(ProgRef)
        self.ptr = prog
        return self

    @staticmethod
    def create(str type, str name, uint64_t id, const unsigned char[::1] insns not None, dict maps not None, bint frags,
               uint32_t link=0):
        """A program from bytecode; maps: number -> MapRef. Raises ProgramError."""
        cdef pf_prog_def d
        cdef pf_prog *prog = NULL
        cdef pf_diag diag
        cdef bytes raw = name.encode()
        cdef pf_err err
        cdef pf_prog_map *table = <pf_prog_map *>calloc(len(maps) + 1, sizeof(pf_prog_map))
        cdef MapRef ref
        cdef uint32_t i = 0
        if table is NULL:
            raise MemoryError
        try:
            for number, ref in maps.items():
                table[i].number = number
                table[i].map = ref.ptr
                i += 1
            d.type = PROG_TYPES[type]
            d.name = raw
            d.id = id
            d.insns = <const pf_insn *>&insns[0] if insns.shape[0] else NULL
            d.count = <uint32_t>(insns.shape[0] // 8)
            d.maps = table
            d.map_count = i
            d.frags = frags
            d.link = link
            with nogil:
                err = pf_prog_create(&d, &prog, &diag)
        finally:
            free(table)
        if err:
            raise_diag(err, &diag)
        return ProgRef.wrap(prog)

    def check_registers(self):
        """For a program that will not be verified: ProgramError where it reads what nothing wrote."""
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_prog_check_registers(self.ptr, &diag)
        if err:
            raise_diag(err, &diag)

    def stage(self, int engine):
        cdef pf_diag diag
        cdef pf_err err
        with nogil:
            err = pf_vm_stage(self.ptr, <pf_engine>engine, self.ptr.types, &diag)
        if err:
            raise_diag(err, &diag)

    def stage_native(self, const unsigned char[::1] object not None):
        """Loads compiled code (csrc/native/native.h); nothing to do where the program has some. ProgramError names what
        is wrong with the object; also for a program that the verifier has not accepted."""
        cdef pf_diag diag
        cdef pf_err err
        cdef const unsigned char *bytes = &object[0] if object.shape[0] else NULL
        cdef size_t length = object.shape[0]
        if not self.ptr.verified:
            raise ProgramError("compiled code is for programs that the verifier accepted")
        with nogil:
            err = pf_native_stage(self.ptr, bytes, length, &diag)
        if err:
            raise_diag(err, &diag)

    def staged(self, int engine):
        """Has the program a form for this engine?"""
        return pf_prog_code(self.ptr, <pf_engine>engine) is not NULL

    @property
    def id(self):
        return self.ptr.id

    @property
    def name(self):
        return (<bytes>self.ptr.name).decode(errors="replace")

    @property
    def references(self):
        """Who holds the program in the core, this handle included."""
        return pf_ref_count(<const pf_ref *>self.ptr)

    @property
    def frags(self):
        return bool(self.ptr.frags)

    @property
    def tail_calls(self):
        return bool(self.ptr.tail_calls)

    @property
    def tracks(self):
        """Does its own code ask the connection table?"""
        return bool(self.ptr.tracks)

    @property
    def maps(self):
        """[(number, MapRef), ...] in the order of their places."""
        out = []
        for i in range(self.ptr.map_count):
            pf_map_get(self.ptr.maps[i].map)
            out.append((self.ptr.maps[i].number, MapRef.wrap(self.ptr.maps[i].map)))
        return out

    @property
    def types(self):
        """One enum pf_insn_type a slot, from the verifier; None for a program that it has not accepted."""
        return None if self.ptr.types is NULL else (<const char *>self.ptr.types)[:self.ptr.count]

    @property
    def verified(self):
        return bool(self.ptr.verified)

    @property
    def insns(self):
        return (<const unsigned char *>self.ptr.insns)[:self.ptr.count * 8]

    @property
    def type(self):
        return TYPE_NAMES[<int>self.ptr.type]

    def join(self, ProgRef member not None):
        """Takes a staged program into this head's family; False where it does not fit or its kind is there."""
        return pf_prog_join(self.ptr, member.ptr) == 0


def execute(ProgRef prog not None, unsigned char[::1] memory not None, int engine, uint64_t budget, uint64_t seed):
    """Runs a staged program of type memory over the buffer, in place; returns r0 or raises ExecutionFault."""
    cdef pf_exec *x = NULL
    cdef uint64_t r0 = 0
    cdef uint8_t *data = &memory[0] if memory.shape[0] else NULL
    cdef uint64_t length = memory.shape[0]
    cdef pf_diag diag
    cdef pf_err err = pf_exec_create(&x)
    if err:
        raise MemoryError
    try:
        x.seed = seed
        if budget:
            x.budget = budget
        with nogil:
            err = pf_vm_execute(x, prog.ptr, <pf_engine>engine, data, length, &r0)
        if err:
            diag = x.fault.diag
            raise_diag(err, &diag)
    finally:
        pf_exec_destroy(x)
    return r0
