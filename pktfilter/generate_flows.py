"""Random numbers and flows of generated captures: integers only, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pktfilter.generate_profiles import Profile

Words = NDArray[np.uint64]
LOW32 = np.uint64(0xFFFFFFFF)


def _mix(value: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection on 64-bit words."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = value ^ (value >> np.uint64(31))
    return mixed


def random_words(key: Words, seed: int, lane: int) -> Words:
    """A random word for every key; lanes are independent of each other."""
    salt = (seed * 0x9E3779B97F4A7C15 + lane * 0xD1342543DE82EF95 + 1) & 0xFFFFFFFFFFFFFFFF
    return _mix(_mix(key + np.uint64(salt)) ^ np.uint64(salt))


class _Zipf:
    """Ranks 0..n-1, rank r about in proportion to 1/(r+1).

    Constant within each octave of ranks and exact in integers, hence the same on every machine.
    """

    def __init__(self, count: int) -> None:
        octaves = count.bit_length()
        sizes = [min(1 << k, count + 1 - (1 << k)) for k in range(octaves)]
        shares = [(size << 32) >> k for k, size in enumerate(sizes)]
        ends = np.cumsum(np.array(shares, dtype=np.uint64))
        # Scaled so that the last end is 2**32: shares sum to at most octaves * 2**32.
        scale = [(int(end) << 32) // int(ends[-1]) for end in ends]
        self._ends = np.array(scale, dtype=np.uint64)
        self._sizes = np.array(sizes, dtype=np.uint64)

    def draw(self, random: Words) -> Words:
        octave = np.searchsorted(self._ends, random & LOW32, side="right")
        octave = np.minimum(octave, len(self._sizes) - 1)
        within = ((random >> np.uint64(32)) * self._sizes[octave]) >> np.uint64(32)
        rank: Words = (np.uint64(1) << octave.astype(np.uint64)) - np.uint64(1) + within
        return rank


class Flows:
    """Which flow a packet belongs to; every kind has flows of its own, in proportion."""

    def __init__(self, profile: Profile, packets: int, flows: str | int, seed: int) -> None:
        self._seed = seed
        self._per_packet = flows == "per-packet"
        if flows == "one":
            count = 1
        elif flows == "zipf":
            count = max(1, packets // 15)
        elif isinstance(flows, int) and 0 < flows < 1 << 32:
            count = flows
        elif self._per_packet:
            count = 1
        else:
            raise ValueError(
                f"flows is {flows!r}; expected one, zipf, per-packet or a count from 1"
            )
        total = sum(kind.weight for kind in profile.kinds)
        self._ranks = [_Zipf(max(1, count * kind.weight // total)) for kind in profile.kinds]

    def draw(self, kind: int, index: Words) -> Words:
        """A 64-bit identity of the flow of each packet."""
        if self._per_packet:
            flow = index
        else:
            flow = self._ranks[kind].draw(random_words(index, self._seed, 1))
        identity: Words = flow | np.uint64(kind << 48)
        return identity
