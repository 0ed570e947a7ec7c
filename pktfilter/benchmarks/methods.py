"""How the figures of a report came about, in the report's own words."""

METHODS = (
    "Rounds. Every series of a benchmark runs once per round, one after the other, after a round that warms "
    "caches and is dropped; so a slow moment of the machine touches ours and the peers alike. Figures of "
    "programs over packets in memory are processor time of the measuring thread, pinned to one processor; "
    "whole processes, replays and several workers are wall time.",
    "Baselines. Where a series names one, the same loop around an empty program (or read(2) of the same file, "
    'or the same work over a tenth of the input) is measured in the same round and subtracted: "net". The '
    "baseline itself is shown as a series.",
    'Packets. At least 4,096 distinct ones. "Full": every packet takes the longest path; "median": traffic of '
    'many protocols; "worst": half of the packets leave at a random test, or keys that do not fit the cache. '
    "Hash maps have 64 k entries, and half of the lookups hit. The kernel's BPF_PROG_TEST_RUN repeats one "
    "packet, so its keys are in its cache: that favours the kernel.",
    "Pictures. A dot is a round, the box spans the quartiles, the line is the median. Spread is the "
    "interquartile range over the median.",
    "Ratios are medians over medians of one run, with a 95 % percentile-bootstrap interval of 4,000 resamples "
    "in which the rounds of both sides are drawn together.",
    "History. Two runs are compared series by series, net of baselines. A difference is called faster or "
    "slower only when three things agree: the bootstrap interval of new over old (rounds of each run drawn "
    "apart) excludes 1; a two-sided Mann-Whitney test, Holm-corrected over all series compared, is below "
    "5 %; and the difference exceeds 2 % and the drift of the machine. Drift is what did not change but was "
    "measured differently: a fixed computation before every round (SHA-256 over 256 KiB) and the peers in the "
    "same benchmark, the largest of them; without peers the median drift of all. Everything else is no "
    "change. Runs on different "
    "processors are not compared.",
)
