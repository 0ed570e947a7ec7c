/* dpdk_peer.c - DPDK's librte_bpf as a peer, in the process that measures: loaded with ctypes, compiled when needed.
 *
 *   cc -O2 -shared -fPIC $(pkg-config --cflags libdpdk) -march=native dpdk_peer.c -o dpdk_peer.so -lrte_bpf -lrte_eal
 *
 * Programs get the address of a frame of plain memory. Time is processor time of the calling thread.
 */
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <rte_bpf.h>

static uint64_t thread_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* NULL: refused. */
void *peer_load(const void *insns, uint32_t count, uint32_t frame_len)
{
	struct rte_bpf_prm prm;
	memset(&prm, 0, sizeof(prm));
	prm.ins = insns;
	prm.nb_ins = count;
	prm.prog_arg.type = RTE_BPF_ARG_PTR;
	prm.prog_arg.size = frame_len;
	return rte_bpf_load(&prm);
}

void peer_destroy(void *bpf)
{
	rte_bpf_destroy(bpf);
}

/* Whether there is native code. */
int peer_compiled(const void *bpf)
{
	struct rte_bpf_jit jit;
	return rte_bpf_get_jit(bpf, &jit) == 0 && jit.func != NULL;
}

/* All frames, `rounds` times, one call a frame; returns nanoseconds, *sum is that of the results. */
uint64_t peer_run(const void *bpf, int native, uint8_t *frames, uint32_t count, uint32_t stride, uint32_t rounds,
		  uint64_t *sum)
{
	struct rte_bpf_jit jit;
	uint64_t total = 0;
	memset(&jit, 0, sizeof(jit));
	rte_bpf_get_jit(bpf, &jit);
	const uint64_t start = thread_ns();
	for (uint32_t round = 0; round < rounds; round++)
		for (uint32_t i = 0; i < count; i++)
			total += native ? jit.func(frames + (size_t)i * stride)
					: rte_bpf_exec(bpf, frames + (size_t)i * stride);
	*sum = total;
	return thread_ns() - start;
}
