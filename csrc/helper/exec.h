/* exec.h - what a running program stands on: its packet, world, clock, random numbers, stack, and what it did.
 *
 * Invariants
 *   E1 One struct pf_exec per worker; nothing in it is shared.
 *   E2 Between two packets only pf_exec_begin is needed; nothing of one packet's run is visible to the next
 *      (except through maps).
 *   E3 time_ns never goes backward (running maximum of capture time).
 *   E4 Random numbers are a function of seed, packet index and call number alone (design section 7).
 *   E5 In checked mode every address a program uses is inside a region it was given: its packet, its stack frames,
 *      its ctx, value areas of its own maps, and of maps it got from a lookup in this run (grants), and the key of the
 *      element that bpf_for_each_map_elem is at, and, to read, the sockets of its network.
 *   E6 Frames grow downward: r10 of frame k is stack + (PF_STACK_DEPTH - k) * PF_STACK_FRAME, so that the frames in use
 *      are one region and what lies below the running one is not in it.
 *   E7 A program that a subprogram tail-calls has PF_STACK_FRAMES of its own, from the frame it replaced (`floor`); the
 *      frames above stay, since their callers are still to be returned to. As in Linux (measured).
 *   E8 What a program may touch of the stack is what was zeroed for it: while r10 goes nowhere else, stack_bytes below it;
 *      otherwise its own frames, from `floor` down. Any address can be computed, from ctx for example, so the bounds
 *      must not rest on where pointers come from.
 *   E9 A checked run holds at most one bpf_spin_lock (`lock`), calls nothing but bpf_spin_unlock meanwhile, and touches no
 *      lock's bytes by itself. Whatever ends the run gives the lock back, so no later run waits for it in vain.
 *
 *   E10 A checked run holds at most PF_EXEC_RECORDS records of ring buffers (`records`), touches no other, and ends holding none.
 *      Whatever ends the run discards those that it holds, so no reader waits for them in vain.
 *   E11 The same of connections (`conns`, PF_EXEC_CONNS).
 *
 * Clocks: bpf_ktime_get_ns, _boot_ns, _coarse_ns and _tai_ns all return time_ns; bpf_jiffies64 counts it at PF_HZ.
 */
#ifndef PF_EXEC_H
#define PF_EXEC_H

#include "../map/binding.h"
#include "../packet/packet.h"
#include "../prog/prog.h"

#define PF_STACK_FRAME 512u
#define PF_STACK_FRAMES 8u /* of one program */
#define PF_TAIL_CALLS 33u
#define PF_STACK_DEPTH (PF_STACK_FRAMES * (PF_TAIL_CALLS + 1)) /* frames of all programs in a run (E7) */
#define PF_TRACE_RING 65536u

struct pf_exec;
struct pf_net; /* network.h */
struct pf_events; /* events.h */
struct pf_observer; /* vm/observe.h */

struct pf_fault {
	struct pf_diag diag; /* VM_* */
	const struct pf_prog *prog; /* valid within the batch */
};

/* Text of trace_printk, drained by the owner while offline; when full, new lines are dropped and counted. */
struct pf_trace {
	uint32_t used;
	uint64_t lost;
	char text[PF_TRACE_RING]; /* NUL-terminated lines, one after another */
};

/* A map element that a callback is being run for. */
struct pf_visiting {
	const struct pf_visiting *outer;
	const uint8_t *key;
	uint32_t key_size;
};

/* A caller, while a subprogram of it runs. */
struct pf_call {
	const void *back;           /* its call instruction (struct pf_lowered) */
	const struct pf_code *code;
	const struct pf_prog *prog;
	uint64_t saved[4];          /* r6 .. r9 */
	uint32_t floor;
};

/* A record that was reserved and not yet committed. */
struct pf_held {
	uint8_t *data;
	uint32_t size;
};
#define PF_EXEC_RECORDS 64u
#define PF_EXEC_CONNS 64u
struct pf_conn; /* prog/conn.h */

enum pf_redirect { PF_REDIRECT_NONE, PF_REDIRECT_IFINDEX, PF_REDIRECT_MAP };
#define PF_REDIRECT_BROADCAST (1u << 3) /* BPF_F_BROADCAST */
#define PF_REDIRECT_EXCLUDE (1u << 4)   /* BPF_F_EXCLUDE_INGRESS */

struct pf_exec {
	struct pf_packet packet; /* type xdp: r1 = &packet */
	const struct pf_bindings *bindings; /* of the world; NULL: none */
	const struct pf_prog *prog;         /* running now: changes at a tail call */
	const struct pf_net *net;           /* the owner keeps a reference; NULL: the empty network */
	uint64_t time_ns;
	uint64_t seed;
	uint64_t packet_index;
	uint32_t cpu;
	/* What every packet starts with at zero: side by side, so that one store does it. */
	_Alignas(16) uint32_t random_calls;
	uint16_t tail_calls;
	uint16_t redirect; /* enum pf_redirect: where a REDIRECT goes, with the three below */
	uint32_t window_len;
	uint32_t grant_count;
	uint32_t depth; /* frames in use - 1 */
	uint32_t floor; /* depth at which the running program began (E7) */
	const struct pf_visiting *visiting;
	/* Program type memory: the region of r1. */
	uint8_t *memory;
	uint64_t memory_len;
	uint32_t redirect_target; /* ifindex, or key of redirect_map */
	uint64_t redirect_flags;
	const struct pf_map *redirect_map;
	uint32_t redirect_value; /* first word of its entry when the program asked, as in Linux; 0: broadcast */
	/* Checked mode. What is charged is an upper bound of the instructions executed (vm.h, V2). */
	uint8_t checked;      /* the running build */
	uint8_t window_writable;
	uint64_t window;      /* last map value, or part of the memory, that an access found: window .. + window_len */
	uint64_t budget;      /* instructions a run may execute */
	int64_t left;         /* of this run; below 0: exhausted */
	uint64_t executed;    /* charged in the last pf_vm_run (checked mode only) */
	const struct pf_map **grants;
	uint32_t grant_capacity, grant_last;
	uint8_t frags_open;     /* a slice led into what lies behind the linear part (checked mode only) */
	void *lock;             /* the bpf_spin_lock that the run holds; NULL: none (checked mode only) */
	uint32_t record_count;  /* E10; checked mode only */
	struct pf_held records[PF_EXEC_RECORDS];
	uint32_t conn_count;    /* E11; checked mode only */
	struct pf_conn *conns[PF_EXEC_CONNS];
	struct pf_fault fault; /* fault.diag.err is PF_OK while the run is good */
	/* The running engine's way to call a subprogram: for bpf_loop and bpf_for_each_map_elem. Returns PF_EFAULT
	 * after a fault. */
	enum pf_err (*call)(struct pf_exec *x, uint32_t pc, const uint64_t args[5], uint64_t *r0);
	uint64_t native_stack; /* compiled code runs: its frames are below this address; else 0 */
	struct pf_trace *trace; /* NULL: trace_printk only counts */
	struct pf_events *events; /* NULL: nobody listens */
	struct pf_observer *observer; /* the owner's; NULL: none */
	struct pf_frame frame;
	struct pf_call calls[PF_STACK_DEPTH]; /* calls[d]: who called frame d + 1 */
	_Alignas(64) uint8_t stack[PF_STACK_DEPTH * PF_STACK_FRAME];
};

#define PF_EXEC_BUDGET 4000000u
#define PF_HZ 250u /* of bpf_jiffies64; the default of Linux on x86-64 */

/* Value of ld_imm64 src 4: not an address, so that nothing can be read through it; the low half is the slot. */
#define PF_FUNC_TAG 0xca11bac000000000u
#define PF_FUNC_MASK 0xffffffff00000000u

PF_API enum pf_err pf_exec_create(struct pf_exec **x);
PF_API void pf_exec_destroy(struct pf_exec *x);

/* E8: the region of the stack for code, which x->prog runs. Returns its length. */
static inline uint64_t pf_exec_stack(const struct pf_exec *x, const struct pf_code *code, uint64_t *start)
{
	const uint64_t r10 = (uint64_t)(uintptr_t)(x->stack + sizeof(x->stack)) - (uint64_t)x->depth * PF_STACK_FRAME;
	*start = r10 - code->stack_bytes;
	return code->stack_bytes < PF_STACK_FRAME ? code->stack_bytes
						  : (uint64_t)(x->depth - x->floor + 1) * PF_STACK_FRAME;
}

/* Starts a packet (E2): once for all programs of a chain. time_ns is clamped to what came before (E3). */
static inline void pf_exec_begin(struct pf_exec *x, uint64_t packet_index, uint64_t time_ns)
{
	x->packet_index = packet_index;
	x->time_ns = time_ns > x->time_ns ? time_ns : x->time_ns;
	x->random_calls = 0;
	x->redirect = PF_REDIRECT_NONE;
}

/* One helper's implementation; arguments are the program's r1..r5. */
typedef uint64_t (*pf_helper_fn)(struct pf_exec *x, uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5);
/* NULL for tail_call (the interpreter's own) and for helpers without an implementation. */
pf_helper_fn pf_helper_find(uint32_t number);

/* Checked mode: do the arguments satisfy the helper's row? PF_OK or PF_EFAULT with x->fault filled in. */
enum pf_err pf_helper_check(struct pf_exec *x, const struct pf_helper_info *info, const uint64_t args[5], uint32_t insn);

/* May the program read (write: store to) size bytes at address? Right in both builds; ctx is not memory. */
int pf_exec_readable(struct pf_exec *x, uint64_t address, uint64_t size);
int pf_exec_writable(struct pf_exec *x, uint64_t address, uint64_t size);
/* The record that a checked run holds at this address; NULL: none. Committing it makes it another's. */
const struct pf_held *pf_exec_record(const struct pf_exec *x, uint64_t address);
void pf_exec_forget_record(struct pf_exec *x, const uint8_t *record);
/* Is the range within the frames of the running program? */
int pf_exec_on_stack(const struct pf_exec *x, uint64_t address, uint64_t size);
/* conntrack.c. Does a checked run hold the connection at this address, unconfirmed or not? Giving all back. May a program read,
 * or write, so at an address because it is of a connection? */
int pf_exec_holds_conn(const struct pf_exec *x, uint64_t address, int unconfirmed);
void pf_exec_drop_conns(struct pf_exec *x);
uint32_t pf_exec_conn(const struct pf_exec *x, uint64_t address, uint64_t size, int write);
/* Is it the address of the bpf_spin_lock of a value of such a map? */
int pf_exec_is_lock(const struct pf_exec *x, uint64_t address);
/* Is it a map of the running program, or one it looked up? NULL if not. */
struct pf_map *pf_exec_map(struct pf_exec *x, uint64_t address);
/* Fills in x->fault; returns PF_EFAULT. pf_exec_fault_access names the place (VM_LOAD, VM_STORE, VM_ALIGN). */
enum pf_err pf_exec_fault(struct pf_exec *x, enum pf_diag_code code, uint32_t insn, uint64_t found, uint64_t expected,
			  const char *name);
enum pf_err pf_exec_fault_access(struct pf_exec *x, enum pf_diag_code code, uint32_t insn, uint64_t address,
				 uint32_t size);
/* Makes the value area of a map that the program got by lookup accessible for the rest of the run. */
enum pf_err pf_exec_grant(struct pf_exec *x, const struct pf_map *map);

#endif
