"""Benchmarks: what is measured beside what, the result file, statistics, and the report.

Terms
  series     one thing measured in every round: a subject (ours), a peer, or a baseline
  round      every series of a benchmark once, one after the other, so that a slow moment of the machine touches all
  baseline   the same loop around an empty program: subtracted, round by round, where a series names one ("net")
  ratio      subject over peer, from medians over the rounds of one run; below 1 ours takes less
  limit      what a ratio or a median must not exceed; the report says whether it holds

Times are processor time of the measuring thread, unless a benchmark says otherwise (whole processes and
several workers: wall time).
"""
