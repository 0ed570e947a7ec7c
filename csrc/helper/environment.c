/* environment.c - clock, random numbers, CPU: functions of the capture and the seed (design section 7). */
#include "groups.h"

#define NS_PER_JIFFY (1000000000u / PF_HZ)

PF_HELPER_FN(ktime_get_ns)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return x->time_ns;
}

PF_HELPER_FN(ktime_get_boot_ns)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return x->time_ns;
}

PF_HELPER_FN(ktime_get_coarse_ns)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return x->time_ns;
}

PF_HELPER_FN(ktime_get_tai_ns)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return x->time_ns;
}

PF_HELPER_FN(jiffies64)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return x->time_ns / NS_PER_JIFFY;
}

PF_HELPER_FN(get_smp_processor_id)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	return x->cpu;
}

/* A bijection of 64 bits in which every input bit reaches every output bit: two rounds of xor-shift and multiplication
 * by odd constants. */
static uint64_t scramble(uint64_t v)
{
	v ^= v >> 32;
	v *= 0xd6e8feb86659fd93u;
	v ^= v >> 29;
	v *= 0xa3b195354a39b70du;
	return v ^ v >> 32;
}

/* E4. Each coordinate is scrambled into the next, so that equal sums of coordinates do not meet. */
PF_HELPER_FN(get_prandom_u32)
{
	PF_UNUSED(r1, r2, r3, r4, r5);
	const uint64_t packet = scramble(scramble(x->seed + 0x9e3779b97f4a7c15u) ^ x->packet_index);
	return scramble(packet + 0x9e3779b97f4a7c15u * ++x->random_calls) >> 32;
}
