/* bucket.h - a bucket of a hash map: what a lookup reads without a lock, in C (hash.c) and in compiled code (pktfilter/jit).
 *
 * Terms
 *   slot     hash[i] and number[i]: one element that the bucket names; number 0: free, and then its hash is 0
 *   chain    number[PF_HASH_SLOTS]: the first of the elements that found no slot free (hash.h); 0: none
 *
 * The lookup of a 4-byte key
 *   1  hash = pf_hash_word(key + add), a permutation, so that equal hashes are equal keys; bucket = hash & mask
 *   2  vlock (acquire); which of hash[] are equal, all at once; number of the first that is (acquire), or the chain's
 *   3  vlock again: the same but for bit 0 (V1 of map_impl.h)
 * What it found is right unless hash is 0 (a free slot looks like that), it is the chain's and not 0, or vlock changed: then
 * the map's own lookup decides. Nothing here is a branch that depends on whether the key is in the map.
 *
 * Writers, under the lock: a slot is filled hash first, then number (release); it is emptied number first. So a reader that
 * gets a new number sees the hash that it goes with, or a raised version.
 *
 * vlock makes the hashes one vector of 8; the chain stands where a lookup looks that found none of 7 equal. */
#ifndef PF_BUCKET_H
#define PF_BUCKET_H

#include <stdint.h>

#define PF_HASH_SLOTS 7

struct pf_bucket {
	_Alignas(64) uint32_t hash[PF_HASH_SLOTS];
	uint32_t vlock;
	uint32_t number[PF_HASH_SLOTS + 1]; /* the last: chain */
};
_Static_assert(sizeof(struct pf_bucket) == 64, "one cache line");

#define PF_HASH_WORD_1 0x9e3779b1u
#define PF_HASH_WORD_2 0x85ebca77u

/* A permutation: odd products and shifted sums can be undone. */
static inline uint32_t pf_hash_word(uint32_t word)
{
	word ^= word >> 16;
	word *= PF_HASH_WORD_1;
	word ^= word >> 15;
	word *= PF_HASH_WORD_2;
	return word ^ word >> 16;
}

#endif
