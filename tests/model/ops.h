/* ops.h - what the machine (machine.pml) and the programs it runs (protocol.c) share. */
#ifndef OPS_H
#define OPS_H

#include "kinds.h"

#define MAX_OPS 32 /* of one process: a bit each in its word of performed operations */
#define MAX_PROCS 3

/* C11 memory order of an operation; PLAIN: a plain access. FENCE stands for atomic_thread_fence(seq_cst). */
enum order { PLAIN, RELAXED, ACQUIRE, RELEASE, SEQ_CST, FENCE };

struct op {
	int kind;
	enum order order;
	int arg, who;
	unsigned needs; /* bits of the operations whose value decides what this store stores, or whether it is made */
};

/* Process p's operations in program order, and for each the operations that are always performed before it. */
extern struct op program[MAX_PROCS][MAX_OPS];
extern unsigned before[MAX_PROCS][MAX_OPS];
extern int length[MAX_PROCS];
extern int all[MAX_PROCS]; /* bits of all its operations */

/* The token that a waiting update's poll waits for, 0 for every other operation; and I4 as a table by counter and token. */
extern int awaited[MAX_PROCS][MAX_OPS];
extern unsigned char lets_pass[256][8];

extern int last_update;
extern int first_token; /* I0 */
extern int fenced;      /* the writer has a fence B */
extern int constant_token; /* mutants: what goes into the counter; -1: the token */

void make_programs(int workers);
int token_of(int update);
int passes(int counter, int token); /* I4 for one worker */
/* For replayed trails: print an operation, the number of the property that it violated. */
void tell(int process, int i);
void tell_broken(int property);

#endif
